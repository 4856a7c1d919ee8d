package link

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

func prefixes(t *testing.T, words string) []netip.Prefix {
	t.Helper()
	var ps []netip.Prefix
	for _, w := range strings.Fields(words) {
		ps = append(ps, netip.MustParsePrefix(w))
	}
	return ps
}

func TestMarkIsReadBack(t *testing.T) {
	for _, m := range []mark{
		{owner: "demo"},
		{owner: "demo", addresses: prefixes(t, "172.17.64.1/16 10.0.0.1/8")},
		{addresses: prefixes(t, "172.17.64.1/16")},
	} {
		got, ok := parseMark(m.String())
		if !ok || got.String() != m.String() {
			t.Errorf("parseMark(%q) = %v, %v", m, got, ok)
		}
	}
}

func TestForeignAliasIsNoMark(t *testing.T) {
	for _, alias := range []string{"", "uplink", "fabric", "my fabric=demo", "fabric=demo of Ann"} {
		if m, ok := parseMark(alias); ok {
			t.Errorf("parseMark(%q) = %v, want none", alias, m)
		}
	}
}

func TestChooseTellsTheAddressThatMatters(t *testing.T) {
	network := netip.MustParsePrefix("172.17.0.0/16")
	for _, tt := range []struct{ name, had, ours, want string }{
		{"the only one", "10.0.0.1/8", "", "10.0.0.1/8"},
		{"in the network", "10.0.0.1/8 172.17.0.1/16", "", "172.17.0.1/16"},
		{"ours", "10.0.0.1/8 172.17.64.1/16", "172.17.64.1/16", "172.17.64.1/16"},
		{"ours of a former network", "192.0.2.1/24 10.0.0.1/8", "10.0.0.1/8", "10.0.0.1/8"},
		{"in the network and not ours", "172.17.64.1/16 172.17.0.1/16", "172.17.64.1/16", "172.17.0.1/16"},
		{"the first of others", "10.0.0.1/8 192.0.2.1/24", "", "10.0.0.1/8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := choose(prefixes(t, tt.had), prefixes(t, tt.ours), network)
			if got.String() != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

func TestParseSockets(t *testing.T) {
	const udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  312: 00000000:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 0 2 0000000000000000 0
  313: 0100007F:12B5 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 8123 2 0000000000000000 0
  400: 0B0200C0:8000 350200C0:0035 01 00000000:00000000 00:00000000 00000000     0        0 8200 2 0000000000000000 0
`
	got, err := parseSockets(strings.NewReader(udp))
	if err != nil {
		t.Fatal(err)
	}
	want := []socket{{port: 4789, inode: "0"}, {port: 4789, inode: "8123"}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(socket{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := parseSockets(strings.NewReader("headings\nrubbish\n")); err == nil {
		t.Error("a line that cannot be read: no error")
	}
}

func TestWhoHoldsThePort(t *testing.T) {
	const port = 4789
	vxlan := func(name string, port int) netlink.Link {
		return &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 65000}, Port: port}
	}
	kernel := socket{port: port, inode: "no process has it"}
	for _, tt := range []struct {
		name string
		s    snapshot
		want []string // UDPPort.By
	}{
		{"nobody", snapshot{sockets: []socket{{port: 53, inode: "7"}}}, nil},
		{"Open vSwitch", snapshot{links: []netlink.Link{vxlan("vxlan_sys_4789", port)}, sockets: []socket{kernel}}, nil},
		{"Open vSwitch, with Geneve", snapshot{
			links:   []netlink.Link{&netlink.Geneve{LinkAttrs: netlink.LinkAttrs{Name: "genev_sys_4789"}, Dport: port}},
			sockets: []socket{kernel},
		}, nil},
		{"another device", snapshot{links: []netlink.Link{vxlan("vx0", port)}, sockets: []socket{kernel, kernel}}, []string{"vx0, a vxlan link,"}},
		{"another port", snapshot{links: []netlink.Link{vxlan("vx0", 8472)}, sockets: []socket{{port: 8472, inode: kernel.inode}}}, nil},
		{"a device elsewhere, for both families", snapshot{sockets: []socket{kernel, kernel}}, []string{""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, held := range tt.s.ports(plan.Query{TunnelPort: port}) {
				if held.Port != port || held.Cure == "" {
					t.Errorf("%+v, want port %d and a cure", held, port)
				}
				got = append(got, held.By)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("GRE", func(t *testing.T) {
		if got := (snapshot{sockets: []socket{kernel, {}}}).ports(plan.Query{}); len(got) > 0 {
			t.Errorf("%+v, want none", got)
		}
	})
}

func TestPortsThatCouldBeProposedAreLookedAtToo(t *testing.T) {
	s := snapshot{sockets: []socket{{port: 4790}, {port: 6081}}}
	got := s.ports(plan.Query{TunnelPort: 6081})
	if len(got) != 2 || got[0].Port != 4790 || got[1].Port != 6081 {
		t.Errorf("%+v, want 4790 and 6081", got)
	}
}

// expect wants one obstacle that names what, none if that is "".
func expect(t *testing.T, got []plan.Obstacle, what string) {
	t.Helper()
	if what == "" {
		if len(got) > 0 {
			t.Errorf("obstacles: %+v, want none", got)
		}
		return
	}
	if len(got) != 1 || !strings.Contains(got[0].What, what) || got[0].Cure == "" {
		t.Errorf("obstacles: %+v, want one about %q with a cure", got, what)
	}
}

// member is the link of Open vSwitch that docker0 has.
var member = plan.AccessName(plan.DefaultNetwork)

func TestSwitchOfTheKernelDatapathIsNoObstacle(t *testing.T) {
	s := snapshot{links: []netlink.Link{
		&netlink.GenericLink{LinkAttrs: netlink.LinkAttrs{Name: member}, LinkType: "openvswitch"},
	}}
	expect(t, s.switchObstacles(plan.Query{DockerBridge: "docker0"}), "")
}

func TestUpNeedsTheMember(t *testing.T) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: 2, Name: "docker0", RawFlags: unix.IFF_UP}}
	tap := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Index: 3, Name: member, MasterIndex: 2}}
	s := snapshot{links: []netlink.Link{bridge, tap}}
	got := s.describe("docker0", netip.MustParsePrefix("172.17.0.0/16"))
	if got.Member != member || got.Up {
		t.Errorf("member %q, up %v; want %q, false", got.Member, got.Up, member)
	}
}

func TestRestoreRefusesAFileThatIsTooLong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "host.json")
	if err := os.WriteFile(path, make([]byte, maxHostFile+1), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Restore(t.Context(), path)
	if err == nil || !strings.Contains(err.Error(), "longer than") || !strings.Contains(err.Error(), path) {
		t.Errorf("error = %v, want one that names the file and its length", err)
	}
}

// The kernel datapath makes its devices with an MTU of 65000, which says
// nothing of the underlay.
func TestDevicesOfTheKernelDatapathAreNobodys(t *testing.T) {
	index := 10
	device := func(kind string, attrs netlink.LinkAttrs) netlink.Link {
		index++
		attrs.Index = index
		return &netlink.GenericLink{LinkAttrs: attrs, LinkType: kind}
	}
	system := device("openvswitch", netlink.LinkAttrs{Name: "ovs-system", MTU: 1500})
	below := func(kind, name string) netlink.Link {
		return device(kind, netlink.LinkAttrs{Name: name, MTU: 65000, MasterIndex: system.Attrs().Index})
	}
	s := snapshot{links: []netlink.Link{
		system, below("gretap", "gre_sys"),
		&netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vxlan_sys_4789", MTU: 65000, MasterIndex: system.Attrs().Index}, Port: 4789},
		&netlink.Geneve{LinkAttrs: netlink.LinkAttrs{Name: "genev_sys_6081", MTU: 65000, MasterIndex: system.Attrs().Index}, Dport: 6081},
		device("gre", netlink.LinkAttrs{Name: "gre0", MTU: 1476}), device("gretap", netlink.LinkAttrs{Name: "gretap0", MTU: 1462}),
		&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Index: 2, Name: "docker0", MTU: 1450}},
		device("openvswitch", netlink.LinkAttrs{Name: member, MTU: 1450, MasterIndex: 2}),
	}}
	q := plan.Query{Fabric: "demo", DockerBridge: "docker0", Network: netip.MustParsePrefix("172.17.0.0/16")}
	for _, port := range []uint16{0, 4789, 6081} {
		q.TunnelPort = port
		if found, held := s.obstacles(q), s.ports(q); len(found) > 0 || len(held) > 0 {
			t.Errorf("port %d: obstacles %+v, ports held %+v; want none", port, found, held)
		}
	}
}
