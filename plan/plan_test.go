package plan_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

const threeHosts = `
version: 1
name: demo
network: 172.17.0.0/16
graph: {strategy: mesh}
tree: {root: h1, backup: h2}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
`

var equateNetip = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// input is what a fabric file gives with a fresh lock.
func input(t testing.TB, file string) plan.Input {
	t.Helper()
	return inputAfter(t, ipam.Lock{}, file)
}

// inputAfter is what a fabric file gives with the lock of what it was before.
func inputAfter(t testing.TB, before ipam.Lock, file string) plan.Input {
	t.Helper()
	topo, _, err := topology.Parse("fabric.yaml", []byte(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	var wants []ipam.Want
	for _, h := range topo.Hosts {
		wants = append(wants, ipam.Want{Name: h.Name, Weight: h.Weight, Pin: h.Range, SSH: h.Address.String()})
	}
	lock, err := ipam.Assign(topo.Network, before, wants)
	if err != nil {
		t.Fatal(err)
	}
	return plan.Input{Topology: topo, Lock: lock}
}

func makePlan(t testing.TB, in plan.Input) *plan.Plan {
	t.Helper()
	p, err := plan.New(in)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheBridgeOfAHost(t *testing.T) {
	p := makePlan(t, input(t, threeHosts))
	untagged := 0
	want := &plan.OVS{Bridge: plan.Bridge{
		Name: "br0", DatapathType: "system", RSTP: true, MTU: 1450, LocalVLANs: []int{4095},
		OtherConfig: map[string]string{
			"hwaddr": "02:fa:2a:97:00:02", "rstp-address": "02:fa:2a:97:00:02", "rstp-priority": "8192", "rstp-max-age": "6",
		},
		ExternalIDs: map[string]string{"fabric": "demo"},
		Ports: []plan.Port{
			{
				Name: "vx-h1", Type: "vxlan",
				OtherConfig: map[string]string{"rstp-port-num": "1", "rstp-path-cost": "2000"},
				ExternalIDs: map[string]string{"fabric": "demo", "fabric-peer": "h1"},
				Options:     map[string]string{"remote_ip": "192.0.2.11", "key": "1", "dst_port": "4789"},
				BFD:         map[string]string{"enable": "true", "min_rx": "100", "min_tx": "100"},
			},
			{
				Name: "vx-h3", Type: "vxlan",
				OtherConfig: map[string]string{"rstp-port-num": "3", "rstp-path-cost": "2000"},
				ExternalIDs: map[string]string{"fabric": "demo", "fabric-peer": "h3"},
				Options:     map[string]string{"remote_ip": "192.0.2.13", "key": "1", "dst_port": "4789"},
				BFD:         map[string]string{"enable": "true", "min_rx": "100", "min_tx": "100"},
			},
		},
		Patches: []plan.Port{{
			Name: "patch-default", Type: "patch", Tag: &untagged,
			OtherConfig: map[string]string{"rstp-port-num": "4095", "rstp-port-admin-edge": "true"},
			ExternalIDs: map[string]string{"fabric": "demo", "fabric-network": "default"},
			Options:     map[string]string{"peer": "trunk-default"},
			BFD:         map[string]string{},
		}},
	}, Access: []plan.Bridge{{
		Name: "fab-default", DatapathType: "system", MTU: 1450,
		OtherConfig: map[string]string{"hwaddr": "02:fb:2a:37:00:02"},
		ExternalIDs: map[string]string{"fabric": "demo", "fabric-network": "default"},
		Ports:       []plan.Port{},
		Patches: []plan.Port{{
			Name: "trunk-default", Type: "patch",
			OtherConfig: map[string]string{},
			ExternalIDs: map[string]string{"fabric": "demo", "fabric-network": "default"},
			Options:     map[string]string{"peer": "patch-default"},
			BFD:         map[string]string{},
		}},
	}}}
	if diff := cmp.Diff(want, p.Hosts[1].Desired.OVS); diff != "" {
		t.Error(diff)
	}
}

func TestTheSeedsRecipe(t *testing.T) {
	file := strings.Replace(threeHosts, "tree: {", "tunnel: {type: gre}\ntree: {protocol: stp, ", 1)
	p := makePlan(t, input(t, file))
	if p.MTU.Value != 1462 {
		t.Errorf("MTU %d, want 1462: keyless GRE over IPv4 takes 38 bytes", p.MTU.Value)
	}
	want := plan.Port{
		Name: "gre-h2", Type: "gre",
		OtherConfig: map[string]string{"stp-port-num": "2", "stp-path-cost": "2000"},
		ExternalIDs: map[string]string{"fabric": "demo", "fabric-peer": "h2"},
		Options:     map[string]string{"remote_ip": "192.0.2.12"},
		BFD:         map[string]string{},
	}
	if diff := cmp.Diff(want, p.Hosts[0].Desired.OVS.Ports[0]); diff != "" {
		t.Error(diff)
	}
}

func TestDockerOnTheStockBridgeIsToldByBIP(t *testing.T) {
	p := makePlan(t, input(t, threeHosts))
	want := plan.DockerConfig{BIP: "172.17.64.1/16", FixedCIDR: "172.17.64.0/18", MTU: 1450}
	if diff := cmp.Diff(want, p.Hosts[1].Desired.Docker.Config); diff != "" {
		t.Error(diff)
	}
}

func TestDockerOnAnotherBridgeIsToldByItsName(t *testing.T) {
	p := makePlan(t, input(t, threeHosts+"docker: {bridge: fabric0}\n"))
	want := plan.DockerConfig{Bridge: "fabric0", FixedCIDR: "172.17.64.0/18", MTU: 1450}
	if diff := cmp.Diff(want, p.Hosts[1].Desired.Docker.Config); diff != "" {
		t.Error(diff)
	}
}

func TestTheTreeIsPredicted(t *testing.T) {
	p := makePlan(t, input(t, threeHosts))
	if p.Tree.Root != "h1" {
		t.Errorf("root %s, want h1", p.Tree.Root)
	}
	blocked := p.Tree.Blocked()
	if len(blocked) != 1 || blocked[0].A != "h2" || blocked[0].B != "h3" {
		t.Errorf("blocked %v, want h2–h3", blocked)
	}
}

func TestTheSmallestUnderlayMTUDecides(t *testing.T) {
	in := input(t, threeHosts)
	path := func(peer string, mtu int) plan.Observation {
		return plan.Observation{Facts: plan.Facts{
			DatapathTypes: []string{"netdev", "system"},
			Underlay:      []plan.Path{{Peer: netip.MustParseAddr(peer), Device: "eth0", MTU: mtu}},
		}}
	}
	in.Observed = map[string]plan.Observation{
		"h1": path("192.0.2.12", 9000), "h2": path("192.0.2.13", 1400), "h3": path("192.0.2.11", 1500),
	}
	p := makePlan(t, in)
	want := plan.MTU{Value: 1350, Underlay: 1400, Overhead: 50, Tunnel: "VXLAN", Why: "1400 (eth0 on h2 towards h3) less 50 for VXLAN over IPv4"}
	if diff := cmp.Diff(want, p.MTU); diff != "" {
		t.Error(diff)
	}
}

func TestAnMTUTooSmallForIPIsAnError(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{
		Underlay: []plan.Path{{Peer: netip.MustParseAddr("192.0.2.12"), Device: "eth0", MTU: 600}},
	}}}
	if _, err := plan.New(in); err == nil || !strings.Contains(err.Error(), "550") {
		t.Fatalf("error: %v", err)
	}
}

func TestDatapathAutoTakesWhatTheHostHas(t *testing.T) {
	for _, tc := range []struct {
		types []string
		want  string
	}{
		{[]string{"netdev", "system"}, "system"},
		{[]string{"netdev"}, "netdev"},
	} {
		in := input(t, threeHosts)
		in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{DatapathTypes: tc.types}}}
		if got := makePlan(t, in).Hosts[0].Desired.OVS.DatapathType; got != tc.want {
			t.Errorf("%v: %s, want %s", tc.types, got, tc.want)
		}
	}
}

func TestTheUserspaceDatapathNeedsABridgeUnderTheTunnels(t *testing.T) {
	in := input(t, threeHosts)
	facts := plan.Facts{
		DatapathTypes: []string{"netdev"},
		Underlay:      []plan.Path{{Peer: netip.MustParseAddr("192.0.2.12"), Device: "eth0", MTU: 1500}},
	}
	in.Observed = map[string]plan.Observation{"h1": {Facts: facts}}
	got := makePlan(t, in).Hosts[0].Obstacles
	if len(got) != 1 || !strings.Contains(got[0].What, "eth0") {
		t.Errorf("obstacles %v, want one that names eth0", got)
	}
	facts.NetdevBridges = []string{"eth0"}
	in.Observed = map[string]plan.Observation{"h1": {Facts: facts}}
	if got := makePlan(t, in).Hosts[0].Obstacles; len(got) > 0 {
		t.Errorf("obstacles %v, want none", got)
	}
}

func TestWithoutTheKernelsDatapathTheCureIsTheKernels(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{
		DatapathTypes: []string{"netdev"},
		KernelLacks:   []plan.Obstacle{{What: "openvswitch is not installed", Cure: "apt-get install it"}},
		Underlay:      []plan.Path{{Peer: netip.MustParseAddr("192.0.2.12"), Device: "eth0", MTU: 1500}},
	}}}
	got := makePlan(t, in).Hosts[0].Obstacles
	if len(got) != 1 || !strings.Contains(got[0].What, "openvswitch is not installed") || !strings.Contains(got[0].Cure, "apt-get install it; or put") {
		t.Errorf("obstacles %v, want one that names the module and its package", got)
	}
}

func TestWhatTheKernelsDatapathLacksIsAnObstacleToIt(t *testing.T) {
	lacks := []plan.Obstacle{{What: "vxlan is blacklisted", Cure: "take that out"}}
	orAuto := []plan.Obstacle{{What: "vxlan is blacklisted", Cure: "take that out; or set datapath: auto"}}
	for _, tc := range []struct {
		datapath string
		types    []string
		want     []plan.Obstacle
	}{
		{"system", []string{"netdev"}, orAuto},
		{"auto", []string{"netdev", "system"}, lacks},
		{"auto", []string{}, lacks},
		{"netdev", []string{"netdev", "system"}, nil},
	} {
		in := input(t, threeHosts+"datapath: "+tc.datapath+"\n")
		in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{DatapathTypes: tc.types, KernelLacks: lacks}}}
		if diff := cmp.Diff(tc.want, makePlan(t, in).Hosts[0].Obstacles); diff != "" {
			t.Errorf("%s of %v (-want +got):\n%s", tc.datapath, tc.types, diff)
		}
	}
}

func TestAnOpenvSwitchBuiltWithoutADatapathIsAnObstacle(t *testing.T) {
	in := input(t, threeHosts+"datapath: system\n")
	in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{DatapathTypes: []string{"netdev"}}}}
	got := makePlan(t, in).Hosts[0].Obstacles
	if len(got) != 1 || !strings.Contains(got[0].Cure, "datapath: auto") {
		t.Errorf("obstacles %v", got)
	}
}

func TestAnApplyThatWasCutOffIsTold(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h2": {Facts: plan.Facts{Interrupted: true}}}
	want := []string{"h2: an apply was cut off here, so it may look half done; fabric apply takes it back first"}
	if diff := cmp.Diff(want, makePlan(t, in).Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsInTheWayOfTakingTheFabricAway(t *testing.T) {
	unreadable := plan.Obstacle{What: "daemon.json cannot be read", Always: true}
	unseen := plan.Obstacle{What: "Open vSwitch does not answer", Blind: true}
	in := input(t, threeHosts)
	observed := map[string]plan.Observation{"h1": {
		State:     makePlan(t, in).Hosts[0].Desired,
		Obstacles: []plan.Obstacle{{What: "a route overlaps"}, unreadable, unseen},
	}, "h2": {
		Obstacles: []plan.Obstacle{unseen},
	}}
	p := plan.Teardown("demo", in.Topology.Network, observed, nil, []string{"h1", "h2"})
	if diff := cmp.Diff([]plan.Obstacle{unreadable, unseen}, p.Hosts[0].Obstacles); diff != "" {
		t.Error(diff)
	}
	if in := p.Hosts[1].Obstacles; len(in) > 0 {
		t.Errorf("of a host that has nothing of a fabric: %v", in)
	}
}

func TestAHostThatIsAsWantedHasNothingToDo(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = make(map[string]plan.Observation)
	for _, h := range makePlan(t, in).Hosts {
		in.Observed[h.Name] = plan.Observation{State: h.Desired}
	}
	p := makePlan(t, in)
	if !p.Empty() {
		t.Errorf("changes: %v", p.Hosts[0].Changes)
	}
}

func TestARemovedHostLosesEverything(t *testing.T) {
	in := input(t, threeHosts)
	state := makePlan(t, in).Hosts[2].Desired
	i := slices.IndexFunc(in.Lock.Hosts, func(e ipam.Entry) bool { return e.Name == "h3" })
	in.Lock.Removed = append(in.Lock.Removed, in.Lock.Hosts[i])
	in.Lock.Hosts = slices.Delete(in.Lock.Hosts, i, i+1)
	in.Topology.Hosts = in.Topology.Hosts[:2]
	in.Observed = map[string]plan.Observation{"h3": {State: state}}
	p := makePlan(t, in)
	last := p.Hosts[len(p.Hosts)-1]
	if last.Name != "h3" || !last.Removed {
		t.Fatalf("last host %+v, want h3, removed", last)
	}
	for _, c := range last.Changes {
		if c.Op != plan.Remove {
			t.Errorf("%s", c)
		}
	}
	if after := plan.Diff(plan.HostState{}, last.Desired); len(after) > 0 {
		t.Errorf("h3 keeps %v", after)
	}
}

func TestAnotherTunnelTypeGetsPortsOfOtherNames(t *testing.T) {
	in := input(t, threeHosts)
	before := makePlan(t, in).Hosts[0].Desired
	after := makePlan(t, input(t, threeHosts+"tunnel: {type: gre}\n")).Hosts[0].Desired
	var ops []string
	for _, c := range plan.Diff(before, after) {
		if strings.HasPrefix(c.Object, "port ") {
			ops = append(ops, string(c.Op)+" "+c.Object)
		}
	}
	want := []string{"+ port gre-h2", "+ port gre-h3", "- port vx-h2", "- port vx-h3"}
	if diff := cmp.Diff(want, ops); diff != "" {
		t.Error(diff)
	}
}

func TestDockersOwnBridgeIsNotTheFabricsToRemove(t *testing.T) {
	stock := plan.HostState{Links: &plan.Links{Name: "docker0", MTU: 1500}}
	if changes := plan.Diff(stock, plan.HostState{}); len(changes) > 0 {
		t.Errorf("changes: %v", changes)
	}
}

func TestTheImpactCountsTheContainersOnTheBridge(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = map[string]plan.Observation{"h1": {Facts: plan.Facts{Containers: []plan.Container{
		{Name: "a", OnBridge: true}, {Name: "b", OnBridge: true}, {Name: "c", AutoRemove: true},
	}}}}
	want := []string{
		"dockerd restarts: 3 running containers lose their network while they are stopped and started again",
		"2 of them on the default bridge may get another address, out of the host's range",
		"started with --rm, and so deleted when stopped: c",
	}
	if diff := cmp.Diff(want, makePlan(t, in).Hosts[0].Impact); diff != "" {
		t.Error(diff)
	}
}

func TestAChangePrintsBeforeAndAfter(t *testing.T) {
	for _, tc := range []struct {
		change plan.Change
		want   string
	}{
		{plan.Change{Op: plan.Modify, Object: "link docker0", Attrs: []plan.Attr{{Name: "member", After: "br0"}, {Name: "mtu", Before: "1500", After: "1450"}}}, "~ link docker0: member (none) → br0, mtu 1500 → 1450"},
		{plan.Change{Op: plan.Add, Object: "port vx-h2", Attrs: []plan.Attr{{Name: "type", After: "vxlan"}}}, "+ port vx-h2: type vxlan"},
		{plan.Change{Op: plan.Remove, Object: "port vx-h2", Attrs: []plan.Attr{{Name: "type", Before: "vxlan"}}}, "- port vx-h2: type vxlan"},
	} {
		if got := tc.change.String(); got != tc.want {
			t.Errorf("got  %s\nwant %s", got, tc.want)
		}
	}
}

func TestTheSameInputGivesTheSameBytes(t *testing.T) {
	first, err := json.Marshal(makePlan(t, input(t, threeHosts)))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		again, err := json.Marshal(makePlan(t, input(t, threeHosts)))
		if err != nil {
			t.Fatal(err)
		}
		if string(first) != string(again) {
			t.Fatalf("%s\n%s", first, again)
		}
	}
}

func TestAPlanSurvivesJSON(t *testing.T) {
	want := makePlan(t, input(t, threeHosts)).Hosts
	data, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got []plan.Host
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestPortNamesFitAnInterface(t *testing.T) {
	file := strings.ReplaceAll(threeHosts, "h3:", "a-host-with-a-name-as-long-as-dns-allows-one-label-to-be:")
	file = strings.ReplaceAll(file, "h2:", "a-host-with-a-name-as-long-as-dns-allows-one-label-to-me:")
	file = strings.Replace(file, "tree: {root: h1, backup: h2}\n", "", 1)
	for _, h := range makePlan(t, input(t, file)).Hosts {
		names := make(map[string]bool)
		for _, p := range h.Desired.OVS.Ports {
			if len(p.Name) > 15 || names[p.Name] {
				t.Errorf("%s: port %q is too long or there twice", h.Name, p.Name)
			}
			names[p.Name] = true
		}
	}
}

func TestDockerRestartsOnlyForADifference(t *testing.T) {
	docker := func(mtu int) *plan.Docker { return &plan.Docker{Live: plan.DockerLive{MTU: mtu}} }
	for _, tc := range []struct {
		name           string
		observed, want *plan.Docker
		restarts       bool
	}{
		{"never the fabric's", nil, nil, false},
		{"new", nil, docker(1450), true},
		{"removed", docker(1450), nil, true},
		{"as wanted", docker(1450), docker(1450), false},
		{"dockerd runs otherwise", docker(1500), docker(1450), true},
	} {
		if got := plan.RestartsDocker(tc.observed, tc.want); got != tc.restarts {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.restarts)
		}
	}
}

func TestAHostIsAskedForTheWaysToItsPeers(t *testing.T) {
	file := strings.Replace(threeHosts, "mesh", "explicit", 1) + "links:\n  - {between: [h1, h2]}\n  - {between: [h2, h3]}\n"
	topo, graph, err := topology.Parse("fabric.yaml", []byte(file), nil)
	if err != nil {
		t.Fatal(err)
	}
	query := plan.Queries(topo, graph)
	got := make(map[string][]netip.Addr)
	for _, host := range []string{"h1", "h2", "h3", "removed"} {
		got[host] = query(host).Peers
	}
	h1, h2, h3 := netip.MustParseAddr("192.0.2.11"), netip.MustParseAddr("192.0.2.12"), netip.MustParseAddr("192.0.2.13")
	want := map[string][]netip.Addr{"h1": {h2}, "h2": {h1, h3}, "h3": {h2}, "removed": nil}
	if diff := cmp.Diff(want, got, equateNetip); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]netip.Addr{h1, h2, h3}, query("removed").Members, equateNetip); diff != "" {
		t.Errorf("members: %s", diff)
	}
}

func TestNewsOfTheRootLivesForTwiceTheDepthOfTheTree(t *testing.T) {
	hosts := ""
	for i := range 7 {
		hosts += fmt.Sprintf("  h%d: {address: 192.0.2.%d}\n", i+1, i+11)
	}
	for strategy, want := range map[string]string{"mesh": "6", "hub": "6", "ring": "20"} {
		file := "version: 1\nname: demo\nnetwork: 172.17.0.0/16\ngraph: {strategy: " + strategy + "}\nhosts:\n" + hosts
		if got := makePlan(t, input(t, file)).Hosts[3].Desired.OVS.OtherConfig["rstp-max-age"]; got != want {
			t.Errorf("%s: rstp-max-age %s, want %s", strategy, got, want)
		}
	}
}
