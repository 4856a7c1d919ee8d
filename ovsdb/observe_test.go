package ovsdb

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// database builds a snapshot: add a bridge, then its ports.
type database struct {
	root       vswitch.OpenvSwitch
	bridges    []vswitch.Bridge
	ports      []vswitch.Port
	interfaces []vswitch.Interface
}

func (d *database) bridge(b vswitch.Bridge) *database {
	b.UUID = "bridge-" + b.Name
	d.bridges = append(d.bridges, b)
	return d.port(vswitch.Port{Name: b.Name}, vswitch.Interface{Type: "internal"})
}

func (d *database) port(p vswitch.Port, i vswitch.Interface) *database {
	i.Name, i.UUID = p.Name, "interface-"+p.Name
	p.UUID, p.Interfaces = "port-"+p.Name, []string{i.UUID}
	d.interfaces = append(d.interfaces, i)
	d.ports = append(d.ports, p)
	b := &d.bridges[len(d.bridges)-1]
	b.Ports = append(b.Ports, p.UUID)
	return d
}

func (d *database) snapshot() *snapshot {
	d.root.UUID = "root"
	return newSnapshot(d.root, d.bridges, d.ports, d.interfaces)
}

func mark(fabric string) map[string]string { return map[string]string{plan.OwnerKey: fabric} }

func options(remote, key string) map[string]string {
	return map[string]string{"remote_ip": remote, "key": key}
}

func TestObstacles(t *testing.T) {
	for _, test := range []struct {
		name string
		have *database
		port uint16
		want []string
	}{
		{"own bridge", new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo")}).
			port(vswitch.Port{Name: "f-h2", ExternalIDs: mark("demo")}, vswitch.Interface{Type: "vxlan", Options: options("192.0.2.2", "1")}),
			4789, nil},
		{"foreign bridge", new(database).bridge(vswitch.Bridge{Name: "br0"}).
			port(vswitch.Port{Name: "gre1"}, vswitch.Interface{Type: "gre"}).port(vswitch.Port{Name: "eth1"}, vswitch.Interface{}),
			4789, []string{"bridge br0 exists and is not the fabric's (ports eth1, gre1)"}},
		{"bridge of another fabric", new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("lab")}),
			4789, []string{`bridge br0 exists and belongs to fabric "lab", not to "demo" (no ports)`}},
		{"same tunnel on another bridge", new(database).bridge(vswitch.Bridge{Name: "br9"}).
			port(vswitch.Port{Name: "vx1"}, vswitch.Interface{Type: "vxlan", Options: options("192.0.2.2", "7")}),
			4789, []string{"bridge br9 has a vxlan tunnel to 192.0.2.2 already (port vx1, key 7)"}},
		{"same tunnel, foreign, on the fabric's bridge", new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo")}).
			port(vswitch.Port{Name: "gre1"}, vswitch.Interface{Type: "gre", Options: map[string]string{"remote_ip": "192.0.2.2"}}),
			0, []string{"bridge br0 has a gre tunnel to 192.0.2.2 already (port gre1, key none)"}},
		{"tunnel to somebody else", new(database).bridge(vswitch.Bridge{Name: "br9"}).
			port(vswitch.Port{Name: "vx1"}, vswitch.Interface{Type: "vxlan", Options: options("192.0.2.9", "7")}), 4789, nil},
		{"tunnel of another type", new(database).bridge(vswitch.Bridge{Name: "br9"}).
			port(vswitch.Port{Name: "g1"}, vswitch.Interface{Type: "geneve", Options: options("192.0.2.2", "1")}).
			port(vswitch.Port{Name: "gre1"}, vswitch.Interface{Type: "gre", Options: options("192.0.2.2", "1")}), 4789, nil},
		{"tunnel for any key, as OVN's", new(database).bridge(vswitch.Bridge{Name: "br-int"}).
			port(vswitch.Port{Name: "ovn-1"}, vswitch.Interface{Type: "geneve", Options: options("192.0.2.2", "flow")}), 6081, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := plan.Query{Fabric: "demo", TunnelPort: test.port, Peers: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}
			var got []string
			for _, o := range obstacles(test.have.snapshot(), q) {
				if o.Cure == "" {
					t.Errorf("%q has no cure", o.What)
				}
				got = append(got, o.What)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPortsOfOthersTunnelsAreNotProposed(t *testing.T) {
	port := func(n string) map[string]string { return map[string]string{"remote_ip": "flow", "dst_port": n} }
	have := new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo")}).
		port(vswitch.Port{Name: "vx-h2", ExternalIDs: mark("demo")}, vswitch.Interface{Type: "vxlan", Options: port("4795")}).
		bridge(vswitch.Bridge{Name: "br-int"}).
		port(vswitch.Port{Name: "a"}, vswitch.Interface{Type: "geneve", Options: port("4793")}).
		port(vswitch.Port{Name: "b"}, vswitch.Interface{Type: "vxlan", Options: port("4790")}). // the tunnels' own: it can be shared
		port(vswitch.Port{Name: "c"}, vswitch.Interface{Type: "vxlan", Options: port("8472")}).
		port(vswitch.Port{Name: "d"}, vswitch.Interface{Type: "gre", Options: port("4794")})
	got := spares(have.snapshot(), plan.Query{Fabric: "demo", TunnelPort: 4790})
	want := []plan.UDPPort{{Port: 4793, By: "port a of bridge br-int in Open vSwitch", Cure: "ovs-vsctl del-port br-int a"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStateOfBondHasNoType(t *testing.T) {
	d := new(database).bridge(vswitch.Bridge{Name: "br0", ExternalIDs: mark("demo")}).
		port(vswitch.Port{Name: "f-h2", ExternalIDs: mark("demo")}, vswitch.Interface{Type: "vxlan"})
	d.interfaces = append(d.interfaces, vswitch.Interface{UUID: "second", Name: "eth1"})
	d.ports[1].Interfaces = append(d.ports[1].Interfaces, "second")
	if got := state(d.snapshot(), "demo").Ports[0].Type; got != "" {
		t.Errorf("type %q", got)
	}
}
