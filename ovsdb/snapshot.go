package ovsdb

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// A snapshot is the database at one moment.
type snapshot struct {
	root       vswitch.OpenvSwitch
	bridges    []vswitch.Bridge // sorted by name
	ports      map[string]vswitch.Port
	interfaces map[string]vswitch.Interface
	members    []netip.Addr // whose tunnels may be adopted; nil: no one's
}

func newSnapshot(root vswitch.OpenvSwitch, bridges []vswitch.Bridge, ports []vswitch.Port, interfaces []vswitch.Interface) *snapshot {
	s := &snapshot{
		root:       root,
		bridges:    bridges,
		ports:      make(map[string]vswitch.Port, len(ports)),
		interfaces: make(map[string]vswitch.Interface, len(interfaces)),
	}
	slices.SortFunc(s.bridges, func(a, b vswitch.Bridge) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range ports {
		s.ports[p.UUID] = p
	}
	for _, i := range interfaces {
		s.interfaces[i.UUID] = i
	}
	return s
}

// trunk returns the bridge that is called plan.BridgeName, whosever it is, or
// nil.
func (s *snapshot) trunk() *vswitch.Bridge { return s.bridge(plan.BridgeName) }

// bridge returns the bridge of a name, whosever it is, or nil.
func (s *snapshot) bridge(name string) *vswitch.Bridge {
	i := slices.IndexFunc(s.bridges, func(b vswitch.Bridge) bool { return b.Name == name })
	if i < 0 {
		return nil
	}
	return &s.bridges[i]
}

// own returns the bridges that are the fabric's, the trunk first and then the
// access bridges, sorted by name.
func (s *snapshot) own(fabric string) []*vswitch.Bridge {
	var own []*vswitch.Bridge
	if trunk := s.trunk(); trunk != nil && s.mine(trunk, fabric) {
		own = append(own, trunk)
	}
	for i := range s.bridges {
		if isAccess(&s.bridges[i], fabric) {
			own = append(own, &s.bridges[i])
		}
	}
	return own
}

// isAccess says whether a bridge is an access bridge of the fabric.
func isAccess(b *vswitch.Bridge, fabric string) bool {
	return b.Name != plan.BridgeName && b.ExternalIDs[plan.OwnerKey] == fabric && b.ExternalIDs[plan.NetworkKey] != ""
}

// portsOf returns the ports of a bridge, sorted by name.
func (s *snapshot) portsOf(b *vswitch.Bridge) []vswitch.Port {
	var ports []vswitch.Port
	for _, id := range b.Ports {
		if p, ok := s.ports[id]; ok {
			ports = append(ports, p)
		}
	}
	slices.SortFunc(ports, func(a, b vswitch.Port) int { return cmp.Compare(a.Name, b.Name) })
	return ports
}

// interfacesOf returns the interfaces of a port, sorted by name.
func (s *snapshot) interfacesOf(p vswitch.Port) []vswitch.Interface {
	var interfaces []vswitch.Interface
	for _, id := range p.Interfaces {
		if i, ok := s.interfaces[id]; ok {
			interfaces = append(interfaces, i)
		}
	}
	slices.SortFunc(interfaces, func(a, b vswitch.Interface) int { return cmp.Compare(a.Name, b.Name) })
	return interfaces
}

// local returns the internal interface of a bridge, or nil.
func (s *snapshot) local(b *vswitch.Bridge) *vswitch.Interface {
	if p := s.localPort(b); p != nil {
		return s.single(*p)
	}
	return nil
}

// localPort returns the internal port of a bridge, or nil.
func (s *snapshot) localPort(b *vswitch.Bridge) *vswitch.Port {
	for _, p := range s.portsOf(b) {
		if p.Name == b.Name {
			return &p
		}
	}
	return nil
}

// single returns the interface of a port that has one, of the port's name;
// nil for a bond.
func (s *snapshot) single(p vswitch.Port) *vswitch.Interface {
	interfaces := s.interfacesOf(p)
	if len(interfaces) != 1 || interfaces[0].Name != p.Name {
		return nil
	}
	return &interfaces[0]
}

// mine says whether a bridge is the fabric's, or may be adopted as its trunk.
func (s *snapshot) mine(b *vswitch.Bridge, fabric string) bool {
	return b.ExternalIDs[plan.OwnerKey] == fabric || b.Name == plan.BridgeName && s.adoptable(b, s.members)
}

// adoptable says whether somebody made a bridge by hand for what the fabric
// is: it is nobody's by its mark, and has tunnels to members of the fabric.
func (s *snapshot) adoptable(b *vswitch.Bridge, members []netip.Addr) bool {
	return b.ExternalIDs[plan.OwnerKey] == "" &&
		slices.ContainsFunc(s.portsOf(b), func(p vswitch.Port) bool { return s.leadsTo(p, members) })
}

// leadsTo says whether a port that is nobody's by its mark is a tunnel to one
// of the members.
func (s *snapshot) leadsTo(p vswitch.Port, members []netip.Addr) bool {
	i := s.single(p)
	if i == nil || p.ExternalIDs[plan.OwnerKey] != "" || !slices.Contains([]string{"gre", "vxlan", "geneve"}, i.Type) {
		return false
	}
	remote, err := netip.ParseAddr(i.Options["remote_ip"])
	return err == nil && slices.Contains(members, remote)
}

// divide returns the ports of a bridge that carry the fabric's mark or may be
// adopted, and the names of the others. The bridge's internal port is in
// neither.
func (s *snapshot) divide(b *vswitch.Bridge, fabric string) (own []vswitch.Port, foreign []string) {
	for _, p := range s.portsOf(b) {
		switch {
		case p.Name == b.Name:
		case p.ExternalIDs[plan.OwnerKey] == fabric, s.leadsTo(p, s.members):
			own = append(own, p)
		default:
			foreign = append(foreign, p.Name)
		}
	}
	return own, foreign
}
