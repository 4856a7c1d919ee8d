//go:build privileged

package ovsdb

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/topology"
)

func TestForgetEmptiesTheTableOfAddresses(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "--", "add-port", "br0", "p1", "--", "set", "interface", "p1", "type=internal")
	const mac = "02:00:00:00:00:77"
	s.Appctl("ofproto/trace", "br0", "in_port=p1,dl_src="+mac+",dl_dst=02:00:00:00:00:78", "-generate")
	if table := s.Appctl("fdb/show", "br0"); !strings.Contains(table, mac) {
		t.Fatalf("the address was not learned:\n%s", table)
	}
	if err := New(s.Endpoint, "demo").Forget(t.Context()); err != nil {
		t.Fatal(err)
	}
	if table := s.Appctl("fdb/show", "br0"); strings.Contains(table, mac) {
		t.Errorf("the address is still there:\n%s", table)
	}
}

func TestForgetSaysWhatKeepsItFromIt(t *testing.T) {
	s := ovsdbtest.Start(t)
	if err := New(s.Endpoint, "demo").Forget(t.Context()); err == nil || !strings.Contains(err.Error(), "no such bridge") {
		t.Errorf("error %v", err)
	}
}

// Open vSwitch acts on a priority at its next tick, up to a second later.
func TestTheTreeMovesBeforeApplyReturns(t *testing.T) {
	s := ovsdbtest.Start(t)
	want := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
	apply(t, s, want)
	s.Appctl("vlog/set", "rstp:file:dbg", "rstp_sm:file:dbg")
	want.OtherConfig["rstp-priority"] = "8192"
	apply(t, s, want)

	log, err := os.ReadFile(filepath.Join(s.Dir, "ovs-vswitchd.log"))
	if err != nil {
		t.Fatal(err)
	}
	_, since, found := strings.Cut(string(log), "br0: new bridge identifier: 2.")
	if !found || !strings.Contains(since, "br0: move_rstp()") {
		t.Errorf("the log of ovs-vswitchd:\n%s", log)
	}
}

// The key that holds a port is in Open vSwitch's source and not in its manual.
func TestABridgeGoesRoundAPortThatIsHeld(t *testing.T) {
	s := ovsdbtest.Start(t)
	g := &drawn{protocol: topology.RSTP, bridges: []topology.Bridge{
		{Name: "g00b00", Priority: 0, MAC: [6]byte{2, 0, 0, 0, 0, 1}},
		{Name: "g00b01", Priority: 4096, MAC: [6]byte{2, 0, 0, 0, 0, 2}},
		{Name: "g00b02", Priority: 8192, MAC: [6]byte{2, 0, 0, 0, 0, 3}},
	}}
	for _, e := range [][2]int{{0, 1}, {0, 2}, {1, 2}} {
		g.edges = append(g.edges, topology.Edge{
			A: g.bridges[e[0]].Name, CostA: 2000, PortA: uint16(e[1] + 1),
			B: g.bridges[e[1]].Name, CostB: 2000, PortB: uint16(e[0] + 1),
		})
	}
	g.build(t, s)
	awaitPredicted(t, s, []*drawn{g})
	toRoot, other := portTo("g00b02", "g00b00"), portTo("g00b02", "g00b01")

	s.Vsctl("set", "Port", toRoot, "other_config:rstp-admin-port-state=false")
	awaitRole(t, s, toRoot, "Disabled", "Discarding")
	awaitRole(t, s, other, "Root", "Forwarding")

	s.Vsctl("remove", "Port", toRoot, "other_config", "rstp-admin-port-state")
	awaitPredicted(t, s, []*drawn{g})
}

func awaitRole(t *testing.T, s *ovsdbtest.Switch, port, role, state string) {
	t.Helper()
	deadline := time.After(settleTime)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		status := s.Vsctl("get", "Port", port, "rstp_status")
		if strings.Contains(status, "rstp_port_role="+role) && strings.Contains(status, "rstp_port_state="+state) {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: %s, want %s and %s", port, status, role, state)
		case <-tick.C:
		}
	}
}
