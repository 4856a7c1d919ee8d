package rollout

import (
	"context"
	"sync"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// carry brings all hosts to one state after the other: to none before all have reached the one before it. Between two states the
// tree moves, and each host forgets what it has learned of the way to the others.
func carry(ctx context.Context, runs []*hostRun, o Options) error {
	for step := range steps(runs) {
		if err := applyAll(ctx, runs, step, o); err != nil {
			return err
		}
		if step == steps(runs)-1 {
			break
		}
		if step == 0 {
			if err := wait(ctx, runs, o, o.Stand); err != nil {
				return err
			}
			continue
		}
		forget(ctx, runs)
	}
	if steps(runs) > 1 {
		forget(ctx, runs)
	}
	return nil
}

// steps is the same for all hosts of a plan.
func steps(runs []*hostRun) int {
	if len(runs) == 0 {
		return 0
	}
	return len(runs[0].host.Steps())
}

// step is the state that a host is brought from, and the one it is brought to.
func (r *hostRun) step(step int) (from, want plan.HostState) {
	states := append([]plan.HostState{r.host.From}, r.host.Steps()...)
	return states[step], states[step+1]
}

// changes tells whether any step changes the host, and changesIn whether one does.
func (r *hostRun) changes() bool {
	for step := range r.host.Steps() {
		if r.changesIn(step) {
			return true
		}
	}
	return false
}

func (r *hostRun) changesIn(step int) bool {
	if len(r.host.Between) == 0 {
		return len(r.host.Changes) > 0
	}
	from, want := r.step(step)
	return len(plan.Diff(from, want)) > 0
}

// forget goes without the hosts that cannot: they learn by themselves, later.
func forget(ctx context.Context, runs []*hostRun) {
	var wg sync.WaitGroup
	for _, r := range runs {
		wg.Go(func() {
			_, _ = r.session.Call(ctx, wire.Request{Forget: &wire.Empty{}}, nil) // a lost session is noticed by the next step
		})
	}
	wg.Wait()
}
