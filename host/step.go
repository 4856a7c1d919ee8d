package host

import (
	"context"
	"errors"
	"fmt"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// Switch is the resource that the fabric's frames pass.
type Switch interface {
	Resource
	// Forget has it forget behind which tunnel each address is.
	Forget(context.Context) error
}

// Next brings the host from where an Apply or a Next left it to the next state. Its journal still leads to what was before the
// Apply, and that is where an error takes the host back to.
func (h *Host) Next(ctx context.Context, req wire.ApplyRequest, progress func(string)) error {
	if err := h.next(ctx, req, progress); err != nil {
		return h.failed(ctx, err, progress)
	}
	return nil
}

func (h *Host) next(ctx context.Context, req wire.ApplyRequest, progress func(string)) error {
	j, err := h.readJournal()
	if err != nil {
		return err
	}
	if j == nil {
		return errors.New("there is no journal of the apply that this goes on with: somebody deleted it")
	}
	part, from, want := h.part(req.From, req.Want)
	now, err := part.Observe(ctx, req.Query)
	if err != nil {
		return err
	}
	if changes := plan.Diff(from, now.State); len(changes) > 0 {
		return fmt.Errorf("changed since the step before: %s", join(changes))
	}
	if in := plan.InTheWay(now, want); part == h && len(in) > 0 {
		return fmt.Errorf("%s: %s", in[0].What, in[0].Cure)
	}
	j.Want = req.Want
	if err := h.writeJournal(*j); err != nil {
		return err
	}
	return part.bring(ctx, req.Query, now.State, want, progress)
}

// part is the host without the resources that a step does not touch: while the tree moves, frames get lost for as long as the hosts
// take.
func (h *Host) part(from, want plan.HostState) (part *Host, partFrom, partWant plan.HostState) {
	others := from
	others.OVS = want.OVS
	if h.Switch == nil || len(plan.Diff(others, want)) > 0 {
		return h, from, want
	}
	only := *h
	only.Resources = []Resource{h.Switch}
	return &only, plan.HostState{OVS: from.OVS}, plan.HostState{OVS: want.OVS}
}

// failed goes back from an apply that failed and says where that led.
func (h *Host) failed(ctx context.Context, err error, progress func(string)) error {
	if back := h.goBack(ctx, progress); back != nil {
		return &wire.Error{Message: fmt.Sprintf("%v; and going back failed: %v", err, back)}
	}
	return &wire.Error{Message: err.Error(), RolledBack: true}
}
