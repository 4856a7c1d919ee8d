package rollout_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

// fakeHost answers as a host does and keeps what it was asked, in order.
type fakeHost struct {
	mu      sync.Mutex
	calls   []string
	failing map[string]error // by request
	apply   func(context.Context) error
	closed  error // what the session ends with
}

func (h *fakeHost) Call(ctx context.Context, req wire.Request, _ func(string)) (wire.Reply, error) {
	name := "?"
	switch {
	case req.Apply != nil:
		name = "apply"
	case req.Confirm != nil:
		name = "confirm"
	case req.Abort != nil:
		name = "abort"
	case req.Forget != nil:
		name = "forget"
	}
	h.mu.Lock()
	h.calls = append(h.calls, name)
	h.mu.Unlock()
	if name == "apply" && h.apply != nil {
		return wire.Reply{}, h.apply(ctx)
	}
	return wire.Reply{}, h.failing[name]
}

func (h *fakeHost) Close() error { return h.closed }

func threeHosts() (*plan.Plan, map[string]*fakeHost) {
	change := []plan.Change{{Op: plan.Add, Object: "bridge br0"}}
	p := &plan.Plan{Hosts: []plan.Host{{Name: "h1", Changes: change}, {Name: "h2", Changes: change}, {Name: "h3"}}}
	return p, map[string]*fakeHost{"h1": {}, "h2": {}, "h3": {}}
}

func options(hosts map[string]*fakeHost) rollout.Options {
	return rollout.Options{
		Parallel: 2, ConfirmWithin: time.Minute,
		Query:   func(string) plan.Query { return plan.Query{} },
		Session: func(host string) rollout.Session { return hosts[host] },
	}
}

func states(results []rollout.Result) map[string]rollout.State {
	m := make(map[string]rollout.State)
	for _, r := range results {
		m[r.Host] = r.State
	}
	return m
}

func TestAllHostsAreConfirmedAfterTheFabricWasLookedAt(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.Settle = func(context.Context) error {
		if diff := cmp.Diff([]string{"apply"}, hosts["h1"].calls); diff != "" {
			t.Error(diff)
		}
		return nil
	}
	results, err := rollout.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]rollout.State{"h1": rollout.Applied, "h2": rollout.Applied, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"apply", "confirm"}, hosts["h2"].calls); diff != "" {
		t.Error(diff)
	}
}

func TestAHostWithoutChangesIsLeftAlone(t *testing.T) {
	p, hosts := threeHosts()
	if _, err := rollout.Apply(t.Context(), p, options(hosts)); err != nil {
		t.Fatal(err)
	}
	if len(hosts["h3"].calls) > 0 {
		t.Errorf("h3 was asked for %v", hosts["h3"].calls)
	}
}

func TestOneFailureTakesEveryHostBack(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.Parallel = 1 // h1 first
	hosts["h2"].failing = map[string]error{"apply": &wire.Error{Message: "disk full", RolledBack: true}}
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestNoFurtherHostIsBegunAfterAFailure(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.Parallel = 1
	hosts["h1"].failing = map[string]error{"apply": &wire.Error{Message: "changed since the plan", Untouched: true}}
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	want := map[string]rollout.State{"h1": rollout.Untouched, "h2": rollout.Untouched, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
	if len(hosts["h2"].calls) > 0 {
		t.Errorf("h2 was asked for %v", hosts["h2"].calls)
	}
}

func TestAFabricThatDoesNotSettleGoesBack(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.Settle = func(context.Context) error { return errors.New("the root is h2") }
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestAnInterruptTakesBackWhatHasBegun(t *testing.T) {
	p, hosts := threeHosts()
	ctx, interrupt := context.WithCancel(t.Context())
	applied := make(chan struct{})
	hosts["h1"].apply = func(context.Context) error { close(applied); return nil }
	hosts["h2"].apply = func(ctx context.Context) error {
		<-applied
		interrupt()
		<-ctx.Done()
		return ctx.Err()
	}
	results, err := rollout.Apply(ctx, p, options(hosts))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestASessionGivenUpWhileTheFabricSettlesEndsRolledBack(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h1"].failing = map[string]error{"abort": errors.New("write to a closed pipe")}
	o := options(hosts)
	o.Settle = func(context.Context) error { return context.Canceled }
	results, _ := rollout.Apply(t.Context(), p, o)
	if got := states(results)["h1"]; got != rollout.RolledBack {
		t.Errorf("h1 is %s, want rolled back", got)
	}
}

func TestAHostThatDiesIsNotCalledRolledBack(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h1"].failing = map[string]error{"apply": errors.New("the session was lost")}
	hosts["h1"].closed = errors.New("exit status 255")
	results, err := rollout.Apply(t.Context(), p, options(hosts))
	if err == nil {
		t.Fatal("no error")
	}
	if got := states(results)["h1"]; got != rollout.Unknown {
		t.Errorf("h1 is %s, want unknown", got)
	}
}

func TestALateConfirmationIsToldApart(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h2"].failing = map[string]error{"confirm": &wire.Error{Message: "too late", RolledBack: true}}
	results, err := rollout.Apply(t.Context(), p, options(hosts))
	if !errors.Is(err, rollout.ErrPartial) {
		t.Fatalf("error %v, want ErrPartial", err)
	}
	want := map[string]rollout.State{"h1": rollout.Applied, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestNoHostIsConfirmedOnceOneWaitsNoLonger(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.ConfirmWithin = time.Millisecond
	o.Settle = func(ctx context.Context) error { <-ctx.Done(); return nil }
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"apply", "abort"}, hosts["h1"].calls); diff != "" {
		t.Error(diff)
	}
}

func TestAnInterruptThatEndsTheSessionsIsWaitedFor(t *testing.T) {
	for name, tt := range map[string]struct {
		closed error
		want   rollout.State
	}{
		"in peace": {nil, rollout.RolledBack},
		"in error": {errors.New("exit status 1"), rollout.Unknown},
	} {
		t.Run(name, func(t *testing.T) {
			p, hosts := threeHosts()
			ctx, interrupt := context.WithCancel(t.Context())
			o := options(hosts)
			o.Settle = func(ctx context.Context) error { interrupt(); return ctx.Err() }
			hosts["h1"].failing = map[string]error{"abort": errors.New("the session was lost")}
			hosts["h1"].closed = tt.closed
			results, err := rollout.Apply(ctx, p, o)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			if got := states(results)["h1"]; got != tt.want {
				t.Errorf("h1 is %s, want %s", got, tt.want)
			}
		})
	}
}

func TestAHostThatIsCalledBackGivesNoReason(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h1"].failing = map[string]error{"apply": &wire.Error{Message: "disk full", RolledBack: true}}
	hosts["h2"].apply = func(ctx context.Context) error {
		<-ctx.Done()
		return &wire.Error{Message: "stop dockerd: context canceled", RolledBack: true}
	}
	results, _ := rollout.Apply(t.Context(), p, options(hosts))
	want := []rollout.Result{
		{Host: "h1", State: rollout.RolledBack, Error: "disk full"},
		{Host: "h2", State: rollout.RolledBack},
		{Host: "h3", State: rollout.Unchanged},
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Error(diff)
	}
}
