//go:build privileged

package ovsdb

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/plan"
)

// handmade has somebody make a bridge by hand, with tunnels to h2 and to a
// stranger.
func handmade(s *ovsdbtest.Switch) {
	s.Vsctl("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev", "stp_enable=true", "external_ids:who=me",
		"--", "add-port", "br0", "t1", "--", "set", "interface", "t1", "type=vxlan", "options:remote_ip=127.0.0.2", "--", "set", "port", "t1", "external_ids:who=me",
		"--", "add-port", "br0", "t9", "--", "set", "interface", "t9", "type=vxlan", "options:remote_ip=127.0.0.9")
}

func toAdopt() plan.Query {
	return plan.Query{Fabric: fabric, Adopt: true, TunnelPort: 4789, Peers: []netip.Addr{netip.MustParseAddr("127.0.0.2")}, Members: []netip.Addr{netip.MustParseAddr("127.0.0.2")}}
}

func TestAHandmadeBridgeIsInTheWayUnlessItIsAdopted(t *testing.T) {
	s := ovsdbtest.Start(t)
	handmade(s)
	q := toAdopt()
	q.Adopt = false
	o := observe(t, s, q)
	if o.State.OVS != nil || len(o.Obstacles) != 1 || !strings.HasSuffix(o.Obstacles[0].Cure, plan.OrAdopt) {
		t.Errorf("state %v, obstacles %v", o.State.OVS, o.Obstacles)
	}
	o = observe(t, s, toAdopt())
	if o.State.OVS == nil || len(o.State.OVS.Ports) != 1 || o.State.OVS.Ports[0].Name != "t1" || len(o.Obstacles) > 0 {
		t.Fatalf("state %+v, obstacles %v", o.State.OVS, o.Obstacles)
	}
	if diff := cmp.Diff([]string{"br0 t9"}, o.Facts.ForeignPorts); diff != "" {
		t.Error(diff)
	}
}

func TestTheRootAndNumbersOfAHandmadeTreeAreToldWhereItIsToBeAdopted(t *testing.T) {
	s := ovsdbtest.Start(t)
	handmade(s)
	s.Vsctl("wait-until", "bridge", "br0", "status!={}") // alone, it takes itself for the root
	if root := observe(t, s, toAdopt()).Facts.TreeRoot; root != "stp" {
		t.Errorf("root of %q, want stp", root)
	}
	s.Vsctl("wait-until", "port", "t1", "status!={}")
	if number := observe(t, s, toAdopt()).State.OVS.Ports[0].Number; number == 0 {
		t.Error("the tunnel has no number")
	}
	q := toAdopt()
	q.Adopt = false
	if root := observe(t, s, q).Facts.TreeRoot; root != "" {
		t.Errorf("root of %q without an adoption", root)
	}
}

func TestAnotherFabricsBridgeIsNeverAdopted(t *testing.T) {
	s := ovsdbtest.Start(t)
	handmade(s)
	s.Vsctl("set", "bridge", "br0", "external_ids:fabric=other")
	if o := observe(t, s, toAdopt()); o.State.OVS != nil || len(o.Obstacles) == 0 {
		t.Errorf("state %v, obstacles %v", o.State.OVS, o.Obstacles)
	}
}

func TestAnAdoptionChangesRowsWhereTheyAreAndGoesBack(t *testing.T) {
	s := ovsdbtest.Start(t)
	handmade(s)
	rows := func() string {
		return s.Vsctl("get", "bridge", "br0", "_uuid", "external_ids:who", "--", "get", "port", "t1", "_uuid", "external_ids:who", "--", "get", "interface", "t1", "_uuid", "ofport", "--", "get", "port", "t9", "_uuid")
	}
	before, was := rows(), observe(t, s, toAdopt()).State.OVS
	want := bridge(tunnel("t1", "h2", "127.0.0.2"))
	r := New(s.Endpoint, fabric)
	if err := r.Apply(deadline(t), plan.HostState{OVS: want}); err == nil {
		t.Fatal("it is taken over without being allowed to be")
	}
	r.Adopt(toAdopt())
	for _, state := range []*plan.OVS{want, was} {
		if err := r.Apply(deadline(t), plan.HostState{OVS: state}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(state, observe(t, s, toAdopt()).State.OVS); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(before, rows()); diff != "" {
			t.Error(diff)
		}
	}
	if keys := s.Vsctl("get", "port", "t1", "external_ids"); slices.Contains(strings.Fields(keys), "fabric=demo") {
		t.Errorf("external_ids of t1: %s", keys)
	}
}
