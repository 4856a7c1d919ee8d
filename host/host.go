// Package host is the host's side of fabric: it brings the resources of one
// host from one state to another, and back again if anything goes wrong.
package host

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/osrelease"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// Resource is one part of a host that the fabric owns.
type Resource interface {
	Name() string
	// Observe adds the resource's part of the host's state, the facts that
	// it knows, and what is in the fabric's way to the observation.
	Observe(context.Context, plan.Query, *plan.Observation) error
	// Apply brings the resource's part to what is wanted and returns when
	// it is in effect. It does nothing where nothing differs.
	Apply(context.Context, plan.HostState) error
}

// Daemon is the resource whose service must not run while others change
// under it.
type Daemon interface {
	// Stop stops the service; Apply starts it again.
	Stop(context.Context) error
	// Former is the address that dockerd gave its bridge before the fabric;
	// the zero Prefix where that is not known.
	Former() (netip.Prefix, error)
	// Start starts the service with the configuration that is there, for
	// when Apply could not. One that runs is left alone.
	Start(context.Context) error
	// Prepare does as much of Apply as can be done before the service is
	// started, at boot.
	Prepare(context.Context, plan.HostState) error
}

// Guard has the host go back from a journal without an operator when the
// process that wrote it is gone: at once, and at boot.
type Guard interface {
	// Arm is called with the lock held, before the journal is written.
	Arm(context.Context) error
	// Disarm takes away all that Arm made, when the journal is gone. There
	// may be nothing to take away.
	Disarm(context.Context) error
}

// Adopter is a resource that can take over what somebody made by hand.
type Adopter interface {
	// Adopt lets Apply do so, and undo it.
	Adopt(plan.Query)
}

// Settler is a resource that keeps things for going back.
type Settler interface {
	// Settled takes them away: the host stays as it is.
	Settled() error
}

// Claimer is a resource that dockerd changes by itself.
type Claimer interface {
	// Claim has Apply treat an address that dockerd gave docker0 as the
	// fabric's: it goes where it is not wanted.
	Claim(context.Context, netip.Prefix) error
}

// Host is this machine's part of a fabric.
type Host struct {
	Resources []Resource // in the order of apply: what others stand on first
	Docker    Daemon     // stopped before an apply that restarts dockerd
	Switch    Switch
	Guard     Guard
	Dir       string   // where the journal is
	Own       []string // the folders that only fabric writes in
	Lock      string   // the file that an apply holds a lock on
	Log       *slog.Logger
}

// Observe asks every resource, unless somebody else could have written what
// they would read.
func (h *Host) Observe(ctx context.Context, q plan.Query) (plan.Observation, error) {
	o := plan.Observation{Facts: plan.Facts{OS: osName(), Arch: runtime.GOARCH}}
	for _, dir := range h.Own {
		if err := file.Guard(dir); err != nil {
			o.Obstacles = append(o.Obstacles, plan.Obstacle{
				What:   fmt.Sprintf("what fabric keeps on this host cannot be trusted: %v", err),
				Cure:   fmt.Sprintf("find out who made it so; then rm -r %s if it was never fabric's, or chown root:root and chmod 755", dir),
				Always: true,
			})
		}
	}
	if len(o.Obstacles) > 0 {
		return o, nil
	}
	for _, r := range h.Resources {
		if err := r.Observe(ctx, q, &o); err != nil {
			return o, fmt.Errorf("look at %s: %w", r.Name(), err)
		}
	}
	if owner := o.State.Owner(); owner != "" && owner != q.Fabric {
		o.State = plan.HostState{}
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: fmt.Sprintf("the host is part of the fabric %q", owner),
			Cure: "take it out of that one first: remove it from its file and run fabric apply, or fabric destroy",
		})
	}
	interrupted, err := h.readJournal()
	if err != nil {
		return o, err
	}
	o.Facts.Interrupted = interrupted != nil
	return o, nil
}

// Apply brings the host from the state that the plan was made from to the
// wanted one. Where they are the same it only makes ready for a Next. The
// journal stays until Confirm or Rollback; an error of type *wire.Error says
// what state the host is in.
func (h *Host) Apply(ctx context.Context, req wire.ApplyRequest, progress func(string)) error {
	untouched := func(err error) error { return &wire.Error{Message: err.Error(), Untouched: true} }
	now, err := h.Observe(ctx, req.Query)
	if err != nil {
		return untouched(err)
	}
	if now.Facts.Interrupted {
		return untouched(errors.New("an earlier apply was interrupted here since the plan was made: run fabric plan again"))
	}
	now.Obstacles = append(now.Obstacles, plan.PortObstacles(req.Query.TunnelPort, 0, now.Facts)...)
	if in := plan.InTheWay(now, req.Want); len(in) > 0 {
		return untouched(fmt.Errorf("%s: %s", in[0].What, in[0].Cure))
	}
	if changes := plan.Diff(req.From, now.State); len(changes) > 0 {
		return untouched(fmt.Errorf("changed since the plan was made: %s", join(changes)))
	}
	h.allow(req.Query)
	progress("write the journal")
	if err := h.Guard.Arm(ctx); err != nil {
		h.disarm(ctx)
		return untouched(fmt.Errorf("make ready to go back: %w", err))
	}
	if err := h.writeJournal(journal{Query: req.Query, Patience: patience.Factor(ctx), Before: now.State, Want: req.Want}); err != nil {
		h.disarm(ctx)
		return untouched(err)
	}
	if len(plan.Diff(now.State, req.Want)) == 0 {
		return nil
	}
	part, from, want := h.part(now.State, req.Want)
	if err := part.bring(ctx, req.Query, from, want, progress); err != nil {
		return h.failed(ctx, err, progress)
	}
	return nil
}

// allow lets the resources adopt what was made by hand, where the query says
// that the operator wants it.
func (h *Host) allow(q plan.Query) {
	for _, r := range h.Resources {
		if a, ok := r.(Adopter); ok && q.Adopt {
			a.Adopt(q)
		}
	}
}

// bring applies every resource and then looks whether the host is what was
// wanted.
func (h *Host) bring(ctx context.Context, q plan.Query, from, want plan.HostState, progress func(string)) error {
	if err := h.claim(ctx, from); err != nil {
		return err
	}
	if plan.RestartsDocker(from.Docker, want.Docker) {
		progress("stop dockerd")
		if err := h.Docker.Stop(ctx); err != nil {
			return fmt.Errorf("stop dockerd: %w", err)
		}
	}
	for _, r := range h.order(from, want) {
		progress("apply " + r.Name())
		if err := r.Apply(ctx, want); err != nil {
			return fmt.Errorf("apply %s: %w", r.Name(), err)
		}
	}
	return h.check(ctx, q, want, progress)
}

// claim is for a dockerd that runs without the fabric's configuration, and has
// given docker0 the address that it remembers. Only while it runs can it be told
// that this is its address again, and not somebody else's.
func (h *Host) claim(ctx context.Context, now plan.HostState) error {
	if now.Docker == nil {
		return nil
	}
	former, err := h.Docker.Former()
	if err != nil || !former.IsValid() || former.Addr() != now.Docker.Live.Gateway {
		return err
	}
	for _, r := range h.Resources {
		if c, ok := r.(Claimer); ok {
			if err := c.Claim(ctx, former); err != nil {
				return fmt.Errorf("claim what dockerd gave the %s: %w", r.Name(), err)
			}
		}
	}
	return nil
}

// check looks whether the host is what was wanted.
func (h *Host) check(ctx context.Context, q plan.Query, want plan.HostState, progress func(string)) error {
	progress("look again")
	now, err := h.Observe(ctx, q)
	if err != nil {
		return err
	}
	if changes := plan.Diff(now.State, want); len(changes) > 0 {
		return fmt.Errorf("the host did not become what was wanted; still to do: %s", join(changes))
	}
	return nil
}

// order is the resources in the order of apply. On the way to a host without
// a bridge it is the reverse: what stands on others goes before them. But
// docker0 is dockerd's own to make, so there dockerd, the last resource,
// comes back last; a bridge of another name it has to let go of first.
func (h *Host) order(from, want plan.HostState) []Resource {
	order := slices.Clone(h.Resources)
	if want.OVS != nil {
		return order
	}
	slices.Reverse(order)
	if from.Links == nil || from.Links.Name == "docker0" {
		order = append(order[1:], order[0])
	}
	return order
}

// goBack is Rollback that goes on when ctx has ended: nobody may wait for it
// any more.
func (h *Host) goBack(ctx context.Context, progress func(string)) error {
	ctx, cancel := patience.TimeoutAfter(ctx, rollbackTimeout)
	defer cancel()
	return h.Rollback(ctx, progress)
}

// Confirm makes what was applied stay, on disk too. There may be nothing to
// confirm.
func (h *Host) Confirm(ctx context.Context) error { return h.finish(ctx) }

// finish ends an apply: without its journal there is no way back.
func (h *Host) finish(ctx context.Context) error {
	for _, r := range h.Resources {
		if s, ok := r.(Settler); ok {
			if err := s.Settled(); err != nil {
				return fmt.Errorf("end the apply of %s: %w", r.Name(), err)
			}
		}
	}
	if err := h.removeJournal(); err != nil {
		return err
	}
	h.disarm(ctx)
	return nil
}

// disarmTimeout bounds what is waited for systemd to forget the guard.
const disarmTimeout = 30 * time.Second

// disarm takes the guard away. What it leaves changes nothing on the host,
// and goes with the next boot or apply, or by the guard itself.
func (h *Host) disarm(ctx context.Context) {
	ctx, cancel := patience.TimeoutAfter(ctx, disarmTimeout)
	defer cancel()
	if err := h.Guard.Disarm(ctx); err != nil {
		h.Log.Warn("what guarded the apply cannot be taken away", "error", err)
	}
}

// partTimeout is what one part has to go back, dockerd left out: a switch that
// hangs must not use up the time in which dockerd is to start.
const partTimeout = 40 * time.Second

// Rollback brings the host back to what it was before the apply in the
// journal. Without a journal there is nothing to do. A resource that cannot
// go back does not keep the others from it: above all dockerd, which may be
// stopped, has to run again. Rollback that was cut off itself is done again
// from the start.
func (h *Host) Rollback(ctx context.Context, progress func(string)) error {
	j, err := h.readJournal()
	if err != nil || j == nil {
		return err
	}
	progress("go back to what was")
	h.allow(j.Query)
	before := j.Before.Attainable()
	var errs []error
	if err := h.stopToGoBack(ctx, j, before); err != nil {
		errs = append(errs, err)
	}
	for _, r := range h.order(j.Want, before) {
		if err := h.takeBack(ctx, r, before); err != nil {
			errs = append(errs, fmt.Errorf("take back %s: %w", r.Name(), err))
		}
	}
	if len(errs) == 0 {
		errs = append(errs, h.check(ctx, j.Query, before, progress))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return h.finish(ctx)
}

// stopToGoBack stops dockerd where it may run with what the apply gave it.
// Where the apply got to is unknown: but dockerd was stopped first if the
// apply as a whole restarts it, so one that runs beside its former
// configuration has been started with that.
func (h *Host) stopToGoBack(ctx context.Context, j *journal, before plan.HostState) error {
	if !plan.RestartsDocker(j.Want.Docker, j.Before.Docker) {
		return nil
	}
	var claimed error
	if now, err := h.Observe(ctx, j.Query); err == nil {
		claimed = h.claim(ctx, now.State)
		if !plan.RestartsDocker(now.State.Attainable().Docker, before.Docker) {
			return claimed
		}
	}
	if err := h.Docker.Stop(ctx); err != nil {
		return errors.Join(claimed, fmt.Errorf("stop dockerd: %w", err))
	}
	return claimed
}

// takeBack brings one resource back. A dockerd that cannot have its former
// configuration runs with another one rather than not at all.
func (h *Host) takeBack(ctx context.Context, r Resource, before plan.HostState) error {
	if !h.isDocker(r) {
		part, cancel := patience.Timeout(ctx, partTimeout)
		defer cancel()
		return r.Apply(part, before)
	}
	err := r.Apply(ctx, before)
	if err == nil {
		return nil
	}
	start, cancel := patience.TimeoutAfter(ctx, partTimeout)
	defer cancel()
	return errors.Join(err, h.Docker.Start(start))
}

// isDocker tells the resource that Docker is from the others.
func (h *Host) isDocker(r Resource) bool {
	d, ok := r.(Daemon)
	return ok && d == h.Docker
}

// RollbackAtBoot goes back as far as can be before dockerd has started: with
// links and a configuration from before the apply that is in the journal. The
// rest is Rollback's, which has to follow. Without a journal there is nothing
// to do.
func (h *Host) RollbackAtBoot(ctx context.Context, progress func(string)) error {
	j, err := h.readJournal()
	if err != nil || j == nil {
		return err
	}
	progress("go back to what was, as far as can be before dockerd starts")
	h.allow(j.Query)
	before := j.Before.Attainable()
	var errs []error
	for _, r := range h.order(j.Want, before) {
		if h.isDocker(r) {
			err = h.Docker.Prepare(ctx, before)
		} else {
			err = h.takeBack(ctx, r, before)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("take back %s: %w", r.Name(), err))
		}
	}
	return errors.Join(errs...)
}

// Recover goes back from an apply that was cut off. Where that fails, the
// host is left as it is and the journal is given up, so that the next plan
// starts from what is there: an apply completes whatever state it finds.
func (h *Host) Recover(ctx context.Context, progress func(string)) error {
	err := h.Rollback(ctx, progress)
	if err == nil {
		return nil
	}
	return errors.Join(fmt.Errorf("an earlier apply was cut off here and cannot be taken back: %w", err), h.finish(ctx))
}

func join(changes []plan.Change) string {
	texts := make([]string, len(changes))
	for i, c := range changes {
		texts[i] = c.String()
	}
	return strings.Join(texts, "; ")
}

// osName is PRETTY_NAME of os-release(5), or "" where there is none.
func osName() string {
	data, err := os.ReadFile("/etc/os-release")
	if err != nil {
		return ""
	}
	return osrelease.Parse(string(data))["PRETTY_NAME"]
}

// journal is what a host must know to go back from a half-done apply.
type journal struct {
	Version  int            `json:"version"`
	Query    plan.Query     `json:"query"`
	Patience float64        `json:"patience"` // what the deadlines of going back are multiplied by
	Before   plan.HostState `json:"before"`
	Want     plan.HostState `json:"want"`
}

const journalVersion = 1

// deadline bounds going back from the journal.
func (j journal) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return patience.Timeout(patience.With(ctx, j.Patience), rollbackTimeout)
}

func (j journal) bytes() ([]byte, error) {
	j.Version = journalVersion
	return json.MarshalIndent(j, "", "\t")
}
