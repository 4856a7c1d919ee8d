package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

// awaited lists the conditions of a type before a step.
func awaited[T plan.Condition](p *plan.Plan, step int) []T {
	var found []T
	for _, c := range p.Await(step) {
		if c, is := c.(T); is {
			found = append(found, c)
		}
	}
	return found
}

// withoutAccess is a state as builds had it that knew no access bridges.
func withoutAccess(s plan.HostState) plan.HostState {
	ovs, links := *s.OVS, *s.Links
	ovs.Access, ovs.Patches, ovs.LocalVLANs, links.Member = nil, nil, nil, plan.BridgeName
	s.OVS, s.Links = &ovs, &links
	return s
}

// migrated plans from a fabric as an older build made it of one file to another
// file.
func migrated(t *testing.T, before, after string) *plan.Plan {
	t.Helper()
	was := input(t, before)
	in := inputAfter(t, was.Lock, after)
	in.Observed = make(map[string]plan.Observation)
	for _, h := range makePlan(t, was).Hosts {
		in.Observed[h.Name] = plan.Observation{State: withoutAccess(h.Desired)}
	}
	return makePlan(t, in)
}

// joints writes how a host's containers are joined to the trunk in each of its
// states: the member of docker0, the access bridges, and the trunk's patch ports.
func joints(h plan.Host) []string {
	var lines []string
	for _, s := range append([]plan.HostState{h.From}, h.Steps()...) {
		line := s.Links.Member + ":"
		for _, b := range s.OVS.Access {
			line += " " + b.Name
		}
		for _, p := range s.OVS.Patches {
			line += " " + p.Name
		}
		if s.OVS.LocalVLANs != nil {
			line += ", br0 closed"
		}
		lines = append(lines, line)
	}
	return lines
}

func TestAFabricOfAnOlderBuildGetsItsAccessBridgesBeforeTheyAreUsed(t *testing.T) {
	p := migrated(t, threeHosts, threeHosts)
	want := []string{
		"br0:", "br0: fab-default patch-default", "fab-default: fab-default patch-default", "fab-default: fab-default patch-default, br0 closed",
	}
	for _, h := range p.Hosts {
		if diff := cmp.Diff(want, joints(h)); diff != "" {
			t.Errorf("%s: %s", h.Name, diff)
		}
		if plan.RestartsDocker(h.From.Docker, h.Desired.Docker) || len(h.Impact) > 0 {
			t.Errorf("%s: dockerd restarts: %q", h.Name, h.Impact)
		}
	}
	wait := []plan.Condition{plan.Placed{{Host: "h1", Port: "patch-default"}, {Host: "h2", Port: "patch-default"}, {Host: "h3", Port: "patch-default"}}}
	if diff := cmp.Diff(wait, p.Await(1)); diff != "" {
		t.Errorf("before the second step: %s", diff)
	}
}

func TestWhatAMigrationCostsIsToldPerHost(t *testing.T) {
	var got []string
	for _, m := range migrated(t, threeHosts, threeHosts).Moves {
		got = append(got, fmt.Sprintf("%s, %d pairs, %d ms: %s", m.Host, m.Pairs, m.OutageMS, m.Why))
	}
	want := []string{
		"h1, 2 pairs, 300 ms: moves its docker0 from br0 to fab-default, in steps",
		"h2, 2 pairs, 300 ms: moves its docker0 from br0 to fab-default, in steps",
		"h3, 2 pairs, 300 ms: moves its docker0 from br0 to fab-default, in steps",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheTrunksOwnPortIsNotClosedWhileContainersNeedIt(t *testing.T) {
	for _, p := range []*plan.Plan{migrated(t, threeHosts, threeHosts), migrated(t, fourHosts, inRing(fourHosts)), migrated(t, fourHosts, replacedRoot(fourHosts))} {
		for _, h := range p.Hosts {
			before := h.From
			for step, s := range h.Steps() {
				if s.OVS.LocalVLANs != nil && before.Links.Member == plan.BridgeName {
					t.Errorf("%s: closed in step %d, in which docker0 leaves br0 or later", h.Name, step)
				}
				before = s
			}
		}
	}
}

func TestATreeThatMovesWaitsForTheAccessBridges(t *testing.T) {
	p := migrated(t, fourHosts, inRing(fourHosts)+"  h5: {address: 192.0.2.15}\n")
	for _, h := range p.Hosts {
		steps := h.Steps()
		if len(steps) != 6 {
			t.Fatalf("%s takes %d steps, want two more than a tree that moves: 6", h.Name, len(steps))
		}
		if h.Name == "h5" {
			if steps[0].OVS != nil {
				t.Error("a host that joins does not wait for the others")
			}
			continue
		}
		first := steps[0]
		if first.Links.Member != plan.BridgeName {
			t.Errorf("%s: the first step moves docker0 to %s", h.Name, first.Links.Member)
		}
		if changes := plan.Diff(withoutAccess(first), h.From); len(changes) > 0 {
			t.Errorf("%s: more than access bridges in the first step: %v", h.Name, changes)
		}
	}
	if got := awaited[plan.Placed](p, 2); len(got) == 0 || len(got[0]) == 0 {
		t.Error("nothing is waited for before the tree moves")
	}
}

func TestHostsThatGoAloneHaveNoStepForAccessBridges(t *testing.T) {
	for protocol, outage := range map[string]int{"rstp": 2500, "stp": 30000} {
		file := strings.Replace(threeHosts, "tree: {", "tree: {protocol: "+protocol+", ", 1)
		p := migrated(t, file, file)
		p.Apart()
		for _, h := range p.Hosts {
			if len(h.Between) > 0 {
				t.Errorf("%s: %s has steps", protocol, h.Name)
			}
		}
		if len(p.Await(0)) > 0 || len(p.Await(1)) > 0 {
			t.Errorf("%s: waits for %v, and %v", protocol, p.Await(0), p.Await(1))
		}
		for _, m := range p.Moves {
			if m.OutageMS != outage {
				t.Errorf("%s: %s is told to be away for %d ms, want %d", protocol, m.Host, m.OutageMS, outage)
			}
		}
	}
}

// A bridge of which only some ports have a number loses its tree, and so would one
// of which two have the same.
func TestEachPortOfATreeOfSTPHasItsOwnNumberInEachStep(t *testing.T) {
	stp := strings.Replace(threeHosts, "tree: {", "tree: {protocol: stp, ", 1)
	hand := byHand("vxlan")
	hand.Ports[0].Number, hand.Ports[1].Number = 255, 7
	adopted := input(t, stp)
	adopted.Observed = map[string]plan.Observation{"h1": {State: plan.HostState{OVS: hand, Links: &plan.Links{Name: "docker0", Member: "br0"}}}}
	for name, p := range map[string]*plan.Plan{
		"migrated":         migrated(t, stp, stp),
		"becomes RSTP":     migrated(t, stp, threeHosts),
		"adopted":          makePlan(t, adopted),
		"another tunnel":   migrated(t, stp, stp+"tunnel: {type: gre}\n"),
		"a new one of STP": makePlan(t, input(t, stp)),
	} {
		for _, h := range p.Hosts {
			for step, s := range h.Steps() {
				if s.OVS == nil || !s.OVS.STP {
					continue
				}
				seen := make(map[string]string)
				for _, port := range slices.Concat(s.OVS.Ports, s.OVS.Patches) {
					number := port.OtherConfig["stp-port-num"]
					if number == "" || seen[number] != "" {
						t.Errorf("%s: %s after step %d: port %s has the number %q, as has %q", name, h.Name, step, port.Name, number, seen[number])
					}
					seen[number] = port.Name
				}
			}
		}
	}
}

func TestAPatchPortOfSTPKeepsItsNumberWhileItIsUsed(t *testing.T) {
	stp := strings.Replace(threeHosts, "tree: {", "tree: {protocol: stp, ", 1)
	for _, h := range migrated(t, stp, stp).Hosts {
		var numbers []string
		for _, s := range h.Steps() {
			numbers = append(numbers, s.OVS.Patches[0].OtherConfig["stp-port-num"])
		}
		if len(slices.Compact(numbers)) != 1 {
			t.Errorf("%s: the patch port is numbered %q: one of another number listens and learns anew", h.Name, numbers)
		}
	}
}

func TestWhatIsLeftOfAFabricWhoseTrunkWasDeletedIsKnown(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = make(map[string]plan.Observation)
	for _, h := range makePlan(t, in).Hosts {
		in.Observed[h.Name] = plan.Observation{State: h.Desired}
	}
	left := *in.Observed["h2"].State.OVS
	left.Bridge = plan.Bridge{}
	state := in.Observed["h2"].State
	state.OVS = &left
	in.Observed["h2"] = plan.Observation{State: state}
	if state.Owner() != "demo" {
		t.Errorf("owner %q, want that of the access bridge", state.Owner())
	}
	p := makePlan(t, in)
	if len(p.Moves) > 0 {
		t.Errorf("moves %v", p.Moves)
	}
	var objects []string
	for _, c := range p.Hosts[1].Changes {
		objects = append(objects, string(c.Op)+" "+c.Object)
	}
	if diff := cmp.Diff([]string{"+ bridge br0", "+ port vx-h1", "+ port vx-h3", "+ port patch-default"}, objects); diff != "" {
		t.Error(diff)
	}
}

func TestAllHostsThatStayTakeAsManySteps(t *testing.T) {
	stp := strings.Replace(threeHosts, "tree: {", "tree: {protocol: stp, ", 1)
	hand := func(stp, rstp bool) plan.HostState {
		ovs := byHand("vxlan")
		ovs.STP, ovs.RSTP = stp, rstp
		return plan.HostState{OVS: ovs, Links: &plan.Links{Name: "docker0", Member: "br0"}}
	}
	adopted := func(file string, state plan.HostState) *plan.Plan {
		in := input(t, file)
		in.Observed = map[string]plan.Observation{"h1": {State: state}, "h2": {State: state}, "h3": {}}
		return makePlan(t, in)
	}
	for name, p := range map[string]*plan.Plan{
		"migrated":                          migrated(t, threeHosts, threeHosts),
		"migrated, and a host comes":        migrated(t, threeHosts, fourHosts),
		"migrated, and the tree moves":      migrated(t, fourHosts, inRing(fourHosts)),
		"adopted STP, and a host comes":     adopted(stp, hand(true, false)),
		"adopted RSTP, and a host comes":    adopted(threeHosts, hand(false, true)),
		"adopted without a tree":            adopted(threeHosts, hand(false, false)),
		"adopted STP that is to be RSTP":    adopted(threeHosts, hand(true, false)),
		"a fabric of STP, and a host comes": migrated(t, stp, strings.Replace(fourHosts, "tree: {", "tree: {protocol: stp, ", 1)),
	} {
		for _, h := range p.Hosts {
			if got, want := len(h.Steps()), len(p.Hosts[0].Steps()); got != want {
				t.Errorf("%s: %s takes %d steps, and %s %d", name, h.Name, got, p.Hosts[0].Name, want)
			}
			if waits := awaited[plan.Placed](p, 1); len(waits) > 0 && h.From.OVS != nil && !h.From.OVS.STP && !h.From.OVS.RSTP {
				t.Errorf("%s: waits for %v, on bridges without a tree", name, waits)
			}
		}
	}
}
