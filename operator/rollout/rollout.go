// Package rollout is the operator's side of an apply: every host is asked
// before any is changed, and what was changed is kept on all of them or on
// none.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ovsfabric/fabric/host/wire"
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
	ConfirmWithin time.Duration                // a host goes back by itself if it was not confirmed by then
	Stand         func(context.Context) error  // waits until the new tunnels carry frames, before a plan of several steps relies on them
	Settle        func(context.Context) error  // looks at the whole fabric before anything is confirmed
	Progress      func(host, text string)      // called from several goroutines
	Query         func(host string) plan.Query // what to ask a host
	Session       func(host string) Session    // of every host in the plan
}

// ErrPartial means that hosts are in different states; the results tell.
var ErrPartial = errors.New("the hosts are not all in the same state")

// hostRun is one host's part in an apply.
type hostRun struct {
	host    plan.Host
	session Session
	result  Result
	applied time.Time // when the host had applied it
	pending bool      // applied, and neither confirmed nor rolled back
}

// Apply carries out a plan. Where ctx ends early, whatever has begun is
// rolled back; once confirming has begun it is finished.
func Apply(ctx context.Context, p *plan.Plan, o Options) ([]Result, error) {
	runs := make([]*hostRun, 0, len(p.Hosts))
	var changing []*hostRun
	for _, h := range p.Hosts {
		r := &hostRun{host: h, session: o.Session(h.Name), result: Result{Host: h.Name, State: Unchanged}}
		if r.changes() {
			r.result.State = Untouched
			changing = append(changing, r)
		}
		runs = append(runs, r)
	}
	err := carry(ctx, runs, o)
	if err == nil && len(changing) > 0 {
		err = wait(ctx, changing, o, o.Settle)
	}
	if err != nil {
		rollBackAll(changing, o)
	} else {
		err = confirmAll(changing, o)
	}
	results := make([]Result, len(runs))
	for i, r := range runs {
		results[i] = r.result
	}
	return results, err
}

// wait looks at the fabric for as long as every host waits for its
// confirmation: one that comes later finds some hosts gone back.
func wait(ctx context.Context, runs []*hostRun, o Options, look func(context.Context) error) error {
	first := time.Now()
	for _, r := range runs {
		if r.pending && r.applied.Before(first) {
			first = r.applied
		}
	}
	waiting, cancel := context.WithDeadline(ctx, first.Add(o.ConfirmWithin))
	defer cancel()
	var err error
	if look != nil {
		err = look(waiting)
	}
	if ctx.Err() == nil && waiting.Err() != nil {
		return fmt.Errorf("the first host was to be told within %s to keep its changes, and the fabric was not ready by then: allow more time, or more hosts at once", o.ConfirmWithin)
	}
	return err
}

// applyAll begins a step on the hosts, and on no further one after a failure.
func applyAll(ctx context.Context, runs []*hostRun, step int, o Options) error {
	g, running := errgroup.WithContext(ctx)
	g.SetLimit(o.Parallel)
	for _, r := range runs {
		g.Go(func() error {
			if running.Err() != nil {
				return running.Err()
			}
			err := r.apply(running, step, o)
			if running.Err() != nil && r.result.State != Unknown {
				r.result.Error = "" // it was called back: the reason to tell is another's
			}
			return err
		})
	}
	err := g.Wait()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (r *hostRun) apply(ctx context.Context, step int, o Options) error {
	if !r.changesIn(step) {
		return nil
	}
	from, want := r.step(step)
	req := wire.ApplyRequest{Query: o.Query(r.host.Name), From: from, Want: want, ConfirmWithin: o.ConfirmWithin}
	r.result.State, r.pending = Unknown, false
	_, err := r.session.Call(ctx, wire.Request{Apply: &req}, r.progress(o))
	if err == nil {
		r.pending, r.applied = true, time.Now()
		return nil
	}
	r.result.Error = err.Error()
	if e, ok := errors.AsType[*wire.Error](err); ok {
		switch {
		case e.Untouched:
			r.result.State = Untouched
		case e.RolledBack:
			r.result.State = RolledBack
		}
		return fmt.Errorf("%s: %w", r.host.Name, err)
	}
	r.goneBack()
	return fmt.Errorf("%s: %w", r.host.Name, err)
}

// goneBack waits for the end of a session that was lost or given up. A host
// that ends it in peace has gone back to what it was.
func (r *hostRun) goneBack() {
	if r.session.Close() == nil {
		r.result.State = RolledBack
	}
}

func (r *hostRun) progress(o Options) func(string) {
	return func(text string) {
		if o.Progress != nil {
			o.Progress(r.host.Name, text)
		}
	}
}

// endTimeout bounds confirming and going back, which go on after ctx has
// ended.
const endTimeout = 4 * time.Minute

func rollBackAll(runs []*hostRun, o Options) {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	forPending(runs, func(r *hostRun) {
		_, err := r.session.Call(ctx, wire.Request{Abort: &wire.Empty{}}, r.progress(o))
		if _, answered := errors.AsType[*wire.Error](err); err != nil && (answered || r.session.Close() != nil) {
			r.result.Error = err.Error()
			return
		}
		// Settle may have ended the session; a host that ends it in peace has
		// gone back.
		r.result.State = RolledBack
	})
}

func confirmAll(runs []*hostRun, o Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	forPending(runs, func(r *hostRun) {
		_, err := r.session.Call(ctx, wire.Request{Confirm: &wire.Empty{}}, r.progress(o))
		if err == nil {
			r.result.State = Applied
			return
		}
		r.result.Error = err.Error()
		if e, ok := errors.AsType[*wire.Error](err); ok && e.RolledBack {
			r.result.State = RolledBack
		}
	})
	for _, r := range runs {
		if r.result.State != Applied {
			return ErrPartial
		}
	}
	return nil
}

func forPending(runs []*hostRun, do func(*hostRun)) {
	var g errgroup.Group // all at once: the first to wait must not time out for the last
	for _, r := range runs {
		if !r.pending {
			continue
		}
		r.pending = false
		g.Go(func() error {
			do(r)
			return nil
		})
	}
	_ = g.Wait() // do keeps what went wrong in the result
}
