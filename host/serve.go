package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// What bounds an apply and going back from it, unless the operator has more
// patience: a switch or a dockerd that hangs must not leave the host half way
// for ever.
const (
	applyTimeout    = 3 * time.Minute
	rollbackTimeout = 3 * time.Minute
)

// Prober answers probe requests.
type Prober interface {
	Do(context.Context, wire.ProbeRequest) (wire.ProbeResult, error)
}

// server is one session with an operator.
type server struct {
	host     *Host
	conn     *wire.Conn
	prober   Prober
	operator string           // USER@MACHINE
	release  func()           // of the lock; nil while it is not held
	confirm  <-chan time.Time // when an unconfirmed apply is given up; nil without one
	within   time.Duration    // how long the operator may be silent before that
}

// Serve answers the operator on r and w until r ends, for the host and the
// prober that open returns for the name of the operator's fabric. An apply
// that is not confirmed by then, or in time, is rolled back; so is one under
// way when r ends or ctx is done. Program is the build that runs.
func Serve(ctx context.Context, program string, open func(fabric string) (*Host, Prober), r io.Reader, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{conn: wire.NewConn(r, w)}
	if err := s.conn.Send(wire.Hello{Version: wire.Version, Program: program}); err != nil {
		return err
	}
	var start wire.Start
	if err := s.conn.Receive(&start); err != nil {
		if errors.Is(err, io.EOF) {
			return nil
		}
		return err
	}
	if start.Fabric == "" {
		return errors.New("the operator's side does not say which fabric it is about")
	}
	ctx = patience.With(ctx, start.Patience)
	s.operator = operatorName(start.Operator)
	s.host, s.prober = open(start.Fabric)
	requests := make(chan wire.Request)
	received := make(chan error, 1)
	go func() {
		defer cancel() // the operator has gone: whatever is under way ends
		defer close(requests)
		received <- receive(ctx, s.conn, requests)
	}()
	err := s.loop(ctx, requests)
	// A read that nobody ends keeps the receiver waiting; the process ends
	// with this function, so it is left behind unless it is done.
	select {
	case lost := <-received:
		err = errors.Join(err, lost)
	default:
	}
	return errors.Join(err, s.giveUp(ctx))
}

func receive(ctx context.Context, conn *wire.Conn, requests chan<- wire.Request) error {
	for {
		var req wire.Request
		if err := conn.Receive(&req); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		select {
		case requests <- req:
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *server) loop(ctx context.Context, requests <-chan wire.Request) error {
	for {
		select {
		case req, ok := <-requests:
			if !ok {
				return nil
			}
			reply := s.answer(ctx, req)
			if s.confirm != nil { // the operator is there; an answer that took long is no silence of its
				s.confirm = time.After(s.within)
			}
			if err := s.conn.Send(reply); err != nil {
				return err
			}
		case <-s.confirm:
			s.host.Log.Warn("no confirmation in time: going back")
			if err := s.giveUp(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *server) progress(text string) {
	s.host.Log.Info(text)
	_ = s.conn.Send(wire.Reply{Progress: text}) // a lost operator is noticed by the reader
}

func (s *server) answer(ctx context.Context, req wire.Request) wire.Reply {
	if err := req.Validate(); err != nil {
		return wire.Reply{Error: failure(err)}
	}
	switch {
	case req.Observe != nil:
		o, err := s.observe(ctx, *req.Observe)
		return wire.Reply{Observation: &o, Error: failure(err)}
	case req.Apply != nil:
		return wire.Reply{Error: failure(s.apply(ctx, *req.Apply))}
	case req.Hold != nil:
		return wire.Reply{Error: failure(s.waits())}
	case req.Forget != nil:
		return wire.Reply{Error: failure(s.host.Switch.Forget(ctx))}
	case req.Confirm != nil:
		if err := s.waits(); err != nil {
			return wire.Reply{Error: failure(err)}
		}
		err := s.host.Confirm(ctx)
		if err == nil {
			s.host.Log.Info("confirmed")
		} else {
			s.host.Log.Error("cannot keep what was applied", "error", err)
		}
		s.settled()
		return wire.Reply{Error: failure(err)}
	case req.Abort != nil:
		return wire.Reply{Error: failure(s.giveUp(ctx))}
	case req.Recover != nil:
		return wire.Reply{Error: failure(s.recover(ctx))}
	}
	result, err := s.prober.Do(ctx, *req.Probe)
	return wire.Reply{Probe: &result, Error: failure(err)}
}

// observe tells a host that another apply is changing right now, and which
// looks like anything, from one on which an apply was cut off.
func (s *server) observe(ctx context.Context, q plan.Query) (plan.Observation, error) {
	o, err := s.host.Observe(ctx, q)
	if err != nil || !o.Facts.Interrupted || s.release != nil {
		return o, err
	}
	release, err := lock(s.host.Lock, applyBy(s.operator))
	if locked, ok := errors.AsType[*LockedError](err); ok {
		o.Facts.Interrupted = false
		o.Obstacles = []plan.Obstacle{{What: locked.what(), Cure: lockedCure, Always: true}}
		return o, nil
	}
	if err == nil {
		release()
	}
	return o, err
}

// apply begins an apply, or goes on with the one that waits for its confirmation.
func (s *server) apply(ctx context.Context, req wire.ApplyRequest) error {
	do := s.host.Next
	if s.confirm == nil {
		do = s.host.Apply
		if err := s.take(); err != nil {
			return &wire.Error{Message: err.Error(), Untouched: true}
		}
	}
	ctx, cancel := patience.Timeout(ctx, applyTimeout)
	defer cancel()
	s.host.Log.Info("apply", "fabric", req.Query.Fabric, "operator", s.operator)
	if err := do(ctx, req, s.progress); err != nil {
		s.host.Log.Error("apply failed", "error", err)
		s.settled()
		return err
	}
	s.host.Log.Info("applied: waiting for the confirmation")
	s.within = req.ConfirmWithin
	s.confirm = time.After(s.within)
	return nil
}

func (s *server) recover(ctx context.Context) error {
	if err := s.take(); err != nil {
		return err
	}
	defer s.settled()
	ctx, cancel := patience.Timeout(ctx, rollbackTimeout)
	defer cancel()
	return s.host.Recover(ctx, s.progress)
}

// take takes the host's lock.
func (s *server) take() error {
	if s.release != nil {
		return errors.New("an apply is waiting for its confirmation")
	}
	release, err := lock(s.host.Lock, applyBy(s.operator))
	if err != nil {
		return err
	}
	s.release = release
	return nil
}

// waits is an error where no apply waits to be confirmed.
func (s *server) waits() error {
	if s.confirm == nil {
		return &wire.Error{Message: "nothing to confirm: the host has gone back to what it was, for the operator was silent for too long", RolledBack: true}
	}
	return nil
}

// settled ends an apply: the host is in a state that stays.
func (s *server) settled() {
	if s.release != nil {
		s.release()
	}
	s.release, s.confirm = nil, nil
}

// giveUp rolls back an apply that was not confirmed. It runs to its end
// whether or not the operator is still there.
func (s *server) giveUp(ctx context.Context) error {
	if s.confirm == nil {
		return nil
	}
	if err := s.host.goBack(ctx, s.progress); err != nil {
		return fmt.Errorf("go back: %w", err)
	}
	s.settled()
	return nil
}

func failure(err error) *wire.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*wire.Error](err); ok {
		return e
	}
	return &wire.Error{Message: err.Error()}
}
