package topology

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml/ast"

	"github.com/ovsfabric/fabric/internal/natural"
	"github.com/ovsfabric/fabric/internal/sshword"
)

// MaxCost is the largest path cost: a configured one has 16 bits in 802.1D-1998 (8.10.2).
const MaxCost = 65535

var (
	fabricName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)
	label      = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`) // RFC 1123 section 2.1, in lower case
	dnsName    = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$`)
	numeric    = regexp.MustCompile(`^(.*\.)?[0-9]+$`)
	device     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$`) // IFNAMSIZ leaves 15 bytes
)

// Parse reads a fabric file (version 1) strictly, and makes its graph: only that shows whether the file is right. An error is of
// type Problems and has everything that is wrong. The filename is only for messages. Where graph.rtt names a file, measured gives
// what is in it, as WithRTT takes it; nil leaves graph.rtt out of account.
func Parse(filename string, data []byte, measured func(path string) (map[[2]string]int64, error)) (*Topology, *Graph, error) {
	r := newReader(filename)
	root, ok := r.document(data)
	if !ok {
		return nil, nil, r.problems
	}
	t := r.topology(root)
	for _, f := range t.check() {
		r.report(f.path, f.message, f.hint)
	}
	if t.GraphSpec.RTT != "" && measured != nil {
		times, err := measured(t.GraphSpec.RTT)
		if err != nil {
			r.report("graph.rtt", err.Error(), "fabric verify --json writes such a file; without graph.rtt the graph goes by hops")
		}
		t = t.WithRTT(times)
	}
	var g *Graph
	if len(r.problems) == 0 {
		var findings []finding
		g, findings = t.build()
		for _, f := range findings {
			r.report(f.path, f.message, f.hint)
		}
	}
	if len(r.problems) > 0 {
		return nil, nil, r.sorted()
	}
	return t, g, nil
}

// Locate gives problems of a file, as Parse takes it, the places of the values at their paths.
func Locate(filename string, data []byte, problems []Problem) Problems {
	r := newReader(filename)
	if root, ok := r.document(data); ok {
		r.topology(root)
	}
	r.problems = nil
	for _, p := range problems {
		r.report(p.Path, p.Message, p.Hint)
	}
	return r.sorted()
}

func (r *reader) topology(root value) *Topology {
	f := r.fields(root, "version", "name", "network", "tunnel", "tree", "graph", "underlay", "datapath", "docker", "ssh", "hosts", "links")
	r.version(f["version"])
	t := &Topology{
		Name:      r.name(f["name"]),
		Network:   r.network(f["network"]),
		Tunnel:    r.tunnel(f["tunnel"]),
		Tree:      r.tree(f["tree"]),
		GraphSpec: r.graph(f["graph"]),
		Datapath:  oneOf(r, f["datapath"], DatapathAuto, DatapathSystem, DatapathNetdev),
		Docker:    r.docker(f["docker"]),
	}
	t.UnderlayMTU = r.integer(r.fields(f["underlay"], "mtu")["mtu"], 576, 9216, 0)
	t.Hosts = r.hosts(f["hosts"], r.fields(f["ssh"], "user", "port", "identity", "sudo", "config"))
	t.Links = r.links(f["links"])
	return t
}

// required reports a value that is not there.
func (r *reader) required(v value, hint string) bool {
	if !v.given() {
		r.report(v.path, "this is missing", hint)
	}
	return v.given()
}

func (r *reader) version(v value) {
	if !r.required(v, `the file begins with "version: 1"`) {
		return
	}
	if n, ok := r.resolve(v).(*ast.IntegerNode); !ok || n.GetToken().Value != "1" {
		r.report(v.path, "this fabric reads version 1 only", "a later version needs a later fabric")
	}
}

func (r *reader) name(v value) string {
	r.required(v, "a name marks what belongs to the fabric on every host, as \"name: demo\"")
	s, ok := r.text(v)
	if ok && !fabricName.MatchString(s) {
		r.errorf(v, "%q is not a name: at most 32 lower case letters, digits and dashes, no dash at either end", s)
	}
	return s
}

func (r *reader) network(v value) netip.Prefix {
	r.required(v, `the network that the hosts share, as "network: 172.17.0.0/16"`)
	p := r.prefix(v)
	if p.IsValid() && (p.Bits() < 8 || p.Bits() > 24) {
		r.errorf(v, "/%d is not a size for the network: it can be from /8 to /24", p.Bits())
	}
	return p
}

// prefix reads an IPv4 prefix without host bits; the zero Prefix stands for one that is wrong or not there.
func (r *reader) prefix(v value) netip.Prefix {
	s, ok := r.text(v)
	if !ok {
		return netip.Prefix{}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil || !p.Addr().Is4():
		r.errorf(v, "%q is not an IPv4 prefix such as 172.17.0.0/16", s)
		return netip.Prefix{}
	case p != p.Masked():
		r.report(v.path, fmt.Sprintf("%s has bits set beyond its length", s), fmt.Sprintf("the prefix that holds it is %s", p.Masked()))
		return netip.Prefix{}
	}
	return p
}

func (r *reader) tunnel(v value) Tunnel {
	f := r.fields(v, "type", "key", "port", "checksum")
	t := Tunnel{Type: oneOf(r, f["type"], VXLAN, GRE, Geneve)}
	t.Checksum, _ = r.boolean(f["checksum"])
	maxKey, absentKey, defaultPort := 1<<24-1, 1, 4789 // RFC 7348 section 5
	switch t.Type {
	case Geneve:
		defaultPort = 6081 // RFC 8926 section 3.3
	case GRE:
		maxKey, absentKey, defaultPort = 1<<32-1, 0, 0 // RFC 2890 section 2
		if f["port"].given() {
			r.report(f["port"].path, "GRE has no ports", "remove it, or take vxlan or geneve")
		}
	}
	t.HasKey = t.Type != GRE || f["key"].given()
	t.Key = uint32(r.integer(f["key"], 0, maxKey, absentKey))
	t.Port = uint16(defaultPort)
	if t.Type != GRE {
		t.Port = uint16(r.integer(f["port"], 1, 65535, defaultPort))
	}
	return t
}

func (r *reader) tree(v value) TreeSpec {
	f := r.fields(v, "protocol", "root", "backup", "bfd")
	// Three in a row are lost before RSTP would have missed its first hello.
	const every = 100
	t := TreeSpec{Protocol: oneOf(r, f["protocol"], RSTP, STP), BFD: r.integer(f["bfd"], 50, 10_000, every)}
	if t.Protocol == STP && f["bfd"].given() {
		r.report(f["bfd"].path, "STP in Open vSwitch does not follow BFD", "remove it, or take rstp")
	}
	t.Root, _ = r.text(f["root"])
	t.Backup, _ = r.text(f["backup"])
	return t
}

func (r *reader) graph(v value) GraphSpec {
	f := r.fields(v, "strategy", "degree", "rtt")
	g := GraphSpec{
		Strategy: oneOf(r, f["strategy"], Auto, Mesh, Ring, Hub, Sparse, Tiers, Sites, Explicit),
		Degree:   r.integer(f["degree"], 2, RSTP.MaxPorts(), 0),
	}
	if path, ok := r.text(f["rtt"]); ok {
		if path == "" || strings.ContainsFunc(path, unicode.IsControl) {
			r.errorf(f["rtt"], "%q is not the path of a file", path)
		}
		g.RTT = path
	}
	if g.Degree > 0 && g.Strategy != Auto && g.Strategy != Sparse {
		r.errorf(f["degree"], "strategy %s has no degree to set; sparse and auto have", g.Strategy)
	}
	return g
}

func (r *reader) docker(v value) Docker {
	bridge := r.fields(v, "bridge")["bridge"]
	name, ok := r.text(bridge)
	switch {
	case !ok:
		return Docker{Bridge: "docker0"}
	case !device.MatchString(name) || name == "." || name == "..":
		r.errorf(bridge, "%q is not a name for an interface: at most 15 letters, digits, and -_.", name)
	case name == "br0":
		r.errorf(bridge, "br0 is the Open vSwitch bridge of the tunnels")
	case name == "fab-default":
		r.errorf(bridge, "fab-default is an Open vSwitch bridge, a member of this one")
	}
	return Docker{Bridge: name}
}

func (r *reader) hosts(v value, global map[string]value) []Host {
	defaults := r.ssh(global, sshDefaults{})
	var hosts []Host
	for _, e := range r.entries(v) {
		if !label.MatchString(e.key) {
			r.errorf(e.value, "%q is not a host name: at most 63 lower case letters, digits and dashes, no dash at either end", e.key)
		}
		hosts = append(hosts, r.host(e, defaults))
	}
	slices.SortFunc(hosts, func(a, b Host) int { return natural.Compare(a.Name, b.Name) })
	return hosts
}

func (r *reader) host(e entry, defaults sshDefaults) Host {
	f := r.fields(e.value, "address", "was", "range", "weight", "site", "ssh")
	h := Host{Name: e.key, Weight: r.integer(f["weight"], 1, 1<<16, 1), Range: r.prefix(f["range"])}
	h.Was, _ = r.text(f["was"])
	h.Address, h.HostName = r.address(f["address"])
	if site, ok := r.text(f["site"]); ok {
		if !label.MatchString(site) {
			r.errorf(f["site"], "%q is not a name for a site: lower case letters, digits and dashes", site)
		}
		h.Site = site
	}
	own := r.ssh(r.fields(f["ssh"], "address", "user", "port", "identity", "sudo", "config"), defaults)
	h.SSH = own.SSH
	if !own.sudoGiven {
		h.SSH.Sudo = h.SSH.User != "root"
	}
	if h.SSH.Address == "" {
		h.SSH.Address = h.HostName
		if h.Address.IsValid() {
			h.SSH.Address = h.Address.String()
		}
	}
	return h
}

// sshDefaults are settings of which sudo may still depend on the user.
type sshDefaults struct {
	SSH
	sudoGiven bool
}

// ssh reads ssh settings over those of base. What ssh could take for something else is refused, and a path to a key is not repeated.
func (r *reader) ssh(f map[string]value, base sshDefaults) sshDefaults {
	s := base
	for _, setting := range []struct {
		key   string
		field *string
		fits  func(string) bool
		want  string
	}{
		{"address", &s.Address, sshword.Host, "an address or a name of letters, digits and ._-:%+; user and port have keys of their own"},
		{"user", &s.User, sshword.User, "a name of letters, digits and ._-+@"},
		{"identity", &s.Identity, sshword.Path, "a path without %, $ and control characters, which does not begin with a dash"},
		{"config", &s.Config, configPath, "a path without control characters, which does not begin with a dash"},
	} {
		text, ok := r.text(f[setting.key])
		if !ok {
			continue
		}
		if !setting.fits(text) {
			r.errorf(f[setting.key], "ssh cannot take this: it wants %s", setting.want)
		}
		*setting.field = text
	}
	s.Port = r.integer(f["port"], 1, 65535, base.Port)
	if sudo, ok := r.boolean(f["sudo"]); ok {
		s.Sudo, s.sudoGiven = sudo, true
	}
	return s
}

// configPath says whether ssh -F takes s, which it does not look into.
func configPath(s string) bool {
	return s != "" && s[0] != '-' && !strings.ContainsFunc(s, unicode.IsControl)
}

// address reads where a host's tunnels end, an IP address or a name that is still to be resolved.
func (r *reader) address(v value) (netip.Addr, string) {
	r.required(v, "the address that the other hosts' tunnels connect to")
	s, ok := r.text(v)
	if !ok {
		return netip.Addr{}, ""
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		addr = addr.Unmap()
		if why := unusable(addr); why != "" {
			r.errorf(v, "%s %s", s, why)
			return netip.Addr{}, ""
		}
		return addr, ""
	}
	if len(s) > 253 || !dnsName.MatchString(s) || numeric.MatchString(s) {
		r.errorf(v, "%q is neither an IP address nor a DNS name", s)
		return netip.Addr{}, ""
	}
	return netip.Addr{}, s
}

func (r *reader) links(v value) []LinkSpec {
	var links []LinkSpec
	for _, item := range r.list(v) {
		f := r.fields(item, "between", "cost")
		link := LinkSpec{Cost: uint32(r.integer(f["cost"], 1, MaxCost, 0))}
		r.required(f["between"], `its two ends, as "between: [h1, h2]"`)
		ends := r.list(f["between"])
		if f["between"].given() && len(ends) != 2 {
			r.errorf(f["between"], "a link is between two hosts, not %d", len(ends))
		}
		if len(ends) == 2 {
			link.A, _ = r.text(ends[0])
			link.B, _ = r.text(ends[1])
			if natural.Compare(link.A, link.B) > 0 {
				link.A, link.B = link.B, link.A
			}
		}
		links = append(links, link)
	}
	return links
}
