package plan_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

const fourHosts = `
version: 1
name: demo
network: 172.17.0.0/16
graph: {strategy: mesh}
tree: {root: h1, backup: h2}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
  h4: {address: 192.0.2.14}
`

// changed plans from a fabric as the one file wants it to the other file.
func changed(t *testing.T, before, after string) *plan.Plan {
	t.Helper()
	was := input(t, before)
	in := inputAfter(t, was.Lock, after)
	in.Observed = make(map[string]plan.Observation)
	for _, h := range makePlan(t, was).Hosts {
		in.Observed[h.Name] = plan.Observation{State: h.Desired}
	}
	return makePlan(t, in)
}

func inRing(file string) string { return strings.Replace(file, "mesh", "ring", 1) }

func replacedRoot(file string) string {
	return strings.Replace(file, "root: h1, backup: h2", "root: h2, backup: h1", 1)
}

// withoutRoot is four hosts without h1, in another tree.
func withoutRoot(file, tree string) string {
	return strings.NewReplacer("  h1: {address: 192.0.2.11}\n", "", "root: h1, backup: h2", tree).Replace(file)
}

func TestMovesAreTheHostsThatLeaveTheTreeAsItIs(t *testing.T) {
	replaced := func(old, with string) string { return strings.Replace(fourHosts, old, with, 1) }
	const dear = "links: [{between: [h3, h4], cost: 9000}]\n"
	h4 := "  h4: {address: 192.0.2.14}\n"
	for _, c := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", fourHosts, fourHosts, nil},
		{"first apply", "", fourHosts, nil},
		{"a host is added", replaced(h4, ""), fourHosts, nil},
		{"a leaf is removed", fourHosts, replaced(h4, ""), nil},
		{"a larger network", fourHosts, replaced("172.17.0.0/16", "172.16.0.0/15"), nil},
		{"tunnels that carry nothing are removed", fourHosts, replaced("mesh", "hub"), nil},
		{"another root", fourHosts, replacedRoot(fourHosts), []string{"h3 leaves h1: h3, 3 pairs, 300 ms", "h4 leaves h1: h4, 3 pairs, 300 ms", "h1 leaves h2: h1, 3 pairs, 300 ms"}},
		{"the root again", replacedRoot(fourHosts), fourHosts, []string{"h3 leaves h2: h3, 3 pairs, 300 ms", "h4 leaves h2: h4, 3 pairs, 300 ms"}},
		{"a root with hosts below it gets a worse priority", inRing(fourHosts), replacedRoot(inRing(fourHosts)),
			[]string{"h1 leaves h2: h1 h4, 5 pairs, 300 ms"}},
		{"a host with another below it gets a worse priority", inRing(fourHosts) + dear, strings.Replace(inRing(fourHosts), "backup: h2", "backup: h4", 1) + dear,
			[]string{"h2 leaves h1: h3, 3 pairs, 300 ms"}},
		{"cost", fourHosts, fourHosts + "links: [{between: [h1, h3], cost: 9000}]\n", []string{"h3 leaves h1: h3, 3 pairs, 300 ms"}},
		{"a tunnel of the tree is removed", fourHosts, replaced("mesh", "ring"), []string{"h3 leaves h1: h3, 3 pairs, 300 ms"}},
		{"the root is removed", fourHosts, withoutRoot(fourHosts, "root: h2, backup: h3"),
			[]string{"h2 leaves h1: h2, 2 pairs, 300 ms", "h3 leaves h1: h3, 2 pairs, 300 ms", "h4 leaves h1: h4, 2 pairs, 300 ms"}},
		{"another tunnel type", fourHosts, fourHosts + "tunnel: {type: geneve}\n",
			[]string{"h2 leaves h1: h2, 3 pairs, 300 ms", "h3 leaves h1: h3, 3 pairs, 300 ms", "h4 leaves h1: h4, 3 pairs, 300 ms"}},
		{"another key", fourHosts, fourHosts + "tunnel: {key: 7}\n",
			[]string{"h2 leaves h1: h2, 3 pairs, 4000 ms", "h3 leaves h1: h3, 3 pairs, 4000 ms", "h4 leaves h1: h4, 3 pairs, 4000 ms"}},
		{"STP", strings.Replace(fourHosts, "tree: {", "tree: {protocol: stp, ", 1), strings.NewReplacer("tree: {", "tree: {protocol: stp, ", "mesh", "ring").Replace(fourHosts),
			[]string{"h3 leaves h1: h3, 3 pairs, 50000 ms"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p *plan.Plan
			if c.before == "" {
				p = makePlan(t, input(t, c.after))
			} else {
				p = changed(t, c.before, c.after)
			}
			var got []string
			for _, m := range p.Moves {
				got = append(got, fmt.Sprintf("%s leaves %s: %s, %d pairs, %d ms", m.Host, m.From, strings.Join(m.Behind, " "), m.Pairs, m.OutageMS))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// ports writes what matters of a host's ports in each of its states.
func ports(h plan.Host) []string {
	var lines []string
	for _, s := range h.Steps() {
		var line []string
		for _, p := range s.OVS.Ports {
			text := p.Name + " " + p.OtherConfig["rstp-path-cost"]
			if p.OtherConfig["rstp-admin-port-state"] == "false" {
				text += " held"
			}
			line = append(line, text)
		}
		lines = append(lines, s.OVS.OtherConfig["rstp-priority"]+": "+strings.Join(line, ", "))
	}
	return lines
}

// checkPorts compares the ports of hosts in each of their states.
func checkPorts(t *testing.T, p *plan.Plan, want map[string][]string) {
	t.Helper()
	for host, states := range want {
		i := slices.IndexFunc(p.Hosts, func(h plan.Host) bool { return h.Name == host })
		if diff := cmp.Diff(states, ports(p.Hosts[i])); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
}

func TestATunnelIsLeftOnTheSideOfTheHostThatMovesFirst(t *testing.T) {
	p := changed(t, fourHosts, fourHosts+"links: [{between: [h1, h3], cost: 9000}]\n")
	want := map[string][]string{
		"h1": {
			"4096: vx-h2 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h2 2000, vx-h3 9000, vx-h4 2000",
			"4096: vx-h2 2000, vx-h3 9000 held, vx-h4 2000",
			"4096: vx-h2 2000, vx-h3 9000, vx-h4 2000",
		},
		"h3": {
			"32768: vx-h1 2000, vx-h2 2000, vx-h4 2000",
			"32768: vx-h1 9000 held, vx-h2 2000, vx-h4 2000",
			"32768: vx-h1 9000 held, vx-h2 2000, vx-h4 2000 held",
			"32768: vx-h1 9000, vx-h2 2000, vx-h4 2000",
		},
		"h4": {
			"32768: vx-h1 2000, vx-h2 2000 held, vx-h3 2000 held",
			"32768: vx-h1 2000, vx-h2 2000 held, vx-h3 2000 held",
			"32768: vx-h1 2000, vx-h2 2000 held, vx-h3 2000 held",
			"32768: vx-h1 2000, vx-h2 2000, vx-h3 2000",
		},
	}
	checkPorts(t, p, want)
}

func TestTunnelsOfAnotherTypeStandBesideTheOldOnesFirst(t *testing.T) {
	p := changed(t, fourHosts, fourHosts+"tunnel: {type: geneve}\n")
	want := []string{
		"8192: gnv-h1 20000000, gnv-h3 2000 held, gnv-h4 2000 held, vx-h1 2000, vx-h3 2000, vx-h4 2000",
		"8192: gnv-h1 2000, gnv-h3 2000 held, gnv-h4 2000 held, vx-h1 2000 held, vx-h3 2000, vx-h4 2000",
		"8192: gnv-h1 2000, gnv-h3 2000 held, gnv-h4 2000 held, vx-h1 2000 held, vx-h3 2000 held, vx-h4 2000 held",
		"8192: gnv-h1 2000, gnv-h3 2000, gnv-h4 2000",
	}
	if diff := cmp.Diff(want, ports(p.Hosts[1])); diff != "" {
		t.Error(diff)
	}
	if got := awaited[plan.Placed](p, 1); len(got) != 1 || len(got[0]) != 6 {
		t.Errorf("%v join the tree, want 6 ends of tunnels", got)
	}
}

func TestPacketsGrowOnlyOnceAllTunnelsCarryThem(t *testing.T) {
	gre := fourHosts + "tunnel: {type: gre}\n"
	for _, c := range []struct {
		name, before, after string
		want                []int
	}{
		{"grow", fourHosts, gre, []int{1450, 1450, 1450, 1462}},
		{"shrink", gre, fourHosts, []int{1450, 1450, 1450, 1450}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []int
			for _, s := range changed(t, c.before, c.after).Hosts[0].Steps() {
				if s.OVS.MTU != s.Links.MTU || s.Links.MTU != s.Docker.Config.MTU {
					t.Errorf("MTU %d of the switch, %d of the bridge, %d of dockerd", s.OVS.MTU, s.Links.MTU, s.Docker.Config.MTU)
				}
				got = append(got, s.Links.MTU)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTheOldRootStaysItUntilThereIsNoLoop(t *testing.T) {
	p := changed(t, fourHosts, replacedRoot(fourHosts))
	for i, want := range [][]string{{"4096", "4096", "61440", "61440", "8192"}, {"4096", "4096", "4096", "4096", "4096"}} {
		var got []string
		for _, s := range p.Hosts[i].Steps() {
			got = append(got, s.OVS.OtherConfig["rstp-priority"])
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", p.Hosts[i].Name, diff)
		}
	}
}

func TestNeighboursLetGoOfAnOldRootThatGetsAWorsePriority(t *testing.T) {
	p := changed(t, fourHosts, replacedRoot(fourHosts))
	want := map[string][]string{
		"h1": {
			"4096: vx-h2 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h2 2000, vx-h3 2000, vx-h4 2000",
			"61440: vx-h2 2000, vx-h3 2000 held, vx-h4 2000 held",
			"61440: vx-h2 2000, vx-h3 2000 held, vx-h4 2000 held",
			"8192: vx-h2 2000, vx-h3 2000, vx-h4 2000",
		},
		"h2": {
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000 held, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
		},
	}
	checkPorts(t, p, want)
}

func TestTheNewRootLeavesARemovedOneLast(t *testing.T) {
	p := changed(t, fourHosts, withoutRoot(fourHosts, "root: h2, backup: h3"))
	want := map[string][]string{
		"h2": {
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000, vx-h3 2000, vx-h4 2000",
			"4096: vx-h1 2000 held, vx-h3 2000, vx-h4 2000",
			"4096: vx-h3 2000, vx-h4 2000",
		},
		"h3": {
			"8192: vx-h1 2000, vx-h2 2000, vx-h4 2000",
			"8192: vx-h1 2000 held, vx-h2 2000, vx-h4 2000",
			"8192: vx-h1 2000 held, vx-h2 2000, vx-h4 2000 held",
			"8192: vx-h2 2000, vx-h4 2000",
		},
	}
	checkPorts(t, p, want)
}

func TestTheNeighbourOfARemovedRootThatIsNextToTheNewOneLeavesItLast(t *testing.T) {
	after := withoutRoot(inRing(fourHosts), "root: h3, backup: h4") + "links: [{between: [h2, h3], cost: 9000}]\n"
	var held []string
	for _, h := range changed(t, inRing(fourHosts), after).Hosts {
		if len(h.Between) == 0 {
			continue
		}
		for _, p := range h.Between[1].OVS.Ports {
			if p.ExternalIDs[plan.PeerKey] == "h1" && p.OtherConfig["rstp-admin-port-state"] == "false" {
				held = append(held, h.Name)
			}
		}
	}
	if diff := cmp.Diff([]string{"h2"}, held); diff != "" {
		t.Errorf("hosts that leave h1 first: %s", diff)
	}
}

func TestHostsThatMayFailAloneTakeNoSteps(t *testing.T) {
	p := changed(t, fourHosts, inRing(fourHosts))
	p.Apart()
	for _, h := range p.Hosts {
		if len(h.Steps()) != 1 {
			t.Errorf("%s takes %d steps", h.Name, len(h.Steps()))
		}
	}
	want := []plan.Move{{Host: "h3", From: "h1", Behind: []string{"h3"}, Pairs: 3, OutageMS: 2500, Why: "leaves h1 and goes another way"}}
	if diff := cmp.Diff(want, p.Moves); diff != "" {
		t.Error(diff)
	}
}
