package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

// firstPlan is the plan of a file for hosts without a fabric.
func firstPlan(t *testing.T, file string) *plan.Plan {
	t.Helper()
	return planFrom(t, file, plan.HostState{})
}

// planFrom is the plan of a file for hosts that all look the same.
func planFrom(t *testing.T, file string, now plan.HostState) *plan.Plan {
	t.Helper()
	in := input(t, file)
	in.Observed = make(map[string]plan.Observation)
	for _, h := range in.Topology.Hosts {
		in.Observed[h.Name] = plan.Observation{State: now}
	}
	return makePlan(t, in)
}

func TestAFabricBeginsWithoutItsRoot(t *testing.T) {
	const priority = "rstp-priority"
	for _, h := range firstPlan(t, fourHosts).Hosts {
		var got []string
		for _, s := range h.Steps() {
			got = append(got, s.OVS.OtherConfig[priority])
		}
		own := h.Desired.OVS.OtherConfig[priority]
		want := []string{own, own, own, own}
		if h.Name == "h1" {
			want = []string{"61440", "61440", "61440", own}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, priority in each step (-want +got):\n%s", h.Name, diff)
		}
	}
}

func TestTunnelsStandBeforeAllElse(t *testing.T) {
	dockers := plan.HostState{Links: &plan.Links{Name: "docker0", MTU: 1500}} // nobody's but dockerd's
	for _, h := range planFrom(t, fourHosts, dockers).Hosts {
		first := h.Steps()[0]
		if len(first.OVS.Ports) != len(h.Desired.OVS.Ports) {
			t.Errorf("%s: %d ports, want %d", h.Name, len(first.OVS.Ports), len(h.Desired.OVS.Ports))
		}
		for _, p := range first.OVS.Ports {
			if len(p.BFD) > 0 {
				t.Errorf("%s: the first step has BFD on %s", h.Name, p.Name)
			}
		}
		first.OVS = nil
		if diff := cmp.Diff(dockers, first, equateNetip); diff != "" {
			t.Errorf("%s: the first step touches more than the switch (-from +first):\n%s", h.Name, diff)
		}
	}
}

func TestAHostWithSomethingOfAFabricLeftChangesAsAWhole(t *testing.T) {
	for name, left := range map[string]plan.HostState{
		"its files":     {Boot: &plan.Boot{Program: "old"}},
		"its docker0":   {Links: &plan.Links{Name: "docker0", Owner: "demo", MTU: 1450}},
		"its dockerd":   {Docker: &plan.Docker{Config: plan.DockerConfig{MTU: 1450}}},
		"a foreign one": {Docker: &plan.Docker{Foreign: true}},
	} {
		p := planFrom(t, fourHosts, left)
		if ends := awaited[plan.Placed](p, 1); len(ends) > 0 {
			t.Errorf("%s: the first step adds %v", name, ends)
		}
		for _, h := range p.Hosts {
			if diff := cmp.Diff(left, h.Steps()[0], equateNetip); diff != "" {
				t.Errorf("%s: %s: the first step is a state between (-from +first):\n%s", name, h.Name, diff)
			}
		}
	}
}

func TestBFDGetsItsIntervalsInAStepOfItsOwn(t *testing.T) {
	for _, h := range firstPlan(t, strings.Replace(fourHosts, "tree: {", "tree: {bfd: 200, ", 1)).Hosts {
		for i, want := range []string{"1000", "200", "200"} {
			for _, p := range h.Steps()[i+1].OVS.Ports {
				if p.BFD["min_rx"] != want || p.BFD["min_tx"] != want {
					t.Errorf("%s, step %d: %s has %v, want %s ms", h.Name, i+2, p.Name, p.BFD, want)
				}
			}
		}
	}
}

func TestABeginningOnlyTouchesTheSwitchAfterItsSecondStep(t *testing.T) {
	for _, h := range firstPlan(t, fourHosts).Hosts {
		for i, s := range h.Steps()[1:] {
			s.OVS = h.Desired.OVS
			if diff := cmp.Diff(h.Desired, s, equateNetip); diff != "" {
				t.Errorf("%s, step %d (-desired +step):\n%s", h.Name, i+2, diff)
			}
		}
	}
}

func TestBothEndsOfEachTunnelAreWaitedFor(t *testing.T) {
	p := firstPlan(t, strings.Replace(fourHosts, "mesh", "ring", 1))
	heard, up := awaited[plan.Heard](p, 2), awaited[plan.Up](p, 3)
	if len(heard) != 1 || len(up) != 1 || !slices.Equal(heard[0], plan.Heard(up[0])) {
		t.Fatalf("before BFD's intervals %v are to be heard of, and before the root %v up", heard, up)
	}
	ends := heard[0]
	if len(ends) != 8 || !slices.Contains(ends, plan.Tunnel{Host: "h1", Port: "vx-h2"}) || !slices.Contains(ends, plan.Tunnel{Host: "h2", Port: "vx-h1"}) {
		t.Errorf("ends: %v", ends)
	}
	for step := range 5 {
		moved := changed(t, fourHosts, inRing(fourHosts))
		if ends := awaited[plan.Heard](moved, step); len(ends) > 0 {
			t.Errorf("on hosts with a fabric: %v", ends)
		}
	}
}

func TestOneStepIsEnoughWhereNothingHasToComeUpTogether(t *testing.T) {
	stp := strings.Replace(fourHosts, "tree: {", "tree: {protocol: stp, ", 1)
	alone := "version: 1\nname: demo\nnetwork: 172.17.0.0/16\nhosts:\n  h1: {address: 192.0.2.11}\n"
	for name, p := range map[string]*plan.Plan{"STP": firstPlan(t, stp), "one host": firstPlan(t, alone), "hosts that nobody asked": makePlan(t, input(t, fourHosts))} {
		for _, h := range p.Hosts {
			if len(h.Steps()) != 1 {
				t.Errorf("%s: %s takes %d steps", name, h.Name, len(h.Steps()))
			}
		}
	}
}
