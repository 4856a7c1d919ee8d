package rollout_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

func mtu(n int) plan.HostState {
	return plan.HostState{OVS: &plan.OVS{Bridge: plan.Bridge{Name: "br0", MTU: n}}}
}

// steps is a plan of three steps, the middle one for h1 alone.
func steps() (*plan.Plan, map[string]*fakeHost) {
	p, hosts := threeHosts()
	p.Hosts[0].From, p.Hosts[0].Between, p.Hosts[0].Desired = mtu(1), []plan.HostState{mtu(2), mtu(3)}, mtu(4)
	p.Hosts[1].From, p.Hosts[1].Between, p.Hosts[1].Desired = mtu(1), []plan.HostState{mtu(2), mtu(2)}, mtu(4)
	p.Hosts[2].From, p.Hosts[2].Between, p.Hosts[2].Desired = mtu(1), []plan.HostState{mtu(1), mtu(1)}, mtu(1)
	return p, hosts
}

func TestTheTreeMovesOnceTheNewTunnelsStand(t *testing.T) {
	p, hosts := steps()
	o := options(hosts)
	o.Stand = func(_ context.Context, step int) error {
		for _, h := range hosts {
			h.calls = append(h.calls, fmt.Sprint("stand ", step))
		}
		return nil
	}
	results, err := rollout.Apply(t.Context(), p, o)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string][]string{
		"h1": {"apply", "stand 1", "apply", "forget", "stand 2", "apply", "forget", "hold", "confirm"},
		"h2": {"apply", "stand 1", "forget", "stand 2", "apply", "forget", "hold", "confirm"},
		"h3": {"stand 1", "forget", "stand 2", "forget"},
	} {
		if diff := cmp.Diff(want, slices.Compact(hosts[host].calls)); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
	want := map[string]rollout.State{"h1": rollout.Applied, "h2": rollout.Applied, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestAHostThatChangesLaterMakesReadyInTheFirstStep(t *testing.T) {
	p, hosts := steps()
	p.Hosts[1].Between = []plan.HostState{mtu(1), mtu(2)}
	o := options(hosts)
	o.Stand = func(_ context.Context, step int) error {
		hosts["h2"].calls = append(hosts["h2"].calls, fmt.Sprint("stand ", step))
		return nil
	}
	if _, err := rollout.Apply(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	want := []string{"apply", "stand 1", "apply", "forget", "stand 2", "apply", "forget", "hold", "confirm"}
	if diff := cmp.Diff(want, slices.Compact(hosts["h2"].calls)); diff != "" {
		t.Error(diff)
	}
}

func TestNoTreeMovesToTunnelsThatDoNotStand(t *testing.T) {
	p, hosts := steps()
	o := options(hosts)
	o.Stand = func(context.Context, int) error { return errors.New("BFD is down") }
	results, err := rollout.Apply(t.Context(), p, o)
	if err == nil {
		t.Fatal("no error")
	}
	for _, host := range []string{"h1", "h2"} {
		if diff := cmp.Diff([]string{"apply", "abort"}, hosts[host].calls); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
	want := map[string]rollout.State{"h1": rollout.RolledBack, "h2": rollout.RolledBack, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}

func TestCanariesTakeTheFirstStepAndThenAllGoTogether(t *testing.T) {
	p, hosts := steps()
	o := options(hosts)
	o.Canary = 1
	stood := false
	o.Stand = func(context.Context, int) error {
		stood = true
		return nil
	}
	o.Progress = func(host, _ string) {
		if host == "canary" && (len(hosts["h1"].calls) != 1 || len(hosts["h2"].calls) != 0) {
			t.Errorf("after the canary h1 was asked for %v, h2 for %v", hosts["h1"].calls, hosts["h2"].calls)
		}
	}
	results, err := rollout.Apply(t.Context(), p, o)
	if err != nil || !stood {
		t.Fatal(err, stood)
	}
	want := map[string]rollout.State{"h1": rollout.Applied, "h2": rollout.Applied, "h3": rollout.Unchanged}
	if diff := cmp.Diff(want, states(results)); diff != "" {
		t.Error(diff)
	}
}
