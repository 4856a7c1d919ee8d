package rollout

import (
	"context"
	"sync"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// move brings all hosts from the first step to the last: to none before all
// have taken the one before it. Between two the tree moves, and each host
// forgets what it has learned of the way to the others.
func (a *attempt) move(ctx context.Context, fail func(error)) error {
	all := wave{hosts: a.changing}
	for step := 1; step < a.steps; step++ {
		if a.Stand != nil {
			if err := a.Stand(ctx, step); err != nil {
				return err
			}
		}
		stop := a.forgetMeanwhile(ctx, step)
		err := a.begin(ctx, all, step, fail)
		stop()
		if err != nil {
			return err
		}
		a.forget(ctx)
	}
	return a.check(ctx, all)
}

// forgetEvery is for how long a host without a part in a step may send
// frames to where another has left.
const forgetEvery = 100 * time.Millisecond

// forgetMeanwhile has the hosts that a step leaves alone forget until stop is
// called: the others may take their time.
func (a *attempt) forgetMeanwhile(ctx context.Context, step int) (stop func()) {
	end := make(chan struct{})
	var wg sync.WaitGroup
	for _, r := range a.hosts {
		if r.changesIn(step) {
			continue
		}
		wg.Go(func() {
			tick := time.NewTicker(forgetEvery)
			defer tick.Stop()
			for {
				select {
				case <-end:
					return
				case <-tick.C:
					r.forget(ctx)
				}
			}
		})
	}
	return func() {
		close(end)
		wg.Wait()
	}
}

func (a *attempt) forget(ctx context.Context) {
	var wg sync.WaitGroup
	for _, r := range a.hosts {
		wg.Go(func() { r.forget(ctx) })
	}
	wg.Wait()
}

// forget goes without a host that cannot: it learns by itself, later.
func (r *hostRun) forget(ctx context.Context) {
	_, _ = r.session.Call(ctx, wire.Request{Forget: &wire.Empty{}}, nil) // a lost session is noticed by what comes next
}

// step is the state that a host is brought from, and the one it is brought to.
func (r *hostRun) step(step int) (from, want plan.HostState) {
	states := append([]plan.HostState{r.host.From}, r.host.Steps()...)
	return states[step], states[step+1]
}

// takesPart tells whether the host has something to do in a step. Every host
// that changes at all makes ready in the first: where it has to write a journal
// and a guard first, the tree waits for it.
func (r *hostRun) takesPart(step int) bool {
	return r.changesIn(step) || step == 0 && r.changes()
}

// changes tells whether any step changes the host, and changesIn whether one
// does.
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
		return step == 0 && len(r.host.Changes) > 0
	}
	from, want := r.step(step)
	return len(plan.Diff(from, want)) > 0
}
