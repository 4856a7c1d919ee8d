package topology_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/topology"
)

var equal = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

func parse(t testing.TB, data string) *topology.Topology {
	t.Helper()
	got, _, err := topology.Parse("fabric.yaml", []byte(data), nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

const minimal = `version: 1
name: demo
network: 172.17.0.0/16
hosts:
  h1: {address: 192.0.2.11}
`

func TestParseFillsInDefaults(t *testing.T) {
	want := &topology.Topology{
		Name:      "demo",
		Network:   netip.MustParsePrefix("172.17.0.0/16"),
		Tunnel:    topology.Tunnel{Type: topology.VXLAN, Key: 1, HasKey: true, Port: 4789},
		Tree:      topology.TreeSpec{Protocol: topology.RSTP, BFD: 100},
		GraphSpec: topology.GraphSpec{Strategy: topology.Auto},
		Datapath:  topology.DatapathAuto,
		Docker:    topology.Docker{Bridge: "docker0"},
		Hosts: []topology.Host{
			{Name: "h1", Address: netip.MustParseAddr("192.0.2.11"), Weight: 1, SSH: topology.SSH{Address: "192.0.2.11", Sudo: true}},
		},
	}
	if diff := cmp.Diff(want, parse(t, minimal), equal); diff != "" {
		t.Errorf("topology (-want +got):\n%s", diff)
	}
}

func TestParseReadsEverything(t *testing.T) {
	got := parse(t, `
version: 1
name: demo
network: 172.17.0.0/16
tunnel: {type: geneve, key: 7, port: 6082, checksum: true}
tree: {protocol: stp, root: h10, backup: h2}
graph: {strategy: explicit, rtt: ./report.json}
underlay: {mtu: 1400}
datapath: netdev
docker: {bridge: fabric0}
ssh: {user: ops, port: 2222, identity: ~/.ssh/id, sudo: false, config: ./ssh_config}
hosts:
  h10:
    address: 192.0.2.20
    ssh: {user: root, port: 22, sudo: true}
  h2: {address: h2.example.net, was: h3, range: 172.17.64.0/18, weight: 2, site: paris, ssh: {address: jump}}
links:
  - {between: [h10, h2], cost: 10}
`)
	want := &topology.Topology{
		Name:        "demo",
		Network:     netip.MustParsePrefix("172.17.0.0/16"),
		Tunnel:      topology.Tunnel{Type: topology.Geneve, Key: 7, HasKey: true, Port: 6082, Checksum: true},
		Tree:        topology.TreeSpec{Protocol: topology.STP, Root: "h10", Backup: "h2", BFD: 100},
		GraphSpec:   topology.GraphSpec{Strategy: topology.Explicit, RTT: "./report.json"},
		UnderlayMTU: 1400,
		Datapath:    topology.DatapathNetdev,
		Docker:      topology.Docker{Bridge: "fabric0"},
		Hosts: []topology.Host{
			{Name: "h2", Was: "h3", HostName: "h2.example.net", Range: netip.MustParsePrefix("172.17.64.0/18"), Weight: 2, Site: "paris",
				SSH: topology.SSH{Address: "jump", User: "ops", Port: 2222, Identity: "~/.ssh/id", Config: "./ssh_config"}},
			{Name: "h10", Address: netip.MustParseAddr("192.0.2.20"), Weight: 1,
				SSH: topology.SSH{Address: "192.0.2.20", User: "root", Port: 22, Identity: "~/.ssh/id", Config: "./ssh_config", Sudo: true}},
		},
		Links: []topology.LinkSpec{{A: "h2", B: "h10", Cost: 10}},
	}
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("topology (-want +got):\n%s", diff)
	}
}

func TestParseSudoDependsOnUser(t *testing.T) {
	got := parse(t, "version: 1\nname: demo\nnetwork: 172.17.0.0/16\nssh: {user: root}\nhosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: 192.0.2.12, ssh: {user: ops}}\n")
	if got.Hosts[0].SSH.Sudo || !got.Hosts[1].SSH.Sudo {
		t.Errorf("sudo as root %t, as ops %t; want false, true", got.Hosts[0].SSH.Sudo, got.Hosts[1].SSH.Sudo)
	}
}

func TestParseFollowsAnchorsAndMergeKeys(t *testing.T) {
	got := parse(t, `version: 1
name: demo
network: 172.17.0.0/16
hosts:
  h1: &base {address: 192.0.2.11, site: paris, weight: 2}
  h2: {<<: *base, address: 192.0.2.12}
  h3:
    <<: *base
    address: 192.0.2.13
    weight: 4
`)
	var lines []string
	for _, h := range got.Hosts {
		lines = append(lines, fmt.Sprint(h.Name, h.Address, h.Site, h.Weight))
	}
	want := []string{"h1 192.0.2.11 paris 2", "h2 192.0.2.12 paris 2", "h3 192.0.2.13 paris 4"}
	for i := range want {
		want[i] = strings.ReplaceAll(want[i], " ", "")
		lines[i] = strings.ReplaceAll(lines[i], " ", "")
	}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
}

func TestParseProblems(t *testing.T) {
	const head = "version: 1\nname: demo\nnetwork: 172.17.0.0/16\n"
	const hosts = "hosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: 192.0.2.12}\n  h3: {address: 192.0.2.13}\n"
	tests := []struct {
		name, data string
		want       []string // the start of each problem
	}{
		{"empty", "", []string{`f: the file is empty; "fabric init" writes a file to start from`}},
		{"only comments", "# nothing\n", []string{"f: the file is empty"}},
		{"not YAML", "a: [1\n", []string{"f:1:4: sequence end token ']' not found"}},
		{"tab", "a:\n\tb: 1\n", []string{"f:2:1: found character"}},
		{"a list", "- 1\n", []string{"f:1:1: this wants a mapping", "f:1:1: version: this is missing", "f:1:1: name: this is missing", "f:1:1: network: this is missing", "f:1:1: hosts: a fabric has at least one host"}},
		{"two documents", minimal + "---\n" + minimal, []string{"f:7:1: a second YAML document"}},
		{"other version", "version: 2\nname: demo\nnetwork: 172.17.0.0/16\n" + hosts, []string{"f:1:10: version: this fabric reads version 1 only"}},
		{"unknown keys", head + hosts + "tunel: {}\ntunnel: {kind: gre}\n", []string{"f:8:1: tunel: unknown key; known here: version, name,", "f:9:16: tunnel.kind: unknown key; known here: type, key, port, checksum"}},
		{"duplicate keys", head + hosts + "  h3: {address: 192.0.2.14}\nname: other\n", []string{"f:8:3: hosts.h3: given twice, first on line 7", "f:9:1: name: given twice, first on line 2"}},
		{"wrong types", "version: 1\nname: 12\nnetwork: [a]\ntunnel: vxlan\nssh: {port: many, sudo: 1}\n" + hosts + "links: {}\n", []string{
			`f:2:7: name: this wants text, not the number 12; put it in quotes: "12"`, "f:3:1: network: this wants text, not a list", `f:4:9: tunnel: this wants a mapping (key: value), not the text "vxlan"`,
			`f:5:13: ssh.port: this wants a whole number from 1 to 65535, not the text "many"`, "f:5:25: ssh.sudo: this wants true or false, not the number 1", "f:10:1: links: this wants a list, not a mapping"}},
		{"names", "version: 1\nname: Demo\nnetwork: 172.17.0.0/16\nhosts:\n  H1: {address: 192.0.2.11, site: a b}\n", []string{`f:2:7: name: "Demo" is not a name`, `f:5:3: hosts.H1: "H1" is not a host name`, `f:5:35: hosts.H1.site: "a b" is not a name for a site`}},
		{"network with host bits", "version: 1\nname: demo\nnetwork: 172.17.1.0/16\n" + hosts, []string{"f:3:10: network: 172.17.1.0/16 has bits set beyond its length; the prefix that holds it is 172.17.0.0/16"}},
		{"network too small", "version: 1\nname: demo\nnetwork: 172.17.1.0/25\n" + hosts, []string{"f:3:10: network: /25 is not a size"}},
		{"network IPv6", "version: 1\nname: demo\nnetwork: fd00::/16\n" + hosts, []string{`f:3:10: network: "fd00::/16" is not an IPv4 prefix`}},
		{"no hosts", head + "hosts:\n", []string{"f:4:1: hosts: a fabric has at least one host"}},
		{"no address", head + "hosts:\n  h1:\n  h2: {}\n", []string{"f:5:3: hosts.h1.address: this is missing", "f:6:3: hosts.h2.address: this is missing"}},
		{"bad addresses", head + "hosts:\n  h1: {address: 127.0.0.1}\n  h2: {address: 192.0.2.300}\n  h3: {address: 172.17.0.9}\n  h4: {address: 0.0.0.0}\n  h5: {address: fe80::1%eth0}\n", []string{
			"f:5:17: hosts.h1.address: 127.0.0.1 is every host's own", `f:6:17: hosts.h2.address: "192.0.2.300" is neither`, "f:7:17: hosts.h3.address: 172.17.0.9 is inside the fabric's network", "f:8:17: hosts.h4.address: 0.0.0.0 is not the address of one host", "f:9:17: hosts.h5.address: fe80::1%eth0 has a zone"}},
		{"one address twice", head + "hosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: 192.0.2.11}\n  h3: {address: a.example}\n  h4: {address: a.example}\n", []string{"f:6:17: hosts.h2.address: 192.0.2.11 is the address of host h1 already", "f:8:17: hosts.h4.address: a.example is the address of host h3 already"}},
		{"two IP versions", head + "hosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: 2001:db8::1}\n", []string{"f:6:17: hosts.h2.address: 2001:db8::1 is not of the IP version of h1"}},
		{"ranges", head + "hosts:\n  h1: {address: 192.0.2.11, range: 172.17.0.0/18}\n  h2: {address: 192.0.2.12, range: 172.17.32.0/19}\n  h3: {address: 192.0.2.13, range: 10.0.0.0/18}\n  h4: {address: 192.0.2.14, range: 172.17.64.0/30}\n  h5: {address: 192.0.2.15, range: 172.17.65.0/18}\n", []string{
			"f:6:36: hosts.h2.range: 172.17.32.0/19 overlaps 172.17.0.0/18 of host h1", "f:7:36: hosts.h3.range: 10.0.0.0/18 is not inside the network 172.17.0.0/16", "f:8:36: hosts.h4.range: 172.17.64.0/30 is too small", "f:9:36: hosts.h5.range: 172.17.65.0/18 has bits set"}},
		{"weight", head + "hosts:\n  h1: {address: 192.0.2.11, weight: 0}\n", []string{"f:5:37: hosts.h1.weight: 0 is not in the range 1 to 65536"}},
		{"former names", head + "hosts:\n  h1: {address: 192.0.2.11, was: h2}\n  h2: {address: 192.0.2.12, was: A}\n  h3: {address: 192.0.2.13, was: h9}\n  h4: {address: 192.0.2.14, was: h9}\n", []string{
			"f:5:34: hosts.h1.was: there is a host h2 still, which was A; names that pass", `f:6:34: hosts.h2.was: "A" is not a host name`, "f:8:34: hosts.h4.was: host h3 was h9 too; only one"}},
		{"tunnel keys and ports", head + hosts + "tunnel: {type: vxlan, key: 16777216, port: 0}\n", []string{"f:8:28: tunnel.key: 16777216 is not in the range 0 to 16777215", "f:8:44: tunnel.port: 0 is not in the range"}},
		{"BFD with STP", head + hosts + "tree: {protocol: stp, bfd: 100}\n", []string{"f:8:28: tree.bfd: STP in Open vSwitch does not follow BFD; remove it, or take rstp"}},
		{"BFD that is no time", head + hosts + "tree: {bfd: 1}\n", []string{"f:8:13: tree.bfd: 1 is not in the range 50 to 10000"}},
		{"GRE port", head + hosts + "tunnel: {type: gre, port: 1}\n", []string{"f:8:27: tunnel.port: GRE has no ports"}},
		{"no such choice", head + hosts + "datapath: fast\n", []string{`f:8:11: datapath: "fast" is none of auto, system, netdev`}},
		{"tree", head + hosts + "tree: {root: h9, backup: h9}\n", []string{`f:8:14: tree.root: there is no host "h9"`, `f:8:26: tree.backup: there is no host "h9"`, "f:8:26: tree.backup: h9 is the root already"}},
		{"degree", head + hosts + "graph: {strategy: sparse, degree: 1}\n", []string{"f:8:35: graph.degree: 1 is not in the range 2 to"}},
		{"degree of a ring", head + hosts + "graph: {strategy: ring, degree: 4}\n", []string{"f:8:33: graph.degree: strategy ring has no degree"}},
		{"file of times", head + hosts + "graph: {rtt: ''}\n", []string{`f:8:14: graph.rtt: "" is not the path of a file`}},
		{"MTU", head + hosts + "underlay: {mtu: 600}\n", []string{"f:8:17: underlay.mtu: 600 leaves 550 bytes beside the 50 of vxlan, and containers need 576; 626 is the least"}},
		{"bridge name", head + hosts + "docker: {bridge: a-name-that-is-too-long}\n", []string{`f:8:18: docker.bridge: "a-name-that-is-too-long" is not a name for an interface`}},
		{"ssh options", head + hosts + "ssh: {user: -oProxyCommand=x}\n", []string{"f:8:13: ssh.user: ssh cannot take this: it wants a name of letters, digits and ._-+@"}},
		{"a shell command for ssh's configuration to run", head + "hosts:\n  h1: {address: 192.0.2.11, ssh: {address: h1;id}}\n", []string{"f:5:44: hosts.h1.ssh.address: ssh cannot take this: it wants"}},
		{"a key that ssh would look for elsewhere", head + hosts + "ssh: {identity: /keys/%h}\n", []string{"f:8:17: ssh.identity: ssh cannot take this: it wants a path without %"}},
		{"links", head + hosts + "graph: {strategy: explicit}\nlinks:\n  - {between: [h1, h1]}\n  - {between: [h1, h9]}\n  - {between: [h1]}\n  - {cost: 0}\n  - {between: [h1, h2]}\n  - {between: [h2, h1]}\n", []string{
			"f:10:6: links[0].between: a link from h1 to itself", `f:11:6: links[1].between: there is no host "h9"`, "f:12:6: links[2].between: a link is between two hosts, not 1", "f:13:5: links[3].between: this is missing", "f:13:12: links[3].cost: 0 is not in the range 1 to 65535", "f:15:5: links[5]: h1 and h2 have a link already, links[4]"}},
		{"explicit in pieces", head + hosts + "graph: {strategy: explicit}\nlinks:\n  - {between: [h1, h2]}\n", []string{"f:9:1: links: no way leads from h3 to h1, h2; add a link"}},
		{"cost of no link", head + hosts + "  h4: {address: 192.0.2.14}\ngraph: {strategy: ring}\nlinks:\n  - {between: [h1, h3], cost: 5}\n", []string{"f:11:5: links[0]: strategy ring makes no link between h1 and h3"}},
		{"sites missing", head + "hosts:\n  h1: {address: 192.0.2.11, site: a}\n  h2: {address: 192.0.2.12}\ngraph: {strategy: sites}\n", []string{"f:6:3: hosts.h2: strategy sites needs the site of every host"}},
		{"key that a terminal would not print", head + "hosts:\n  \"h\\n\\e[31m\": {address: 192.0.2.11}\n", []string{`f:5:3: hosts.h\x0a\x1b[31m: "h\n\x1b[31m" is not a host name`}},
		{"unknown alias", head + "hosts:\n  h1: *no\n", []string{"f:5:7: hosts.h1: no anchor &no", "f:5:7: hosts.h1.address: this is missing"}},
		{"alias to itself", head + "hosts: &h\n  h1: *h\n", []string{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := topology.Parse("f", []byte(tt.data), nil)
			var problems topology.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error %v is not Problems", err)
			}
			if len(tt.want) == 0 {
				return
			}
			for i := range max(len(problems), len(tt.want)) {
				switch {
				case i >= len(problems):
					t.Errorf("missing: %s", tt.want[i])
				case i >= len(tt.want):
					t.Errorf("unexpected: %s", problems[i])
				case !strings.HasPrefix(problems[i].String(), tt.want[i]):
					t.Errorf("got:  %s\nwant: %s", problems[i], tt.want[i])
				}
			}
		})
	}
}

func TestWithAddresses(t *testing.T) {
	named := parse(t, "version: 1\nname: demo\nnetwork: 172.17.0.0/16\nhosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: h2.example}\n")
	addr := netip.MustParseAddr
	got, err := named.WithAddresses(map[string]netip.Addr{"h2": addr("192.0.2.12")})
	if err != nil {
		t.Fatal(err)
	}
	if got.Hosts[1].Address != addr("192.0.2.12") || named.Hosts[1].Address.IsValid() {
		t.Errorf("resolved %v, original %v", got.Hosts[1], named.Hosts[1])
	}
	for name, resolved := range map[string]map[string]netip.Addr{
		"has no address":                 {},
		"is the address of host h1":      {"h2": addr("192.0.2.11")},
		"is inside the fabric's network": {"h2": addr("172.17.0.5")},
		"others cannot reach":            {"h2": addr("127.0.1.1")},
		"is not of the IP version of h1": {"h2": addr("2001:db8::2")},
	} {
		if _, err := named.WithAddresses(resolved); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: error %v lacks %q", resolved, err, name)
		}
	}
}

func TestOverhead(t *testing.T) {
	for _, tt := range []struct {
		tunnel topology.Tunnel
		ipv6   bool
		want   int
	}{
		{topology.Tunnel{Type: topology.GRE}, false, 38},
		{topology.Tunnel{Type: topology.GRE, HasKey: true}, false, 42},
		{topology.Tunnel{Type: topology.GRE, HasKey: true, Checksum: true}, true, 66},
		{topology.Tunnel{Type: topology.VXLAN, HasKey: true, Checksum: true}, false, 50},
		{topology.Tunnel{Type: topology.Geneve}, true, 70},
	} {
		if got := tt.tunnel.Overhead(tt.ipv6); got != tt.want {
			t.Errorf("%+v, IPv6 %t: %d bytes, want %d", tt.tunnel, tt.ipv6, got, tt.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte("version: 1\nname: a\nnetwork: 10.0.0.0/8\nhosts:\n  a: &a {address: b}\n  c: {<<: [*a, *a]}\n"))
	f.Add([]byte("hosts: &h\n  <<: *h\n"))
	f.Add([]byte(minimal + "graph: {strategy: sparse, rtt: report.json}\n"))
	f.Add([]byte("links: [{between: [a, b]}, {between: {}}, 1]\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, g, err := topology.Parse("f", data, func(string) (map[[2]string]int64, error) {
			return map[[2]string]int64{{"a", "c"}: 1000}, nil
		})
		if err != nil {
			if problems := (topology.Problems)(nil); !errors.As(err, &problems) || len(problems) == 0 {
				t.Fatalf("error %v is not Problems", err)
			}
			return
		}
		if g == nil {
			t.Fatal("a file that is right has no graph")
		}
	})
}
