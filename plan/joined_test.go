package plan_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

// applying is the plan that brings a fabric from one file to another.
func applying(t *testing.T, from, to string) *plan.Plan {
	t.Helper()
	in := input(t, to)
	in.Observed = make(map[string]plan.Observation)
	if from != "" {
		for _, h := range makePlan(t, input(t, from)).Hosts {
			in.Observed[h.Name] = plan.Observation{State: h.Desired}
		}
	}
	for _, h := range in.Topology.Hosts {
		if _, was := in.Observed[h.Name]; !was {
			in.Observed[h.Name] = plan.Observation{}
		}
	}
	return makePlan(t, in)
}

func TestHostsAreJoinedByTunnelsThatStandAtBothEnds(t *testing.T) {
	other := strings.NewReplacer("hosts:", "tunnel: {key: 7}\nhosts:").Replace(threeHosts)
	stp := strings.Replace(threeHosts, "tree: {", "tree: {protocol: stp, ", 1)
	moved := strings.Replace(threeHosts, "192.0.2.13", "192.0.2.33", 1)
	all := map[string]bool{"h1": true, "h2": true, "h3": true}
	for name, tt := range map[string]struct {
		from, to string
		applied  map[string]bool
		want     [][]string
	}{
		"a new fabric, one host":       {"", threeHosts, map[string]bool{"h2": true}, [][]string{{"h2"}}},
		"a new fabric, two hosts":      {"", threeHosts, map[string]bool{"h1": true, "h3": true}, [][]string{{"h1", "h3"}}},
		"a new fabric, all hosts":      {"", threeHosts, all, [][]string{{"h1", "h2", "h3"}}},
		"nothing applied":              {threeHosts, other, nil, [][]string{{"h1", "h2", "h3"}}},
		"another key on one host":      {threeHosts, other, map[string]bool{"h1": true}, [][]string{{"h1"}, {"h2", "h3"}}},
		"another key on all hosts":     {threeHosts, other, all, [][]string{{"h1", "h2", "h3"}}},
		"another protocol on one host": {threeHosts, stp, map[string]bool{"h3": true}, [][]string{{"h1", "h2"}, {"h3"}}},
		"a host that has moved":        {threeHosts, moved, map[string]bool{"h1": true, "h2": true}, [][]string{{"h1", "h2", "h3"}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, applying(t, tt.from, tt.to).Joined(tt.applied)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAHostThatIsMissingJoinsNobody(t *testing.T) {
	ring := strings.Replace(threeHosts, "{strategy: mesh}", "{strategy: explicit}", 1) + "links:\n  - {between: [h1, h2]}\n  - {between: [h2, h3]}\n"
	in := input(t, ring)
	in.Observed = map[string]plan.Observation{"h1": {}, "h3": {}}
	in.Missing = map[string]string{"h2": "it does not answer"}
	got := makePlan(t, in).Joined(map[string]bool{"h1": true, "h3": true})
	if diff := cmp.Diff([][]string{{"h1"}, {"h3"}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNothingChangesOnAHostThatIsMissing(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h2": {}, "h3": {}}
	in.Missing = map[string]string{"h1": "it does not answer"}
	p := makePlan(t, in)
	if h := p.Hosts[0]; h.Missing != "it does not answer" || len(h.Changes) > 0 {
		t.Errorf("%+v", h)
	}
	if len(p.Hosts[1].Changes) == 0 {
		t.Error("h2 does not change")
	}
	if p.Tree.Root != "h1" || p.Meanwhile == nil || p.Meanwhile.Root != "h2" {
		t.Errorf("the root is %s, meanwhile %+v", p.Tree.Root, p.Meanwhile)
	}
}

func TestTheMTUIsNotRaisedWhileAHostIsMissing(t *testing.T) {
	in := input(t, threeHosts)
	whole := makePlan(t, in)
	low := whole.Hosts[0].Desired
	ovs := *low.OVS
	ovs.MTU = 1350
	low.OVS = &ovs
	path := plan.Path{Peer: netip.MustParseAddr("192.0.2.12"), Device: "eth0", MTU: 1500}
	in.Observed = map[string]plan.Observation{"h1": {State: low, Facts: plan.Facts{Underlay: []plan.Path{path}}}, "h2": {}}
	in.Missing = map[string]string{"h3": "it does not answer"}
	if mtu := makePlan(t, in).MTU; mtu.Value != 1350 || mtu.Underlay != 1400 || !strings.Contains(mtu.Why, "h1") {
		t.Errorf("%+v", mtu)
	}
	in.Missing = nil
	if mtu := makePlan(t, in).MTU; mtu.Value != 1450 {
		t.Errorf("once it is back: %+v", mtu)
	}
}
