package rollout

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// endTimeout bounds confirming and going back, which go on after the user
// has given up.
const endTimeout = 4 * time.Minute

// holdTimeout bounds how long a host may take to say that it waits. It may be
// busy with a probe meanwhile.
const holdTimeout = time.Minute

// beats is how often a host hears from the operator in the time after which
// it would go back.
const beats = 4

// hostRun is one host's part in an apply.
type hostRun struct {
	host     plan.Host
	session  Session
	within   time.Duration // of silence, after which the host goes back
	progress func(string)
	result   Result
	held     *hold // nil unless the host has applied and waits to be confirmed
}

// hold tells a host that waits to be confirmed, time and again, that the
// operator is there.
type hold struct {
	stop  func()
	ended chan struct{}
	err   error // why the host is lost; to be read after ended
}

// apply has the host take a step of its part of the plan. From one to the
// next it need not be held: each tells it that the operator is there.
func (r *hostRun) apply(ctx context.Context, q plan.Query, step int) error {
	var err error
	if r.held != nil {
		err = r.release()
		r.held = nil
	}
	if err == nil {
		from, want := r.step(step)
		r.result.State = Unknown
		_, err = r.session.Call(ctx, wire.Request{Apply: &wire.ApplyRequest{
			Query: q, From: from, Want: want, ConfirmWithin: r.within,
		}}, r.progress)
	}
	if err == nil {
		return nil
	}
	r.fail(err)
	return fmt.Errorf("%s: %w", r.host.Name, err)
}

// hold keeps the host from going back, and calls lost where it cannot.
func (r *hostRun) hold(ctx context.Context, lost func(error)) {
	stop := make(chan struct{})
	h := &hold{stop: sync.OnceFunc(func() { close(stop) }), ended: make(chan struct{})}
	r.held = h
	go func() {
		defer close(h.ended)
		tick := time.NewTicker(max(r.within/beats, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			if h.err = r.ask(ctx); h.err != nil {
				lost(fmt.Errorf("%s: %w", r.host.Name, h.err))
				return
			}
		}
	}()
}

// waits reports whether the host, as far as is known, waits to be confirmed.
func (r *hostRun) waits() bool {
	if r.held == nil {
		return false
	}
	select {
	case <-r.held.ended:
		return false
	default:
		return true
	}
}

// ask asks the host whether it waits to be confirmed. A request that is under
// way is not called off with ctx, for the session would end with it.
func (r *hostRun) ask(ctx context.Context) error {
	ctx, cancel := patience.TimeoutAfter(ctx, holdTimeout)
	defer cancel()
	_, err := r.session.Call(ctx, wire.Request{Hold: &wire.Empty{}}, nil)
	return err
}

// release ends the hold and returns why the host was lost meanwhile, if so.
func (r *hostRun) release() error {
	r.held.stop()
	<-r.held.ended
	return r.held.err
}

// lose gives up a host that no longer waits.
func (r *hostRun) lose(err error) {
	_ = r.release() // err says why
	r.held = nil
	r.fail(err)
}

// abort has the host go back. It may have gone back by itself.
func (r *hostRun) abort(ctx context.Context) {
	err := r.release()
	r.held = nil
	if err == nil {
		_, err = r.session.Call(ctx, wire.Request{Abort: &wire.Empty{}}, r.progress)
	}
	if err == nil {
		r.result.State = RolledBack
		return
	}
	r.fail(err)
	r.excuse()
}

// confirm has the host keep what it applied.
func (r *hostRun) confirm(ctx context.Context) {
	r.held = nil
	_, err := r.session.Call(ctx, wire.Request{Confirm: &wire.Empty{}}, r.progress)
	if err == nil {
		r.result.State = Applied
		return
	}
	r.result.Error = err.Error()
	if e, ok := errors.AsType[*wire.Error](err); ok && e.RolledBack {
		r.result.State = RolledBack
	}
}

// fail keeps why an unconfirmed apply ended and what became of the host. One
// that does not say so ends its session in peace if it has gone back.
func (r *hostRun) fail(err error) {
	r.result.State, r.result.Error = Unknown, err.Error()
	e, answered := errors.AsType[*wire.Error](err)
	switch {
	case answered && e.Untouched:
		r.result.State = Untouched
	case answered && e.RolledBack, !answered && r.session.Close() == nil:
		r.result.State = RolledBack
	}
}

// excuse forgets why a host went back that was to do so: the reason to tell
// is another's.
func (r *hostRun) excuse() {
	if r.result.State != Unknown {
		r.result.Error = ""
	}
}
