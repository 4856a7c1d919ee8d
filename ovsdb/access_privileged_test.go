//go:build privileged

package ovsdb

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/plan"
)

// withAccess is a trunk with the access bridges of networks, each joined to it by a
// pair of patch ports.
func withAccess(networks ...string) *plan.OVS {
	s := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
	s.LocalVLANs = []int{4095}
	for tag, network := range networks {
		patch := func(name, peer string) plan.Port {
			return plan.Port{
				Name: name, Type: "patch", OtherConfig: map[string]string{}, BFD: map[string]string{},
				Options:     map[string]string{"peer": peer},
				ExternalIDs: map[string]string{plan.OwnerKey: fabric, plan.NetworkKey: network},
			}
		}
		trunk, access := patch("patch-"+network, "trunk-"+network), patch("trunk-"+network, "patch-"+network)
		trunk.Tag = &tag
		trunk.OtherConfig = map[string]string{"rstp-port-admin-edge": "true", "rstp-port-num": "4095"}
		s.Patches = append(s.Patches, trunk)
		s.Access = append(s.Access, plan.Bridge{
			Name: "fab-" + network, DatapathType: "netdev", MTU: 1450, Ports: []plan.Port{}, Patches: []plan.Port{access},
			OtherConfig: map[string]string{"hwaddr": "02:fb:00:00:00:0" + string(rune('1'+tag))},
			ExternalIDs: map[string]string{plan.OwnerKey: fabric, plan.NetworkKey: network},
		})
	}
	return s
}

func TestAccessBridgesComeAndGoWithTheTrunkInOneTransaction(t *testing.T) {
	s := ovsdbtest.Start(t)
	empty := s.Dump()
	for _, want := range []*plan.OVS{withAccess("app", "db"), withAccess("app"), bridge(), withAccess("app", "db"), nil} {
		before := nextConfig(s)
		apply(t, s, want)
		again := nextConfig(s)
		if before == again {
			t.Fatal("nothing was written")
		}
		apply(t, s, want)
		if after := nextConfig(s); after != again {
			t.Errorf("a second apply wrote: next_cfg was %s and is %s", again, after)
		}
	}
	if diff := cmp.Diff(empty, s.Dump()); diff != "" {
		t.Errorf("something is left: %s", diff)
	}
}

// A frame to all that arrives on the trunk is flooded into each access bridge, also
// after the bridges were reconfigured. TestReleases has restarts.
func TestFramesToAllReachTheInternalPortOfAnAccessBridge(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, withAccess("app"))
	reaches := func(when string) {
		t.Helper()
		out := s.Appctl("ofproto/trace", "br0", "in_port=f-h2,dl_src=02:00:00:00:00:99,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x806")
		_, actions, _ := strings.Cut(out, "Datapath actions: ")
		if !slices.Contains(strings.Split(strings.TrimSpace(actions), ","), datapathPort(t, s, "fab-app")) {
			t.Errorf("%s: %s", when, out)
		}
	}
	s.Vsctl("set", "Interface", "f-h2", "bfd:enable=false") // nothing answers there
	s.Vsctl("wait-until", "Port", "f-h2", "rstp_status:rstp_port_state=Forwarding")
	s.Vsctl("wait-until", "Port", "patch-app", "rstp_status:rstp_port_state=Forwarding")
	reaches("at first")
	s.Vsctl("set", "Bridge", "br0", "other_config:theirs=1")
	reaches("after a reconfiguration")
}

// datapathPort is the number of a bridge's internal port in the datapath.
func datapathPort(t *testing.T, s *ovsdbtest.Switch, bridge string) string {
	t.Helper()
	shown := regexp.MustCompile(bridge + ` 65534/(\d+):`).FindStringSubmatch(s.Appctl("dpif/show"))
	if shown == nil {
		t.Fatalf("the datapath has no port %s", bridge)
	}
	return shown[1]
}

// Left to itself, Open vSwitch waits for three seconds before it takes a new port for
// an edge.
func TestAPatchPortForwardsAsSoonAsApplyReturns(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, bridge(tunnel("f-h2", "h2", "192.0.2.2")))
	s.Vsctl("wait-until", "Bridge", "br0", "rstp_status!={}") // the tree runs
	apply(t, s, withAccess("app"))
	const soon = time.Second
	start := time.Now()
	s.Vsctl("wait-until", "Port", "patch-app", "rstp_status:rstp_port_state=Forwarding")
	if took := time.Since(start); took > soon {
		t.Errorf("it took %s, want less than %s", took, soon)
	}
}

// Whatever somebody makes a member of a Linux bridge with it, no loop goes through
// the trunk's own port.
func TestTheTrunksOwnPortTakesNoFrame(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, withAccess("app"))
	out := s.Appctl("ofproto/trace", "br0", "in_port=LOCAL,dl_src=02:00:00:00:00:99,dl_dst=ff:ff:ff:ff:ff:ff,dl_type=0x806")
	if !strings.HasSuffix(strings.TrimSpace(out), "Datapath actions: drop") {
		t.Error(out)
	}
}

func TestWhatChangedOfAPatchPortIsPutRight(t *testing.T) {
	for name, change := range map[string][]string{
		"deleted":           {"del-port", "br0", "patch-app"},
		"deleted there":     {"del-port", "fab-app", "trunk-app"},
		"re-peered":         {"set", "Interface", "patch-app", "options:peer=elsewhere"},
		"another VLAN":      {"set", "Port", "patch-app", "tag=7"},
		"all VLANs":         {"clear", "Port", "patch-app", "tag"},
		"no edge":           {"remove", "Port", "patch-app", "other_config", "rstp-port-admin-edge"},
		"trunk's port open": {"clear", "Port", "br0", "trunks"},
		"a tree on it":      {"set", "Bridge", "fab-app", "stp_enable=true"}, // RSTP on both sides of a patch hangs Open vSwitch before 3.4
		"bridge deleted":    {"del-br", "fab-app"},
		"another address":   {"set", "Bridge", "fab-app", "other_config:hwaddr=02:00:00:00:00:55"},
	} {
		t.Run(name, func(t *testing.T) {
			s := ovsdbtest.Start(t)
			want := withAccess("app")
			apply(t, s, want)
			s.Vsctl(change...)
			o := observe(t, s, plan.Query{})
			if changes := plan.Diff(o.State, plan.HostState{OVS: want}); len(changes) == 0 || len(o.Obstacles) > 0 {
				t.Errorf("changes %v, obstacles %v", changes, o.Obstacles)
			}
			apply(t, s, want)
		})
	}
}

func TestAnAccessBridgeWhoseTrunkWasDeletedIsSeenAndCanBeHadAgain(t *testing.T) {
	s := ovsdbtest.Start(t)
	want := withAccess("app")
	apply(t, s, want)
	s.Vsctl("del-br", "br0")
	left := observe(t, s, plan.Query{}).State.OVS
	if left == nil || left.Name != "" || len(left.Access) != 1 {
		t.Fatalf("state %+v, want that of the access bridge alone", left)
	}
	apply(t, s, want)
	apply(t, s, left)
	apply(t, s, nil)
}

func TestWhatOthersHaveThatAnAccessBridgeNeedsIsInTheWay(t *testing.T) {
	q := plan.Query{Bridges: []string{"br0", "fab-app"}, Ports: []string{"vx-h2", "patch-app", "trunk-app"}}
	for want, others := range map[string][]string{
		"bridge fab-app exists and is not the fabric's (no ports)": {"add-br", "fab-app", "--", "set", "Bridge", "fab-app", "datapath_type=netdev"},
		`bridge fab-app exists and belongs to fabric "other", not to "demo" (no ports)`: {
			"add-br", "fab-app", "--", "set", "Bridge", "fab-app", "datapath_type=netdev", "external_ids:fabric=other", "external_ids:fabric-network=app"},
		"port patch-app of bridge theirs is not the fabric's, and has the name of one that is": {"add-port", "theirs", "patch-app", "--", "set", "Interface", "patch-app", "type=internal"},
		"port vx-h2 of bridge theirs is not the fabric's, and has the name of one that is":     {"add-port", "theirs", "vx-h2", "--", "set", "Interface", "vx-h2", "type=internal"},
		"port fab-app of bridge theirs is not the fabric's, and has the name of one that is":   {"add-port", "theirs", "fab-app", "--", "set", "Interface", "fab-app", "type=internal"},
		"port mine of bridge theirs is a patch to trunk-app, which is the fabric's": {
			"add-port", "theirs", "mine", "--", "set", "Interface", "mine", "type=patch", "options:peer=trunk-app"},
	} {
		t.Run(want, func(t *testing.T) {
			s := ovsdbtest.Start(t)
			s.Vsctl("add-br", "theirs", "--", "set", "Bridge", "theirs", "datapath_type=netdev")
			s.Vsctl(others...)
			o := observe(t, s, q)
			if diff := cmp.Diff([]string{want}, whats(o)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAnAccessBridgeThatSomebodyElseSteersIsInTheWay(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, withAccess("app"))
	flows := func(args ...string) { s.Exec(append([]string{"env", "OVS_RUNDIR=" + s.Dir, "ovs-ofctl"}, args...)...) }
	const restore = "echo priority=0,actions=NORMAL | OVS_RUNDIR=$0 ovs-ofctl replace-flows fab-app -"
	for _, tc := range []struct {
		want   string
		do, un func()
	}{
		{"bridge fab-app has an OpenFlow controller, which decides what it forwards",
			func() { s.Vsctl("set-controller", "fab-app", "tcp:127.0.0.1:6653") }, func() { s.Vsctl("del-controller", "fab-app") }},
		{"bridge fab-app has fail_mode secure, and so forwards nothing without a controller",
			func() { s.Vsctl("set-fail-mode", "fab-app", "secure") }, func() { s.Vsctl("del-fail-mode", "fab-app") }},
		{"bridge fab-app has OpenFlow flows of somebody else's, such as priority=7,udp,actions=drop",
			func() { flows("add-flow", "fab-app", "priority=7,udp,actions=drop") }, func() { s.Exec("sh", "-c", restore, s.Dir) }},
		{"bridge fab-app has OpenFlow flows of somebody else's, such as actions=drop",
			func() { flows("add-flow", "fab-app", "actions=drop") }, func() { s.Exec("sh", "-c", restore, s.Dir) }},
		{"bridge fab-app has no OpenFlow flow, and so forwards nothing: somebody deleted them",
			func() { flows("del-flows", "fab-app") }, func() { s.Exec("sh", "-c", restore, s.Dir) }},
	} {
		tc.do()
		o := observe(t, s, plan.Query{})
		if diff := cmp.Diff([]string{tc.want}, whats(o)); diff != "" {
			t.Error(diff)
		}
		if slices.ContainsFunc(o.Obstacles, func(o plan.Obstacle) bool { return o.Cure == "" }) {
			t.Errorf("%s: no cure", tc.want)
		}
		tc.un()
		if got := whats(observe(t, s, plan.Query{})); len(got) > 0 {
			t.Errorf("after the cure of %q there is %q", tc.want, got)
		}
	}
}

func TestAnAccessBridgeWithForeignPortsStaysAndTellsOfThem(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, withAccess("app"))
	s.Vsctl("add-port", "fab-app", "guest", "--", "set", "Interface", "guest", "type=internal")
	if diff := cmp.Diff([]string{"fab-app guest"}, observe(t, s, plan.Query{}).Facts.ForeignPorts); diff != "" {
		t.Error(diff)
	}
	before := s.Dump()
	err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{})
	if err == nil || !strings.Contains(err.Error(), "bridge fab-app has ports that are not the fabric's (guest)") {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(before, s.Dump()); diff != "" {
		t.Errorf("it was changed: %s", diff)
	}
}

func TestFlowsAreReadWithoutOpenVSwitchsOwn(t *testing.T) {
	got := parseFlows("duration=1s, n_packets=0, n_bytes=0, priority=7,tcp,actions=drop\n" +
		"duration=1s, n_packets=0, n_bytes=0, ,actions=drop\n" + // the default priority, 3.1.0
		"duration=1.5s, n_packets=0, n_bytes=0, udp,actions=drop\n" +
		"table_id=3, duration=1s, n_packets=0, n_bytes=0, priority=1,actions=NORMAL\n" +
		"table_id=254, duration=1s, n_packets=0, n_bytes=0, priority=2,recirc_id=0,actions=drop\n")
	if diff := cmp.Diff([]string{"priority=7,tcp,actions=drop", "actions=drop", "udp,actions=drop", "priority=1,actions=NORMAL"}, got); diff != "" {
		t.Error(diff)
	}
}
