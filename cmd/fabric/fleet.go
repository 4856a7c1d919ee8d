package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/remote"
	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

// fleet is the sessions with a fabric's hosts and what they answered.
type fleet struct {
	executable string // the running program
	programs   *remote.Programs
	parallel   int
	stderr     io.Writer
	mu         sync.Mutex
	sessions   map[string]*remote.Session
	observed   map[string]plan.Observation
	missing    map[string]string // why hosts cannot be asked that a plan does without
}

// openFleet is loadFleet for a program that runs on the hosts too.
func openFleet(ctx context.Context, o *options, stderr io.Writer) (*loaded, *fleet, error) {
	l, f, err := loadFleet(ctx, o, stderr)
	if err != nil {
		return nil, nil, err
	}
	return l, f, o.portable(f.executable)
}

// loadFleet reads the fabric's file and makes a fleet of no sessions yet.
func loadFleet(ctx context.Context, o *options, stderr io.Writer) (*loaded, *fleet, error) {
	l, err := load(o.file)
	if err != nil {
		return nil, nil, err
	}
	if err := l.resolve(ctx, stderr); err != nil {
		return nil, nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	return l, &fleet{
		executable: executable, programs: remote.NewPrograms(executable), parallel: o.parallel, stderr: stderr,
		sessions: make(map[string]*remote.Session), observed: make(map[string]plan.Observation), missing: make(map[string]string),
	}, nil
}

// makePlan asks all hosts and works out the plan.
func (f *fleet) makePlan(ctx context.Context, l *loaded, allowMissing bool) (*plan.Plan, error) {
	if err := f.ask(ctx, l, allowMissing); err != nil {
		return nil, err
	}
	return f.plan(l)
}

// planOfReachable works out the plan from the hosts that can be asked, and
// warns of the others, unless they were removed from the file: these may
// well be gone for good.
func (f *fleet) planOfReachable(ctx context.Context, l *loaded, stderr io.Writer) (*plan.Plan, error) {
	removed := l.removedTargets()
	errs := f.dial(ctx, slices.Concat(l.targets(), removed), l.query)
	for _, t := range removed {
		delete(errs, t.Name)
	}
	if err := joinErrors(errs); err != nil && (len(f.observed) == 0 || ctx.Err() != nil) {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(errs)) {
		fmt.Fprintf(stderr, "warning: %v\n", errs[name])
	}
	return f.plan(l)
}

// ask connects to all hosts and observes them. A host of the file that
// cannot be asked is an error, unless it is down and hosts may be missing; one
// that was removed from it is not, since it may well be gone for good.
func (f *fleet) ask(ctx context.Context, l *loaded, allowMissing bool) error {
	kept, removed := l.targets(), l.removedTargets()
	errs := f.dial(ctx, slices.Concat(kept, removed), l.query)
	miss := func(targets []remote.Target, may func(error) bool) {
		for _, t := range targets {
			if err := errs[t.Name]; err != nil && may(err) {
				f.missing[t.Name] = reason(t.Name, err)
				delete(errs, t.Name)
			}
		}
	}
	miss(removed, func(err error) bool { return !errors.Is(err, context.Canceled) })
	if allowMissing && slices.ContainsFunc(kept, func(t remote.Target) bool { return errs[t.Name] == nil }) {
		miss(kept, remote.Unanswered)
	}
	return f.failures(errs)
}

// reason is why a host cannot be asked, without how one logs in there: it is
// part of a plan.
func reason(host string, err error) string {
	if e, ok := errors.AsType[*remote.Error](err); ok {
		return e.Reason
	}
	return strings.TrimPrefix(err.Error(), host+": ")
}

// plan works out the plan from what the hosts last answered.
func (f *fleet) plan(l *loaded) (*plan.Plan, error) {
	if err := l.adoptRanges(f.observed); err != nil {
		return nil, err
	}
	return plan.New(plan.Input{
		Topology: l.topology, Graph: l.graph, Lock: l.lock, Observed: f.observed, Missing: f.missing, Programs: f.programs.Builds(),
	})
}

// dial connects to the targets and, with a query, observes each. The errors
// are by host.
func (f *fleet) dial(ctx context.Context, targets []remote.Target, query func(host string) plan.Query) map[string]error {
	byName := make(map[string]remote.Target, len(targets))
	for _, t := range targets {
		byName[t.Name] = t
	}
	names := slices.Sorted(maps.Keys(byName))
	waiting := newWaiting(f.stderr, names)
	defer waiting.end()
	return rollout.Each(names, f.parallel, func(name string) error {
		defer waiting.done(name)
		s, err := remote.Dial(ctx, byName[name], f.programs)
		if err != nil {
			return err
		}
		f.mu.Lock()
		f.sessions[name] = s
		f.mu.Unlock()
		if query == nil {
			return nil
		}
		return f.observe(ctx, name, s, query(name))
	})
}

func (f *fleet) observe(ctx context.Context, name string, s rollout.Session, q plan.Query) error {
	o, err := rollout.Observe(ctx, s, q)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	f.mu.Lock()
	f.observed[name] = o
	f.mu.Unlock()
	return nil
}

// failures makes one error of the hosts that could not be asked and of what
// is in the way on those that could, so that a user can mend all at once.
func (f *fleet) failures(errs map[string]error) error {
	if len(errs) == 0 {
		return nil
	}
	all := maps.Clone(errs)
	for name, o := range f.observed {
		if err := obstacleError(name, o.Obstacles); err != nil && errs[name] == nil {
			all[name] = err
		}
	}
	return joinErrors(all)
}

// interrupted names the hosts on which an apply was cut off.
func (f *fleet) interrupted() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(f.observed)) {
		if f.observed[name].Facts.Interrupted {
			names = append(names, name)
		}
	}
	return names
}

// recover has the hosts on which an apply was cut off go back, and looks at
// them again.
func (f *fleet) recover(ctx context.Context, stderr io.Writer, query func(host string) plan.Query) error {
	interrupted := f.interrupted()
	for _, name := range interrupted {
		fmt.Fprintf(stderr, "%s: an earlier apply was cut off here; going back to what was before it\n", name)
	}
	return joinErrors(rollout.Each(interrupted, f.parallel, func(name string) error {
		s := f.sessions[name]
		if _, err := s.Call(ctx, wire.Request{Recover: &wire.Empty{}}, nil); err != nil {
			if _, answered := errors.AsType[*wire.Error](err); !answered {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(stderr, "warning: %s: %v\n", name, err)
		}
		return f.observe(ctx, name, s, query(name))
	}))
}

// close ends all sessions.
func (f *fleet) close() {
	_ = rollout.Each(slices.Sorted(maps.Keys(f.sessions)), len(f.sessions)+1, func(name string) error {
		return f.sessions[name].Close() // whatever an apply was to do has been answered before
	})
}

// joinErrors makes one error of several, in the order of the hosts' names.
func joinErrors(byHost map[string]error) error {
	var lines []string
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		err := byHost[name]
		if errors.Is(err, context.Canceled) {
			return err
		}
		lines = append(lines, err.Error())
	}
	if len(lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(lines, "\n"))
}
