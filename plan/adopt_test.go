package plan_test

import (
	gocmp "cmp"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/plan"
)

// byHand is a bridge that somebody made, with tunnels to two hosts.
func byHand(kind string) *plan.OVS {
	return &plan.OVS{Bridge: plan.Bridge{Name: "br0", STP: true, Ports: []plan.Port{
		{Name: "t1", Type: kind, Options: map[string]string{"remote_ip": "192.0.2.12"}},
		{Name: "t2", Type: kind, Options: map[string]string{"remote_ip": "192.0.2.13"}},
	}}}
}

func portNames(o *plan.OVS) []string {
	var names []string
	for _, p := range o.Ports {
		names = append(names, p.Name+" to "+p.ExternalIDs[plan.PeerKey])
	}
	return names
}

func TestAnAdoptedTunnelKeepsItsName(t *testing.T) {
	for kind, want := range map[string][]string{
		"vxlan": {"t1 to h2", "t2 to h3"},
		"gre":   {"vx-h2 to h2", "vx-h3 to h3"},
	} {
		in := input(t, threeHosts)
		in.Observed = map[string]plan.Observation{"h1": {State: plan.HostState{OVS: byHand(kind)}}}
		desired := makePlan(t, in).Hosts[0].Desired
		if diff := cmp.Diff(want, portNames(desired.OVS)); diff != "" {
			t.Errorf("%s: %s", kind, diff)
		}
		in.Observed = map[string]plan.Observation{"h1": {State: desired}}
		if diff := cmp.Diff(want, portNames(makePlan(t, in).Hosts[0].Desired.OVS)); diff != "" {
			t.Errorf("%s, once adopted: %s", kind, diff)
		}
	}
}

func TestANameThatAnotherPortIsToHaveIsNotKept(t *testing.T) {
	ovs := byHand("vxlan")
	ovs.Ports[0].Name = "vx-h3"
	ovs.Ports = ovs.Ports[:1]
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h1": {State: plan.HostState{OVS: ovs}}}
	if diff := cmp.Diff([]string{"vx-h2 to h2", "vx-h3 to h3"}, portNames(makePlan(t, in).Hosts[0].Desired.OVS)); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsKeptOfAHostMadeByHand(t *testing.T) {
	network := netip.MustParsePrefix("172.17.0.0/16")
	links := &plan.Links{Address: netip.MustParsePrefix("172.17.64.5/16")}
	for name, tc := range map[string]struct {
		docker *plan.Docker
		pool   string
	}{
		"no Docker of theirs":   {nil, "invalid Prefix"},
		"the fabric's":          {&plan.Docker{Config: plan.DockerConfig{FixedCIDR: "172.17.64.0/18"}}, "invalid Prefix"},
		"a part of the network": {&plan.Docker{Foreign: true, Config: plan.DockerConfig{FixedCIDR: "172.17.64.0/18"}}, "172.17.64.0/18"},
		"the whole network":     {&plan.Docker{Foreign: true, Config: plan.DockerConfig{FixedCIDR: "172.17.0.0/16"}}, "invalid Prefix"},
		"another network":       {&plan.Docker{Foreign: true, Config: plan.DockerConfig{FixedCIDR: "10.0.0.0/24"}}, "invalid Prefix"},
		"nonsense":              {&plan.Docker{Foreign: true, Config: plan.DockerConfig{FixedCIDR: "\x1b"}}, "invalid Prefix"},
	} {
		pool, address := plan.Observation{State: plan.HostState{Docker: tc.docker, Links: links}}.Adoptable(network)
		if pool.String() != tc.pool || pool.IsValid() != address.IsValid() {
			t.Errorf("%s: %s and %s, want %s", name, pool, address, tc.pool)
		}
	}
}

func TestTakingKeysOverAloneRestartsNothing(t *testing.T) {
	ours := plan.Docker{Config: plan.DockerConfig{BIP: "172.17.0.1/16"}}
	theirs := ours
	theirs.Foreign = true
	if plan.RestartsDocker(&theirs, &ours) {
		t.Error("dockerd is restarted, and would run as it does")
	}
}

func TestAnAdoptionThatMovesTheRootSaysWhatItCostsAndHowToKeepIt(t *testing.T) {
	for _, tc := range []struct {
		name, tree, live string
		want             []string
	}{
		{"another root", "protocol: stp, root: h1", "stp", []string{
			"h2 is the root of the tree that was made by hand, and h1 is to be: traffic between hosts stops for up to 50 s; with tree.root: h2 it stays where it is",
		}},
		{"the same root", "protocol: stp, root: h2", "stp", nil},
		{"another protocol, whose tree is another anyway", "protocol: rstp, root: h1", "stp", nil},
	} {
		in := input(t, strings.Replace(threeHosts, "root: h1, backup: h2", tc.tree, 1))
		in.Observed = map[string]plan.Observation{"h2": {State: plan.HostState{OVS: byHand("vxlan")}, Facts: plan.Facts{TreeRoot: tc.live}}}
		if diff := cmp.Diff(tc.want, makePlan(t, in).Warnings, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: %s", tc.name, diff)
		}
	}
}

// numbers are those of a bridge's ports in STP, by peer.
func numbers(o *plan.OVS) map[string]string {
	all := make(map[string]string)
	for _, p := range o.Ports {
		all[p.ExternalIDs[plan.PeerKey]] = p.OtherConfig["stp-port-num"]
	}
	return all
}

func TestAnAdoptedTunnelKeepsItsNumberInSTP(t *testing.T) {
	file := strings.Replace(threeHosts, "root: h1, backup: h2", "protocol: stp, root: h1", 1)
	ovs := byHand("vxlan")
	ovs.Ports[0].Number, ovs.Ports[1].Number = 3, 1
	in := input(t, file)
	in.Observed = map[string]plan.Observation{"h1": {State: plan.HostState{OVS: ovs}}}
	desired := makePlan(t, in).Hosts[0].Desired
	want := map[string]string{"h2": "3", "h3": "1"}
	if diff := cmp.Diff(want, numbers(desired.OVS)); diff != "" {
		t.Error(diff)
	}

	in = input(t, file+"  h4: {address: 192.0.2.14}\n  h5: {address: 192.0.2.15}\n")
	in.Observed = map[string]plan.Observation{"h1": {State: desired}}
	seen := make(map[string]string)
	for peer, number := range numbers(makePlan(t, in).Hosts[0].Desired.OVS) {
		if other := seen[number]; other != "" {
			t.Errorf("%s and %s have the number %s", peer, other, number)
		}
		seen[number] = peer
		if want[peer] != "" && want[peer] != number {
			t.Errorf("once adopted, %s has the number %s, and had %s", peer, number, want[peer])
		}
	}
}

func TestAnAdoptedTreeOfSTPStaysWhileItsBridgesChange(t *testing.T) {
	in := input(t, strings.Replace(threeHosts, "root: h1, backup: h2", "protocol: stp, root: h2, backup: h1", 1))
	in.Observed = map[string]plan.Observation{}
	for _, h := range []string{"h1", "h2", "h3"} {
		in.Observed[h] = plan.Observation{State: plan.HostState{OVS: &plan.OVS{Bridge: plan.Bridge{Name: "br0", STP: true}}}}
	}
	in.Observed["h1"] = plan.Observation{State: plan.HostState{OVS: byHand("vxlan")}}
	p := makePlan(t, in)
	for step, want := range []map[string]string{{"h2": "", "h3": "2000"}, {"h2": "2000", "h3": "2000"}} {
		got := make(map[string]string)
		for _, port := range p.Hosts[0].Steps()[step].OVS.Ports {
			got[port.ExternalIDs[plan.PeerKey]] = port.OtherConfig["stp-path-cost"]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("costs of h1 after step %d, where h2 is the root: %s", step, diff)
		}
	}
	got := make(map[string]string)
	for _, h := range p.Hosts {
		for _, state := range h.Steps() {
			got[h.Name] += " " + gocmp.Or(state.OVS.OtherConfig["stp-priority"], "none"+state.OVS.OtherConfig["stp-system-id"]+state.OVS.OtherConfig["hwaddr"])
		}
	}
	if diff := cmp.Diff(map[string]string{"h1": " none 8192", "h2": " 4096 4096", "h3": " none 32768"}, got); diff != "" {
		t.Error(diff)
	}
	known := awaited[plan.RootKnown](p, 1)
	if len(known) != 1 {
		t.Fatalf("before the second step: %v", p.Await(1))
	}
	root, know := known[0].Root, known[0].By
	if diff := cmp.Diff([]string{"h1", "h2", "h3"}, know); diff != "" || root.Name != "h2" || root.Priority != 4096 || root.MAC == [6]byte{} {
		t.Errorf("%+v is to be known to these first: %s", root, diff)
	}
}
