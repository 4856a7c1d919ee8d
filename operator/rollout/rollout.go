// Package rollout is the operator's side of an apply. Hosts are changed in
// waves, each is kept from going back while others are at work, and what was
// changed is kept on all of them or on none, unless asked otherwise.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// Session is a conversation with one host.
type Session interface {
	Call(ctx context.Context, req wire.Request, progress func(string)) (wire.Reply, error)
	Close() error
}

// Each runs do for every name, at most limit at once, and returns the
// errors by name. It never stops early.
func Each(names []string, limit int, do func(name string) error) map[string]error {
	var (
		g    errgroup.Group
		mu   sync.Mutex
		errs = make(map[string]error)
	)
	g.SetLimit(limit)
	for _, name := range names {
		g.Go(func() error {
			if err := do(name); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs[name] = err
			}
			return nil
		})
	}
	_ = g.Wait() // do's errors are in errs
	return errs
}

// Observe asks a host what it looks like.
func Observe(ctx context.Context, s Session, q plan.Query) (plan.Observation, error) {
	reply, err := s.Call(ctx, wire.Request{Observe: &q}, nil)
	if err != nil {
		return plan.Observation{}, err
	}
	if reply.Observation == nil {
		return plan.Observation{}, errors.New("the host's answer has no observation in it")
	}
	return *reply.Observation, nil
}

// State is how an apply left a host.
type State string

// The states.
const (
	Unchanged  State = "unchanged"   // there was nothing to do
	Missing    State = "missing"     // did not answer, and stays as it is
	Applied    State = "applied"     // as the plan wants it, and confirmed
	Untouched  State = "untouched"   // not begun
	RolledBack State = "rolled back" // begun, and again as it was before
	Unknown    State = "unknown"     // the host could not say; fabric plan tells
)

// Result is how an apply left a host, and why.
type Result struct {
	Host  string `json:"host"`
	State State  `json:"state"`
	Error string `json:"error,omitempty"`
}

// Options is how an apply goes about it.
type Options struct {
	Parallel      int                          // hosts at once
	Canary        int                          // hosts that apply before all others, and have to be well first
	KeepGoing     bool                         // a host that fails keeps no other from applying, nor from keeping what it applied; for plans without steps
	ConfirmWithin time.Duration                // a host goes back by itself once it has heard nothing for so long
	Stand         Stand                        // between the steps of a plan that has several; may be nil
	Check         Check                        // once hosts are what the plan wants; may be nil
	Progress      func(host, text string)      // called from several goroutines
	Query         func(host string) plan.Query // what to ask a host
	Session       func(host string) Session    // of every host that changes
}

// Stand waits for what has to be there before a step that is not the first.
type Stand func(ctx context.Context, step int) error

// Check waits until the fabric works with these hosts as the plan wants them
// and all others as they were.
type Check func(ctx context.Context, applied map[string]bool) error

// ErrPartial means that hosts are in different states; the results tell.
var ErrPartial = errors.New("the hosts are not all in the same state")

// Apply carries out a plan. Where ctx ends early, whatever has begun is
// rolled back; once confirming has begun it is finished.
func Apply(ctx context.Context, p *plan.Plan, o Options) ([]Result, error) {
	a := newAttempt(p, o)
	err := a.carryOut(ctx)
	if err != nil {
		a.rollBack(ctx)
	} else {
		err = a.confirm(ctx)
	}
	results := make([]Result, len(a.hosts))
	for i, r := range a.hosts {
		results[i] = r.result
	}
	return results, err
}

// attempt is one apply over all hosts.
type attempt struct {
	Options
	hosts    []*hostRun
	changing []*hostRun
	steps    int // that the hosts take
}

func newAttempt(p *plan.Plan, o Options) *attempt {
	a := &attempt{Options: o}
	for _, h := range p.Hosts {
		r := &hostRun{
			host: h, within: o.ConfirmWithin, progress: func(text string) { a.tell(h.Name, text) },
			result: Result{Host: h.Name, State: Unchanged},
		}
		a.hosts = append(a.hosts, r)
		if h.Missing != "" {
			r.result.State = Missing
			continue
		}
		a.steps = max(a.steps, len(h.Steps()))
		r.session = o.Session(h.Name)
		if r.changes() {
			r.result.State = Untouched
			a.changing = append(a.changing, r)
		}
	}
	return a
}

func (a *attempt) tell(who, text string) {
	if a.Progress != nil {
		a.Progress(who, text)
	}
}

// wave is hosts that apply together: the fabric has to work with them before
// the next wave begins.
type wave struct {
	hosts  []*hostRun
	canary bool // each has to succeed, whatever the options say
}

func (a *attempt) waves() []wave {
	n := min(a.Canary, len(a.changing))
	all := []wave{{a.changing[:n], true}, {a.changing[n:], false}}
	return slices.DeleteFunc(all, func(w wave) bool { return len(w.hosts) == 0 })
}

// carryOut brings the hosts to where only the confirmation is left. Where it
// returns an error, nothing may be confirmed.
func (a *attempt) carryOut(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	waves := a.waves()
	for i, w := range waves {
		if err := a.begin(ctx, w, 0, fail); err != nil {
			return err
		}
		if a.steps == 1 {
			if err := a.check(ctx, w); err != nil {
				return err
			}
		}
		if i+1 < len(waves) {
			a.tell("canary", fmt.Sprintf("well, now the other %d", len(waves[i+1].hosts)))
		}
	}
	if a.steps > 1 {
		if err := a.move(ctx, fail); err != nil {
			return err
		}
	}
	return a.release()
}

// begin has the hosts of a wave take a step, and begins on no further one
// after a failure. A host that is lost later ends the whole attempt by fail.
func (a *attempt) begin(ctx context.Context, w wave, step int, fail func(error)) error {
	lost := fail
	if a.KeepGoing {
		lost = func(error) {} // check finds out
	}
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(a.Parallel)
	for _, r := range w.hosts {
		if !r.takesPart(step) {
			continue
		}
		g.Go(func() error {
			if running.Err() != nil {
				return running.Err()
			}
			err := r.apply(running, a.Query(r.host.Name), step)
			switch {
			case err == nil:
				r.hold(ctx, lost)
			case running.Err() != nil:
				r.excuse() // it was called back
			case a.KeepGoing && !w.canary:
				return nil
			}
			return err
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// check waits until the fabric works, and then makes sure that each host that
// has applied still waits for its confirmation.
func (a *attempt) check(ctx context.Context, w wave) error {
	for {
		applied := a.applied()
		if len(applied) == 0 {
			return nil
		}
		var err error
		if a.Check != nil {
			err = a.Check(ctx, applied)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		lost := a.forHeld(func(r *hostRun) error { return r.ask(ctx) })
		if lost == nil || w.canary || !a.KeepGoing {
			return cmp.Or(lost, err)
		}
		// Those that are left are another fabric than the one looked at.
	}
}

// applied names the hosts that have applied and wait to be confirmed.
func (a *attempt) applied() map[string]bool {
	applied := make(map[string]bool)
	for _, r := range a.changing {
		if r.waits() {
			applied[r.host.Name] = true
		}
	}
	return applied
}

// release ends what keeps the hosts from going back: what comes next has to
// come soon.
func (a *attempt) release() error {
	lost := a.forHeld((*hostRun).release)
	if a.KeepGoing {
		return nil
	}
	return lost
}

func (a *attempt) rollBack(ctx context.Context) {
	ctx, cancel := patience.TimeoutAfter(ctx, endTimeout)
	defer cancel()
	_ = a.forHeld(func(r *hostRun) error { // what went wrong is in the results
		r.abort(ctx)
		return nil
	})
}

func (a *attempt) confirm(ctx context.Context) error {
	ctx, cancel := patience.TimeoutAfter(ctx, endTimeout)
	defer cancel()
	_ = a.forHeld(func(r *hostRun) error { // what went wrong is in the results
		r.confirm(ctx)
		return nil
	})
	for _, r := range a.changing {
		if r.result.State != Applied {
			return ErrPartial
		}
	}
	return nil
}

// forHeld does something on all hosts that wait to be confirmed, at once, so
// that the first does not have to wait for the last. A host on which that
// fails is lost; the error is that of the first one.
func (a *attempt) forHeld(do func(*hostRun) error) error {
	var g errgroup.Group
	for _, r := range a.changing {
		if r.held == nil {
			continue
		}
		g.Go(func() error {
			err := do(r)
			if err != nil {
				r.lose(err)
				err = fmt.Errorf("%s: %w", r.host.Name, err)
			}
			return err
		})
	}
	return g.Wait()
}
