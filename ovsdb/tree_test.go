package ovsdb

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

func TestTree(t *testing.T) {
	up, down, first, none, exists := "up", "down", 1, -1, "File exists"
	peer := func(name string) map[string]string {
		return map[string]string{plan.OwnerKey: "demo", plan.PeerKey: name}
	}
	for _, test := range []struct {
		name string
		have *database
		want wire.TreeStatus
	}{
		{"no bridge", new(database), wire.TreeStatus{}},
		{"bridge of another fabric", new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("lab")}), wire.TreeStatus{}},
		{"nothing reported yet",
			new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo"), RSTPEnable: true}),
			wire.TreeStatus{Protocol: "rstp", Ports: []wire.TreePort{}}},
		{"RSTP",
			new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo"), RSTPEnable: true, RSTPStatus: map[string]string{
				"rstp_bridge_id": "8.000.020000000002", "rstp_root_id": "1.00a.020000000001", "rstp_root_path_cost": "2000",
			}}).port(vswitch.Port{Name: "f-h1", ExternalIDs: peer("h1"),
				RSTPStatus: map[string]string{"rstp_port_role": "Root", "rstp_port_state": "Forwarding"},
			}, vswitch.Interface{LinkState: &up, Ofport: &first, BFDStatus: map[string]string{"state": "up"}}).
				port(vswitch.Port{Name: "eth1",
					RSTPStatus: map[string]string{"rstp_port_role": "Disabled", "rstp_port_state": "Disabled"},
				}, vswitch.Interface{LinkState: &down, Ofport: &none, Error: &exists}),
			wire.TreeStatus{
				Protocol:     "rstp",
				Bridge:       wire.BridgeID{Priority: 32768, MAC: "02:00:00:00:00:02"},
				Root:         wire.BridgeID{Priority: 4106, MAC: "02:00:00:00:00:01"},
				RootPathCost: 2000,
				Ports: []wire.TreePort{
					{Name: "eth1", Role: "disabled", State: "disabled", Link: "down", OFPort: -1, Error: "File exists"},
					{Name: "f-h1", Peer: "h1", Role: "root", State: "forwarding", Link: "up", BFD: "up", OFPort: 1},
				},
			}},
		{"STP",
			new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo"), STPEnable: true, Status: map[string]string{
				"stp_bridge_id": "8001.020000000002", "stp_designated_root": "8000.62a9e2561b4a", "stp_root_path_cost": "2",
			}}).port(vswitch.Port{Name: "f-h1", ExternalIDs: peer("h1"),
				Status: map[string]string{"stp_role": "alternate", "stp_state": "blocking"},
			}, vswitch.Interface{}).port(vswitch.Port{Name: "f-h3", ExternalIDs: peer("h3"),
				Status: map[string]string{"stp_role": "designated", "stp_state": "listening"},
			}, vswitch.Interface{}),
			wire.TreeStatus{
				Protocol:     "stp",
				Bridge:       wire.BridgeID{Priority: 32769, MAC: "02:00:00:00:00:02"},
				Root:         wire.BridgeID{Priority: 32768, MAC: "62:a9:e2:56:1b:4a"},
				RootPathCost: 2,
				Ports: []wire.TreePort{
					{Name: "f-h1", Peer: "h1", Role: "alternate", State: "discarding"},
					{Name: "f-h3", Peer: "h3", Role: "designated", State: "discarding"},
				},
			}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := tree(test.have.snapshot(), "demo")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestBridgeIDErrors(t *testing.T) {
	for _, id := range []string{"8000", "x.020000000001", "8000.", "8000.02000000000100", "18000.020000000001", "8000.-1"} {
		if got, err := bridgeID(id); err == nil {
			t.Errorf("%q is %+v", id, got)
		}
	}
}
