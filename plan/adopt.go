package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ovsfabric/fabric/topology"
)

// OrAdopt ends the cure of an obstacle that an adoption does away with.
const OrAdopt = "; or take it over: fabric apply --adopt"

// named is the wanted bridge with the names, and the numbers in STP, that its
// ports have already: a port of the same kind to the same peer stays, whatever
// it was called by hand. Open vSwitch cannot rename one, and has one of another
// number listen and learn anew (set_stp_port in ofproto/ofproto-dpif.c).
func (s *OVS) named(observed *OVS) *OVS {
	if observed == nil {
		return s
	}
	kept := make(map[int]string) // numbers
	for i := range s.Ports {
		there, found := observed.serving(s.Ports[i])
		if !found {
			continue
		}
		if !slices.ContainsFunc(s.Ports, func(p Port) bool { return p.Name == there.Name }) {
			s.Ports[i].Name = there.Name
		}
		if number := there.stpNumber(); s.STP && number != "" {
			kept[i] = number
		}
	}
	s.number(kept)
	sortPorts(s.Ports)
	return s
}

const (
	stpNumberKey  = "stp-port-num"
	rstpNumberKey = "rstp-port-num"
)

// stpNumber is the number of an observed port in STP, "" for none.
func (p Port) stpNumber() string {
	if p.Number != 0 {
		return strconv.Itoa(p.Number)
	}
	return p.OtherConfig[stpNumberKey]
}

// number gives ports the numbers that they have, by index, and all others
// whose number that is the first one that is free.
func (s *OVS) number(kept map[int]string) {
	if len(kept) == 0 {
		return
	}
	taken := make(map[string]bool)
	for i, number := range kept {
		s.Ports[i] = s.Ports[i].with(stpNumberKey, number)
		taken[number] = true
	}
	for i, p := range s.Ports {
		if _, has := kept[i]; !has && !taken[p.OtherConfig[stpNumberKey]] {
			taken[p.OtherConfig[stpNumberKey]] = true
			kept[i] = p.OtherConfig[stpNumberKey]
		}
	}
	next := 1
	for i, p := range s.Ports {
		if _, has := kept[i]; has {
			continue
		}
		for taken[strconv.Itoa(next)] {
			next++
		}
		taken[strconv.Itoa(next)] = true
		s.Ports[i] = p.with(stpNumberKey, strconv.Itoa(next))
	}
	for i, p := range s.Patches {
		if taken[p.OtherConfig[stpNumberKey]] {
			s.Patches[i] = p.with(stpNumberKey, s.lastFree(stpNumberKey))
		}
	}
}

// adopts tells whether the bridge was made by hand and becomes the fabric's.
func (h Host) adopts() bool {
	return h.trunk() != nil && h.trunk().ExternalIDs[OwnerKey] == "" && h.Desired.OVS != nil
}

// keep gives a key the value that it has, or takes it out where it has none.
func keep(wanted, has map[string]string, key string) {
	delete(wanted, key)
	if value, ok := has[key]; ok {
		wanted[key] = value
	}
}

// rootFirst has the root of an adopted tree of STP take its identity before the
// others: one of them that took a better one sooner would be the root meanwhile,
// and ports would listen and learn twice. Each other host's way to the root gets
// its cost last: Open vSwitch sets one port after the other, and would choose
// another way before it has set that one's.
func (p *Plan) rootFirst() {
	known := RootKnown{}
	for _, h := range p.Hosts {
		if h.Removed || h.trunk() == nil {
			continue
		}
		known.By = append(known.By, h.Name)
		if h.Name == p.Tree.Root {
			known.Root = h.Desired.OVS.treeBridge(h.Name)
		}
	}
	p.take([]Step{p.step("the root takes its identity", p.identified)}, known)
}

// identified is the host with what is desired, but for an identity and a way to the
// root that are still its own where it is not the root. One without a bridge joins
// when the others are done.
func (p *Plan) identified(h Host) HostState {
	if h.trunk() == nil {
		return h.From
	}
	s := h.Desired
	if h.Name == p.Tree.Root {
		return s
	}
	s.OVS = s.OVS.clone()
	for _, key := range []string{"stp-priority", "stp-system-id", "hwaddr"} { // the last stands for the address where that is not set
		keep(s.OVS.OtherConfig, h.trunk().OtherConfig, key)
	}
	parent := p.Tree.Node(h.Name).Parent
	for i, want := range s.OVS.Ports {
		if there, found := h.trunk().serving(want); found && want.ExternalIDs[PeerKey] == parent {
			want.OtherConfig = maps.Clone(want.OtherConfig)
			keep(want.OtherConfig, there.OtherConfig, "stp-path-cost")
			s.OVS.Ports[i] = want
		}
	}
	return s
}

// serving is the observed port that serves as a wanted one.
func (s *OVS) serving(want Port) (there Port, found bool) {
	at := slices.IndexFunc(s.Ports, func(p Port) bool { return p.serves(want) })
	if at < 0 {
		return Port{}, false
	}
	return s.Ports[at], true
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
