//go:build privileged

package ovsdb

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"

	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/plan"
)

const fabric = "demo"

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func tunnel(name, peer, remote string) plan.Port {
	return plan.Port{
		Name:        name,
		Type:        "vxlan",
		OtherConfig: map[string]string{"rstp-path-cost": "2000", "rstp-port-num": "1"},
		ExternalIDs: map[string]string{plan.OwnerKey: fabric, plan.PeerKey: peer},
		Options:     map[string]string{"remote_ip": remote, "key": "1", "dst_port": "4789"},
		BFD:         map[string]string{"enable": "true", "min_rx": "100", "min_tx": "100"},
	}
}

func bridge(ports ...plan.Port) *plan.OVS {
	return &plan.OVS{Bridge: plan.Bridge{
		Name:         plan.BridgeName,
		DatapathType: "netdev",
		RSTP:         true,
		OtherConfig:  map[string]string{"rstp-address": "02:00:00:00:00:01", "rstp-priority": "4096", "hwaddr": "02:00:00:00:00:01"},
		ExternalIDs:  map[string]string{plan.OwnerKey: fabric},
		MTU:          1450,
		Ports:        append([]plan.Port{}, ports...),
	}}
}

func observe(t *testing.T, s *ovsdbtest.Switch, q plan.Query) plan.Observation {
	t.Helper()
	q.Fabric = fabric
	var o plan.Observation
	if err := New(s.Endpoint, fabric).Observe(deadline(t), q, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func apply(t *testing.T, s *ovsdbtest.Switch, want *plan.OVS) {
	t.Helper()
	if err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{OVS: want}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, observe(t, s, plan.Query{}).State.OVS); diff != "" {
		t.Fatalf("observed after apply (-want +got):\n%s", diff)
	}
}

func nextConfig(s *ovsdbtest.Switch) string {
	return strings.TrimSpace(s.Vsctl("get", "Open_vSwitch", ".", "next_cfg"))
}

func TestApplyCreatesBridge(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, bridge(tunnel("f-h2", "h2", "192.0.2.2"), tunnel("f-h3", "h3", "192.0.2.3")))

	if got := s.Appctl("dpif/show"); !strings.Contains(got, "f-h2") || !strings.Contains(got, "(vxlan: key=1, remote_ip=192.0.2.2)") {
		t.Errorf("ovs-vswitchd does not have the tunnel:\n%s", got)
	}
	if got := s.Appctl("rstp/show", "br0"); !strings.Contains(got, "02:00:00:00:00:01") {
		t.Errorf("ovs-vswitchd does not have the tree:\n%s", got)
	}
	if got := s.Exec("ip", "link", "show", "br0"); !strings.Contains(got, "mtu 1450") || !strings.Contains(got, "02:00:00:00:00:01") {
		t.Errorf("br0 has another MTU or address:\n%s", got)
	}
}

func TestApplyTwiceWritesOnce(t *testing.T) {
	s := ovsdbtest.Start(t)
	want := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
	apply(t, s, want)
	before := nextConfig(s)
	apply(t, s, want)
	if after := nextConfig(s); after != before {
		t.Errorf("next_cfg was %s and is %s", before, after)
	}
}

func TestApplyChanges(t *testing.T) {
	h2, h3 := tunnel("f-h2", "h2", "192.0.2.2"), tunnel("f-h3", "h3", "192.0.2.3")
	for _, test := range []struct {
		name   string
		change func(o *plan.OVS)
	}{
		{"option", func(o *plan.OVS) { o.Ports[0].Options["csum"] = "true" }},
		{"option taken away", func(o *plan.OVS) { delete(o.Ports[0].Options, "dst_port") }},
		{"BFD off", func(o *plan.OVS) { o.Ports[0].BFD = map[string]string{} }},
		{"path cost", func(o *plan.OVS) { o.Ports[0].OtherConfig["rstp-path-cost"] = "5" }},
		{"peer", func(o *plan.OVS) { o.Ports[0].ExternalIDs[plan.PeerKey] = "other" }},
		{"type", func(o *plan.OVS) {
			o.Ports[0].Type, o.Ports[0].Options = "gre", map[string]string{"remote_ip": "192.0.2.2"}
		}},
		{"port added", func(o *plan.OVS) { o.Ports = append(o.Ports, tunnel("f-h4", "h4", "192.0.2.4")) }},
		{"port removed", func(o *plan.OVS) { o.Ports = o.Ports[1:] }},
		// ovs-vswitchd refuses this at its first attempt.
		{"port renamed", func(o *plan.OVS) { o.Ports[1].Name = "f-h9" }},
		{"protocol", func(o *plan.OVS) {
			o.RSTP, o.STP = false, true
			o.OtherConfig = map[string]string{"stp-priority": "4096", "stp-system-id": "02:00:00:00:00:01"}
		}},
		{"no tree", func(o *plan.OVS) { o.RSTP = false }},
		{"root priority", func(o *plan.OVS) { o.OtherConfig["rstp-priority"] = "0" }},
		{"MTU", func(o *plan.OVS) { o.MTU = 1400 }},
		{"no MTU", func(o *plan.OVS) { o.MTU = 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := ovsdbtest.Start(t)
			want := bridge(clone(h2), clone(h3))
			apply(t, s, want)
			test.change(want)
			apply(t, s, want)
			apply(t, s, bridge(clone(h2), clone(h3)))
		})
	}
}

func clone(p plan.Port) plan.Port {
	p.OtherConfig, p.ExternalIDs = maps.Clone(p.OtherConfig), maps.Clone(p.ExternalIDs)
	p.Options, p.BFD = maps.Clone(p.Options), maps.Clone(p.BFD)
	return p
}

func TestApplyKeepsForeignKeysAndRows(t *testing.T) {
	s := ovsdbtest.Start(t)
	want := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
	apply(t, s, want)
	s.Vsctl("set", "Bridge", "br0", "other_config:mac-table-size=5000", "external_ids:note=mine",
		"--", "set", "Port", "f-h2", "other_config:priority-tags=never", "external_ids:note=mine",
		"--", "add-port", "br0", "veth9", "--", "set", "Interface", "veth9", "type=internal",
		"--", "add-br", "br9", "--", "set", "Bridge", "br9", "datapath_type=netdev")

	want.OtherConfig["rstp-priority"] = "8192"
	delete(want.OtherConfig, "hwaddr")
	want.Ports[0].OtherConfig["rstp-path-cost"] = "7"
	want.Ports = append(want.Ports, tunnel("f-h3", "h3", "192.0.2.3"))
	apply(t, s, want)

	for _, get := range []struct{ table, row, column, want string }{
		{"Bridge", "br0", "other_config:mac-table-size", `"5000"`},
		{"Bridge", "br0", "external_ids:note", "mine"},
		{"Port", "f-h2", "other_config:priority-tags", "never"},
		{"Port", "f-h2", "external_ids:note", "mine"},
	} {
		if got := strings.TrimSpace(s.Vsctl("get", get.table, get.row, get.column)); got != get.want {
			t.Errorf("%s %s %s is %s, want %s", get.table, get.row, get.column, got, get.want)
		}
	}
	if got := strings.Fields(s.Vsctl("list-ports", "br0")); !slices.Contains(got, "veth9") {
		t.Errorf("ports of br0: %v, without the foreign veth9", got)
	}
	if got := observe(t, s, plan.Query{}).Facts.NetdevBridges; !slices.Equal(got, []string{"br9"}) {
		t.Errorf("userspace bridges: %v", got)
	}
}

func TestApplyRefusesForeignBridge(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
	before := s.Dump()
	err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{OVS: bridge()})
	if err == nil || !strings.Contains(err.Error(), "bridge br0 exists and is not the fabric's") {
		t.Errorf("error: %v", err)
	}
	if err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{}); err != nil {
		t.Errorf("taking away what is not there: %v", err)
	}
	if diff := cmp.Diff(before, s.Dump()); diff != "" {
		t.Errorf("the database changed (-before +after):\n%s", diff)
	}
}

func TestApplyLeavesOtherFabric(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, bridge(tunnel("f-h2", "h2", "192.0.2.2")))
	before := s.Dump()
	if err := New(s.Endpoint, "other").Apply(deadline(t), plan.HostState{}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(before, s.Dump()); diff != "" {
		t.Errorf("the database changed (-before +after):\n%s", diff)
	}
}

func TestApplyRefusesForeignPortOfWantedName(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("add-br", "br9", "--", "set", "Bridge", "br9", "datapath_type=netdev",
		"--", "add-port", "br9", "f-h2", "--", "set", "Interface", "f-h2", "type=internal")
	err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{OVS: bridge(tunnel("f-h2", "h2", "192.0.2.2"))})
	if err == nil || !strings.Contains(err.Error(), "port f-h2 exists on bridge br9 and is not the fabric's") {
		t.Errorf("error: %v", err)
	}
}

func TestConcurrentChangeFailsTheTransaction(t *testing.T) {
	want := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
	changed := bridge(tunnel("f-h2", "h2", "192.0.2.2"), tunnel("f-h3", "h3", "192.0.2.3"))
	for _, test := range []struct {
		name       string
		have, want *plan.OVS
		meanwhile  []string
	}{
		{"bridge created", nil, want, []string{"add-br", "br0"}},
		{"bridge deleted", want, changed, []string{"del-br", "br0"}},
		{"mark taken off", want, changed, []string{"remove", "Bridge", "br0", "external_ids", plan.OwnerKey}},
		{"port added", want, nil, []string{"add-port", "br0", "p9", "--", "set", "Interface", "p9", "type=internal"}},
		{"option changed", want, changed, []string{"set", "Interface", "f-h2", "options:key=9"}},
		{"MTU changed", want, changed, []string{"set", "Interface", "br0", "mtu_request=1300"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := ovsdbtest.StartDatabase(t)
			ctx := deadline(t)
			c, err := dial(ctx, s.Endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer c.close()
			commit := func(want *plan.OVS, meanwhile ...string) error {
				have, err := c.read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				operations, err := operations(have, fabric, want)
				if err != nil {
					t.Fatal(err)
				}
				if len(meanwhile) > 0 {
					s.Vsctl(meanwhile...)
				}
				_, err = c.commit(ctx, have.root.UUID, operations)
				return err
			}
			if test.have != nil {
				if err := commit(test.have); err != nil {
					t.Fatal(err)
				}
			}
			if timedOut := (*ovsdb.TimedOut)(nil); !errors.As(commit(test.want, test.meanwhile...), &timedOut) {
				t.Error("no wait failed")
			}
		})
	}
}

func TestApplyReportsWhatTheSwitchCannotDo(t *testing.T) {
	twice := bridge(tunnel("f-h2", "h2", "192.0.2.2"), tunnel("f-h3", "h3", "192.0.2.2"))
	kernel := bridge()
	kernel.DatapathType = "nonsense"
	for _, test := range []struct {
		name string
		ovs  *plan.OVS
		want string
	}{
		{"same tunnel twice", twice, "File exists"},
		{"datapath", kernel, `bridge br0 on datapath type "nonsense": `},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := ovsdbtest.Start(t)
			r := New(s.Endpoint, fabric)
			for range 2 { // the second has nothing to write
				err := r.Apply(deadline(t), plan.HostState{OVS: test.ovs})
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error: %v, want %q in it", err, test.want)
				}
			}
		})
	}
}

func TestApplyWaitsForTheSwitch(t *testing.T) {
	s := ovsdbtest.Start(t)
	defer s.FreezeDaemon()()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := New(s.Endpoint, fabric).Apply(ctx, plan.HostState{OVS: bridge()})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "ovs-vswitchd") {
		t.Errorf("error: %v", err)
	}
}

func TestApplyWithoutSwitchWritesAndFails(t *testing.T) {
	s := ovsdbtest.StartDatabase(t)
	want := bridge()
	err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{OVS: want})
	if err == nil || !strings.Contains(err.Error(), "ovs-vswitchd is not running") {
		t.Errorf("error: %v", err)
	}
	if diff := cmp.Diff(want, observe(t, s, plan.Query{}).State.OVS); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRemovalLeavesTheDatabaseAsItWas(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("add-br", "br9", "--", "set", "Bridge", "br9", "datapath_type=netdev")
	before := s.Dump()
	apply(t, s, bridge(tunnel("f-h2", "h2", "192.0.2.2"), tunnel("f-h3", "h3", "192.0.2.3")))
	apply(t, s, nil)
	if diff := cmp.Diff(before, s.Dump()); diff != "" {
		t.Errorf("(-before +after):\n%s", diff)
	}
	if got := s.Exec("ip", "-brief", "link"); strings.Contains(got, "br0") {
		t.Errorf("br0 is still there:\n%s", got)
	}
}

func TestRemovalRefusesForeignPorts(t *testing.T) {
	s := ovsdbtest.Start(t)
	apply(t, s, bridge(tunnel("f-h2", "h2", "192.0.2.2")))
	s.Vsctl("add-port", "br0", "p9", "--", "set", "Interface", "p9", "type=internal")
	err := New(s.Endpoint, fabric).Apply(deadline(t), plan.HostState{})
	if err == nil || !strings.Contains(err.Error(), "(p9)") {
		t.Errorf("error: %v", err)
	}
}
