package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/topology"
)

// OrAdopt ends the cure of an obstacle that an adoption does away with.
const OrAdopt = "; or take it over: fabric apply --adopt"

// named is the wanted bridge with the names that its ports have already: a
// port of the same kind to the same peer stays, whatever it was called by
// hand, since Open vSwitch cannot rename one.
func (s *OVS) named(observed *OVS) *OVS {
	if observed == nil {
		return s
	}
	for i := range s.Ports {
		at := slices.IndexFunc(observed.Ports, func(p Port) bool { return p.serves(s.Ports[i]) })
		if at < 0 {
			continue
		}
		name := observed.Ports[at].Name
		if !slices.ContainsFunc(s.Ports, func(p Port) bool { return p.Name == name }) {
			s.Ports[i].Name = name
		}
	}
	slices.SortFunc(s.Ports, func(a, b Port) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// serves says whether an observed port is a tunnel of the wanted kind to the
// wanted peer: by its mark, or without one by where it leads.
func (p Port) serves(want Port) bool {
	if p.Type != want.Type {
		return false
	}
	if p.ExternalIDs[OwnerKey] != "" {
		return p.ExternalIDs[PeerKey] == want.ExternalIDs[PeerKey]
	}
	has, err := netip.ParseAddr(p.Options["remote_ip"])
	return err == nil && has.String() == want.Options["remote_ip"]
}

// Adoptable is the range and the address that a host was given by hand, as
// far as they are in the fabric's network; zero where there are none to keep.
func (o Observation) Adoptable(network netip.Prefix) (pool netip.Prefix, address netip.Addr) {
	if o.State.Docker == nil || !o.State.Docker.Foreign {
		return netip.Prefix{}, netip.Addr{}
	}
	pool, err := netip.ParsePrefix(o.State.Docker.Config.FixedCIDR)
	if err != nil || pool.Bits() <= network.Bits() || !network.Contains(pool.Addr()) {
		return netip.Prefix{}, netip.Addr{}
	}
	if l := o.State.Links; l != nil {
		address = l.Address.Addr()
	}
	return pool.Masked(), address
}

// movedByAdoption warns that the tree moves: a tree made by hand knows nothing
// of the steps that spare traffic from it.
func movedByAdoption(was, root string, protocol topology.Protocol) string {
	outage := "some seconds"
	if protocol == topology.STP {
		outage = fmt.Sprintf("up to %d s", outageSTP/1000)
	}
	return fmt.Sprintf("%s is the root of the tree that was made by hand, and %s is to be: traffic between hosts stops for %s; with tree.root: %[1]s it stays where it is", was, root, outage)
}
