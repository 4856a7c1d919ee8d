package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

// fakeHost answers as a host does and keeps what it was asked, in order.
type fakeHost struct {
	calling sync.Mutex // a session makes one call at a time
	mu      sync.Mutex
	calls   []string
	failing map[string]error // by request
	apply   func(context.Context) error
	hold    func() error
	closed  error // what the session ends with
}

func (h *fakeHost) Call(ctx context.Context, req wire.Request, _ func(string)) (wire.Reply, error) {
	h.calling.Lock()
	defer h.calling.Unlock()
	name := "?"
	switch {
	case req.Apply != nil:
		name = "apply"
	case req.Confirm != nil:
		name = "confirm"
	case req.Abort != nil:
		name = "abort"
	case req.Hold != nil:
		name = "hold"
	}
	h.mu.Lock()
	h.calls = append(h.calls, name)
	h.mu.Unlock()
	if name == "apply" && h.apply != nil {
		return wire.Reply{}, h.apply(ctx)
	}
	if name == "hold" && h.hold != nil {
		return wire.Reply{}, h.hold()
	}
	return wire.Reply{}, h.failing[name]
}

// asked is what the host was asked, but whether it waits.
func (h *fakeHost) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.calls), func(call string) bool { return call == "hold" })
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
	o.Check = func(_ context.Context, applied map[string]bool) error {
		if diff := cmp.Diff(map[string]bool{"h1": true, "h2": true}, applied); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"apply"}, hosts["h1"].asked()); diff != "" {
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
	if diff := cmp.Diff([]string{"apply", "confirm"}, hosts["h2"].asked()); diff != "" {
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
	o.Check = func(context.Context, map[string]bool) error { return errors.New("the root is h2") }
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
	o.Check = func(context.Context, map[string]bool) error { return context.Canceled }
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

func TestHostsAreToldToWaitForAsLongAsTheFabricIsLookedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hosts := threeHosts()
		for _, h := range hosts {
			heard := time.Now()
			h.hold = func() error {
				if silence := time.Since(heard); silence > time.Minute/2 {
					t.Errorf("the operator was silent for %s", silence)
				}
				heard = time.Now()
				return nil
			}
		}
		o := options(hosts)
		o.Check = func(context.Context, map[string]bool) error {
			time.Sleep(time.Hour)
			return nil
		}
		if _, err := rollout.Apply(t.Context(), p, o); err != nil {
			t.Fatal(err)
		}
		if n := len(hosts["h1"].calls); n < 60 {
			t.Errorf("h1 was asked %d times in an hour", n)
		}
	})
}

func TestHostsThatHaveAppliedAreToldToWaitForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hosts := threeHosts()
		hosts["h2"].apply = func(context.Context) error {
			time.Sleep(time.Hour)
			return nil
		}
		if _, err := rollout.Apply(t.Context(), p, options(hosts)); err != nil {
			t.Fatal(err)
		}
		if n := len(hosts["h1"].calls); n < 60 {
			t.Errorf("h1 was asked %d times in an hour", n)
		}
	})
}

func TestNoHostIsConfirmedOnceOneHasGoneBack(t *testing.T) {
	gone := &wire.Error{Message: "gone back", RolledBack: true}
	for name, check := range map[string]rollout.Check{
		"while the fabric was looked at": func(ctx context.Context, _ map[string]bool) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"right before the confirmation": func(context.Context, map[string]bool) error { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, hosts := threeHosts()
				hosts["h1"].failing = map[string]error{"hold": gone}
				o := options(hosts)
				o.Check = check
				results, err := rollout.Apply(t.Context(), p, o)
				if !errors.Is(err, gone) {
					t.Errorf("error %v, want what h1 said", err)
				}
				want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
				if diff := cmp.Diff(want, states(results)); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff([]string{"apply", "abort"}, hosts["h2"].asked()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestNothingIsAskedOfAHostAfterItsConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, hosts := threeHosts()
		if _, err := rollout.Apply(t.Context(), p, options(hosts)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if last := hosts["h1"].calls[len(hosts["h1"].calls)-1]; last != "confirm" {
			t.Errorf("the last that h1 was asked is %s", last)
		}
	})
}

func TestNoOtherHostBeginsBeforeTheCanaryIsWell(t *testing.T) {
	p, hosts := threeHosts()
	o := options(hosts)
	o.Canary = 1
	var looked []map[string]bool
	o.Check = func(_ context.Context, applied map[string]bool) error {
		if looked = append(looked, applied); len(looked) == 1 && len(hosts["h2"].asked()) > 0 {
			t.Errorf("h2 was asked for %v", hosts["h2"].asked())
		}
		return nil
	}
	if _, err := rollout.Apply(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]map[string]bool{{"h1": true}, {"h1": true, "h2": true}}, looked); diff != "" {
		t.Error(diff)
	}
}

func TestACanaryThatIsNotWellGoesBackAndTheOthersAreNotBegun(t *testing.T) {
	for _, keepGoing := range []bool{false, true} {
		for name, spoil := range map[string]func(*fakeHost, *rollout.Options){
			"it fails": func(h *fakeHost, _ *rollout.Options) {
				h.failing = map[string]error{"apply": &wire.Error{Message: "disk full", RolledBack: true}}
			},
			"the fabric fails": func(_ *fakeHost, o *rollout.Options) {
				o.Check = func(context.Context, map[string]bool) error { return errors.New("h1 reaches nobody") }
			},
			"it is lost": func(h *fakeHost, _ *rollout.Options) {
				h.failing = map[string]error{"hold": errors.New("the session was lost")}
			},
		} {
			t.Run(fmt.Sprintf("%s, keep going %t", name, keepGoing), func(t *testing.T) {
				p, hosts := threeHosts()
				o := options(hosts)
				o.Canary, o.KeepGoing = 1, keepGoing
				spoil(hosts["h1"], &o)
				results, err := rollout.Apply(t.Context(), p, o)
				if err == nil {
					t.Fatal("no error")
				}
				want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.Untouched, "h3": rollout.Unchanged}
				if diff := cmp.Diff(want, states(results)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func keepGoing(hosts map[string]*fakeHost) rollout.Options {
	o := options(hosts)
	o.KeepGoing, o.Parallel = true, 1 // h1 first
	return o
}

func TestKeepGoingConfirmsTheHostsThatDidNotFail(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h1"].failing = map[string]error{"apply": &wire.Error{Message: "disk full", RolledBack: true}}
	results, err := rollout.Apply(t.Context(), p, keepGoing(hosts))
	if !errors.Is(err, rollout.ErrPartial) {
		t.Fatalf("error %v, want ErrPartial", err)
	}
	want := []rollout.Result{
		{Host: "h1", State: rollout.RolledBack, Error: "disk full"},
		{Host: "h2", State: rollout.Applied},
		{Host: "h3", State: rollout.Unchanged},
	}
	if diff := cmp.Diff(want, results); diff != "" {
		t.Error(diff)
	}
}

func TestKeepGoingKeepsNoFabricThatDoesNotWork(t *testing.T) {
	p, hosts := threeHosts()
	o := keepGoing(hosts)
	o.Check = func(context.Context, map[string]bool) error { return errors.New("nobody reaches anybody") }
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestKeepGoingLooksAgainWithoutAHostThatWasLost(t *testing.T) {
	p, hosts := threeHosts()
	hosts["h1"].failing = map[string]error{"hold": errors.New("the session was lost")}
	o := keepGoing(hosts)
	o.Check = func(_ context.Context, applied map[string]bool) error {
		if applied["h1"] {
			return errors.New("h1 reaches nobody")
		}
		return nil
	}
	results, err := rollout.Apply(t.Context(), p, o)
	if !errors.Is(err, rollout.ErrPartial) {
		t.Fatalf("error %v, want ErrPartial", err)
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.Applied, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestAnInterruptEndsKeepGoingToo(t *testing.T) {
	p, hosts := threeHosts()
	ctx, interrupt := context.WithCancel(t.Context())
	hosts["h1"].apply = func(context.Context) error { interrupt(); return ctx.Err() }
	results, err := rollout.Apply(ctx, p, keepGoing(hosts))
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want context.Canceled", err)
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.Untouched, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
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
			o.Check = func(ctx context.Context, _ map[string]bool) error { interrupt(); return ctx.Err() }
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
	began := make(chan struct{})
	hosts["h1"].apply = func(context.Context) error {
		<-began
		return &wire.Error{Message: "disk full", RolledBack: true}
	}
	hosts["h2"].apply = func(ctx context.Context) error {
		close(began)
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
