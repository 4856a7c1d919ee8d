package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/internal/printable"
)

// Op is what happens to an object of a host.
type Op string

// The operations, as a plan prints them.
const (
	Add    Op = "+"
	Modify Op = "~"
	Remove Op = "-"
)

// Change is one object of a host that an apply adds, modifies or removes.
type Change struct {
	Op     Op     `json:"op"`
	Object string `json:"object"` // as "port vx-h2" or "file /etc/fabric/host.json"
	Attrs  []Attr `json:"attrs"`  // sorted by name; of a modified object only those that differ
}

// Attr is one attribute of an object. Before is "" for an added object and
// After for a removed one.
type Attr struct {
	Name   string `json:"name"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Diff lists what turns observed into want: objects in the order in which
// they are applied, Open vSwitch first and Docker last.
func Diff(observed, want HostState) []Change {
	if want.Links == nil && observed.Links != nil && observed.Links.Owner == "" {
		observed.Links = nil // dockerd's own bridge is not the fabric's to remove
	}
	if want.Docker != nil && want.Docker.Live == (DockerLive{}) && observed.Docker != nil {
		observed = observed.Attainable()
	}
	before, after := observed.objects(), want.objects()
	old := make(map[string]object, len(before))
	for _, o := range before {
		old[o.name] = o
	}
	var changes []Change
	for _, o := range after {
		was, exists := old[o.name]
		delete(old, o.name)
		switch attrs := attrDiff(was.attrs, o.attrs); {
		case !exists:
			changes = append(changes, Change{Add, o.name, attrs})
		case len(attrs) > 0:
			changes = append(changes, Change{Modify, o.name, attrs})
		}
	}
	for _, o := range before {
		if _, gone := old[o.name]; gone {
			changes = append(changes, Change{Remove, o.name, attrDiff(o.attrs, nil)})
		}
	}
	return changes
}

// object is one thing on a host, flattened to text so that all of them are
// compared and printed in the same way.
type object struct {
	name  string
	attrs map[string]string
}

// set gives the object an attribute. Names and values are a host's to choose,
// and what they go to may be a terminal.
func (o object) set(name, value string) {
	if value != "" {
		o.attrs[printable.Line(name)] = printable.Line(value)
	}
}

func (o object) setAll(prefix string, values map[string]string) {
	for k, v := range values {
		o.set(prefix+k, v)
	}
}

func newObject(name string) object {
	return object{printable.Line(name), make(map[string]string)}
}

func attrDiff(before, after map[string]string) []Attr {
	names := make([]string, 0, len(before)+len(after))
	names = slices.AppendSeq(names, maps.Keys(before))
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var attrs []Attr
	if len(before) == 0 || len(after) == 0 {
		attrs = slices.Grow(attrs, len(names)) // all of them differ
	}
	for _, name := range names {
		if before[name] != after[name] {
			attrs = append(attrs, Attr{name, before[name], after[name]})
		}
	}
	return attrs
}

func (s HostState) objects() []object {
	var all []object
	if s.OVS != nil {
		all = append(all, s.OVS.objects()...)
	}
	if s.Links != nil {
		all = append(all, s.Links.object())
	}
	if s.Boot != nil {
		all = append(all, s.Boot.objects()...)
	}
	if s.Docker != nil {
		all = append(all, s.Docker.objects()...)
	}
	return all
}

func (s *OVS) objects() []object {
	var all []object
	if s.Name != "" {
		all = s.Bridge.objects()
	}
	for _, b := range s.Access {
		all = append(all, b.objects()...)
	}
	return all
}

func (s *Bridge) objects() []object {
	bridge := newObject("bridge " + s.Name)
	bridge.set("datapath", s.DatapathType)
	switch {
	case s.RSTP && s.STP:
		bridge.set("tree", "rstp and stp")
	case s.RSTP:
		bridge.set("tree", "rstp")
	case s.STP:
		bridge.set("tree", "stp")
	default:
		bridge.set("tree", "off")
	}
	bridge.set("mtu", number(s.MTU))
	if len(s.LocalVLANs) > 0 {
		bridge.set("vlans of its own port", strings.Trim(fmt.Sprint(s.LocalVLANs), "[]"))
	}
	bridge.setAll("", s.OtherConfig)
	bridge.setAll("", s.ExternalIDs)
	all := []object{bridge}
	for _, p := range slices.Concat(s.Ports, s.Patches) {
		attrs := 2 + len(p.OtherConfig) + len(p.ExternalIDs) + len(p.Options) + len(p.BFD)
		port := object{printable.Line("port " + p.Name), make(map[string]string, attrs)} // a large fabric has many
		port.set("type", p.Type)
		if p.Tag != nil {
			port.set("tag", strconv.Itoa(*p.Tag))
		}
		port.setAll("", p.OtherConfig)
		port.setAll("", p.ExternalIDs)
		port.setAll("", p.Options)
		port.setAll("bfd ", p.BFD)
		all = append(all, port)
	}
	return all
}

func (s *Links) object() object {
	link := newObject("link " + s.Name)
	link.set("owner", s.Owner)
	link.set("mac", s.MAC)
	link.set("mtu", number(s.MTU))
	link.set("address", prefix(s.Address))
	link.set("member", s.Member)
	if s.Owner != "" { // the carrier of dockerd's own bridge comes and goes with its containers
		link.set("up", strconv.FormatBool(s.Up))
	}
	return link
}

func (s *Boot) objects() []object {
	var all []object
	if s.Program != "" {
		program := newObject("program fabric")
		program.set("build", s.Program[:min(12, len(s.Program))])
		all = append(all, program)
	}
	for _, f := range s.Files {
		file := newObject("file " + f.Path)
		sum := sha256.Sum256([]byte(f.Content))
		file.set("sha256", hex.EncodeToString(sum[:6]))
		file.set("mode", fmt.Sprintf("%04o", f.Mode))
		all = append(all, file)
	}
	return all
}

func (s *Docker) objects() []object {
	config := newObject("daemon.json")
	config.set("bip", s.Config.BIP)
	config.set("bridge", s.Config.Bridge)
	config.set("fixed-cidr", s.Config.FixedCIDR)
	config.set("mtu", number(s.Config.MTU))
	if s.Foreign {
		config.set("made by", "hand")
	}
	if s.Live == (DockerLive{}) {
		return []object{config}
	}
	live := newObject("dockerd's default network")
	live.set("bridge", s.Live.Bridge)
	if s.Live.Gateway.IsValid() {
		live.set("gateway", s.Live.Gateway.String())
	}
	live.set("pool", prefix(s.Live.Pool))
	live.set("mtu", number(s.Live.MTU))
	return []object{config, live}
}

func number(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

func prefix(p netip.Prefix) string {
	if !p.IsValid() {
		return ""
	}
	return p.String()
}

// String prints a change on one line, as "~ link docker0: mtu 1500 → 1450".
func (c Change) String() string {
	var b strings.Builder
	b.WriteString(string(c.Op) + " " + c.Object)
	for i, a := range c.Attrs {
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(a.Name)
		b.WriteByte(' ')
		b.WriteString(a.values(c.Op))
	}
	return b.String()
}

func (a Attr) values(op Op) string {
	absent := func(s string) string {
		if s == "" {
			return "(none)"
		}
		return s
	}
	switch op {
	case Add:
		return a.After
	case Remove:
		return a.Before
	default:
		return absent(a.Before) + " → " + absent(a.After)
	}
}
