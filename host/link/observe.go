package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

// snapshot is what the kernel said, before anything is made of it.
type snapshot struct {
	links     []netlink.Link
	addresses []address
	routes    []plan.Route // unicast, main table, without the default
	sockets   []socket     // UDP
}

// Observe looks at the bridge q.DockerBridge, the routes, and the way to each
// of q.Peers, and names what is in the way. It needs no privilege.
func (*Resource) Observe(ctx context.Context, q plan.Query, o *plan.Observation) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	defer h.Close()

	s, err := h.snapshot()
	if err != nil {
		return err
	}
	o.State.Links = s.describe(s.bridgeOf(q), q.Network)
	o.Facts.Routes = s.foreignRoutes(q.DockerBridge)
	o.Facts.Underlay = nil
	for _, peer := range slices.SortedFunc(slices.Values(q.Peers), netip.Addr.Compare) {
		p, err := h.path(peer, s)
		if err != nil {
			return err
		}
		o.Facts.Underlay = append(o.Facts.Underlay, p)
	}
	o.Facts.UDP = append(o.Facts.UDP, s.ports(q)...)
	slices.SortStableFunc(o.Facts.UDP, func(a, b plan.UDPPort) int { return cmp.Compare(a.Port, b.Port) })
	privileged, err := mayAdministrate()
	if err != nil {
		return err
	}
	if !privileged {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: "no permission to change network links",
			Cure: "log in as root, or set ssh.sudo: true and let the user run sudo without a password",
		})
	}
	o.Obstacles = append(o.Obstacles, s.obstacles(q)...)
	o.Obstacles = append(o.Obstacles, pathObstacles(o.Facts.Underlay)...)
	return nil
}

func (h rtnl) snapshot() (snapshot, error) {
	var s snapshot
	var err error
	if s.links, err = h.links(); err != nil {
		return s, err
	}
	if s.addresses, err = h.addresses(nil); err != nil {
		return s, err
	}
	if s.sockets, err = sockets(); err != nil {
		return s, err
	}
	routes, err := dump(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_V4,
			&netlink.Route{Table: unix.RT_TABLE_MAIN, Type: unix.RTN_UNICAST},
			netlink.RT_FILTER_TABLE|netlink.RT_FILTER_TYPE)
	})
	if err != nil {
		return s, fmt.Errorf("list routes: %w", err)
	}
	for _, r := range routes {
		p, ok := prefix(r.Dst)
		if !ok || p.Bits() == 0 {
			continue
		}
		s.routes = append(s.routes, plan.Route{Prefix: p, Device: s.name(r.LinkIndex)})
		for _, hop := range r.MultiPath {
			s.routes = append(s.routes, plan.Route{Prefix: p, Device: s.name(hop.LinkIndex)})
		}
	}
	s.routes = slices.DeleteFunc(s.routes, func(r plan.Route) bool { return r.Device == "" })
	return s, nil
}

// bridgeOf is the name of the bridge that carries the fabric's mark, or else
// the one that it shall have.
func (s snapshot) bridgeOf(q plan.Query) string {
	for _, l := range s.links {
		if m, marked := parseMark(l.Attrs().Alias); marked && m.owner == q.Fabric {
			return l.Attrs().Name
		}
	}
	return q.DockerBridge
}

// describe returns the Linux bridge of that name, nil if there is none.
//
// Of several addresses it tells the one that a plan has to know: one in the
// fabric's network that the fabric did not put there and that must go; then
// the fabric's own; then any in the network; then the first.
func (s snapshot) describe(name string, network netip.Prefix) *plan.Links {
	l := s.link(name)
	if l == nil || l.Type() != "bridge" {
		return nil
	}
	attrs := l.Attrs()
	m, _ := parseMark(attrs.Alias)
	links := &plan.Links{
		Name:    name,
		Owner:   m.owner,
		MAC:     attrs.HardwareAddr.String(),
		MTU:     attrs.MTU,
		Address: choose(s.on(l), m.addresses, network),
		Up:      isUp(l),
	}
	for _, name := range plan.Members() { // of two, the one that has to leave is told
		if member := s.link(name); member != nil && member.Attrs().MasterIndex == attrs.Index {
			links.Member = name
			links.Up = links.Up && isUp(member)
		}
	}
	return links
}

func choose(had, ours []netip.Prefix, network netip.Prefix) netip.Prefix {
	if len(had) == 0 {
		return netip.Prefix{}
	}
	return slices.MinFunc(had, func(a, b netip.Prefix) int {
		rank := func(p netip.Prefix) int {
			own, inside := slices.Contains(ours, p), network.Contains(p.Addr())
			switch {
			case inside && !own && len(ours) > 0:
				return 0
			case own:
				return 1
			case inside:
				return 2
			}
			return 3
		}
		return cmp.Compare(rank(a), rank(b))
	})
}

// foreignRoutes leaves out link-local routes and what leads into the fabric.
func (s snapshot) foreignRoutes(bridge string) []plan.Route {
	var routes []plan.Route
	for _, r := range s.routes {
		if r.Device == bridge || isMember(r.Device) || r.Prefix.Addr().IsLinkLocalUnicast() {
			continue
		}
		routes = append(routes, r)
	}
	slices.SortFunc(routes, func(a, b plan.Route) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()),
			cmp.Compare(a.Device, b.Device))
	})
	return slices.Compact(routes)
}

// path asks the kernel twice: plainly for the device and the source address
// that packets get, and for the table's entry itself for its MTU, because the
// plain answer carries a path MTU once learned, which comes and goes.
func (h rtnl) path(peer netip.Addr, s snapshot) (plan.Path, error) {
	none := plan.Path{Peer: peer}
	got, err := h.RouteGet(peer.AsSlice())
	if unreachable(err) || err == nil && len(got) == 0 {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("look up the route to %s: %w", peer, err)
	}
	entry, err := h.RouteGetWithOptions(peer.AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if unreachable(err) || err == nil && len(entry) == 0 {
		return none, nil
	}
	if err != nil {
		return none, fmt.Errorf("look up the route to %s: %w", peer, err)
	}
	i := slices.IndexFunc(s.links, func(l netlink.Link) bool { return l.Attrs().Index == got[0].LinkIndex })
	if i < 0 {
		return none, nil
	}
	device := s.links[i].Attrs()
	p := plan.Path{Peer: peer, Device: device.Name, MTU: device.MTU}
	if entry[0].MTU > 0 {
		p.MTU = min(p.MTU, entry[0].MTU)
	}
	if src, ok := netip.AddrFromSlice(got[0].Src); ok {
		p.Source = src.Unmap()
	}
	return p, nil
}

// unreachable tells the errors by which the kernel says that it has no way
// to an address; the latter two are prohibit and blackhole routes, ip-route(8).
func unreachable(err error) bool {
	return errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) ||
		errors.Is(err, unix.EACCES) || errors.Is(err, unix.EINVAL)
}

// mayAdministrate tells whether the thread has CAP_NET_ADMIN, capabilities(7).
func mayAdministrate() (bool, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false, fmt.Errorf("read capabilities: %w", err)
	}
	return data[0].Effective&(1<<unix.CAP_NET_ADMIN) != 0, nil
}

// link returns the link of that name, nil if there is none.
func (s snapshot) link(name string) netlink.Link {
	i := slices.IndexFunc(s.links, func(l netlink.Link) bool { return l.Attrs().Name == name })
	if i < 0 {
		return nil
	}
	return s.links[i]
}

func (s snapshot) name(index int) string {
	i := slices.IndexFunc(s.links, func(l netlink.Link) bool { return l.Attrs().Index == index })
	if i < 0 {
		return ""
	}
	return s.links[i].Attrs().Name
}

// on returns the addresses on a link in the kernel's order.
func (s snapshot) on(l netlink.Link) []netip.Prefix {
	var on []netip.Prefix
	for _, a := range s.addresses {
		if a.link == l.Attrs().Index {
			on = append(on, a.prefix)
		}
	}
	return on
}

func isUp(l netlink.Link) bool { return l.Attrs().RawFlags&unix.IFF_UP != 0 }
