package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/topology"
)

// DefaultNetwork is the name of the network that is Docker's default bridge.
const DefaultNetwork = "default"

// edgeKey makes a port an edge of the tree: it forwards at once, and causes no
// topology change (802.1D-2004 17.13.1). Classic STP in Open vSwitch has no such
// ports: there it listens and learns first.
const edgeKey = "rstp-port-admin-edge"

// HeldEdge is the other_config with which an edge port has to be made. Open vSwitch
// brings a new port up before it takes it for an edge, and then waits for three
// seconds (edgeDelayWhile, 802.1D-2004 17.25). One that is held out of the tree is
// an edge at once, and forwards as soon as it is let in. It is false for all other
// ports.
func (p Port) HeldEdge() (config map[string]string, is bool) {
	if p.OtherConfig[edgeKey] != "true" {
		return nil, false
	}
	return p.held().OtherConfig, true
}

// IsHeld tells whether a port is held out of the tree.
func (p Port) IsHeld() bool { return p.OtherConfig[holdKey] == "false" }

// noVLAN is what the trunk's own internal port is restricted to: a VLAN that no
// frame has (IEEE 802.1Q table 9-2). So it neither takes nor gives one. What a
// set-up of before the fabric has put back into a Linux bridge at boot would else
// make a loop through the access bridge.
const noVLAN = 4095

// untagged is the VLAN of the default network. An access port of VLAN 0 takes
// and sends frames without a tag, and drops those with one.
const untagged = 0

// AccessName is the access bridge of a network: a bridge of Open vSwitch without
// a tree, joined to the trunk by a pair of patch ports. Its internal port is the
// member of the network's Linux bridge.
//
// The trunk's own internal port cannot be that. It takes no part in the tree, and
// Open vSwitch floods no frame to such a port: since 4.0.0, and since mid-2026 on
// older branches, at every reconfiguration; before, if the port is newer than the
// tree (bundle_update and bundle_add_port in ofproto/ofproto-dpif.c).
func AccessName(network string) string { return deviceName("fab-", network) }

// trunkPatch and accessPatch are the ends of the pair that joins a network's
// access bridge to the trunk.
func trunkPatch(network string) string  { return "patch-" + network }
func accessPatch(network string) string { return "trunk-" + network }

// Members lists the links of Open vSwitch that Docker's bridge may have as a
// member. The trunk is one where an older build has applied the fabric. Both at
// once would be a loop.
func Members() []string { return []string{AccessName(DefaultNetwork), BridgeName} }

// deviceName is the prefix and the name, at most 15 bytes as Linux has it for
// interfaces: the end of a longer name becomes a part of its hash.
func deviceName(prefix, name string) string {
	const maxLen = 15
	if len(prefix)+len(name) <= maxLen {
		return prefix + name
	}
	sum := sha256.Sum256([]byte(name))
	return prefix + name[:maxLen-len(prefix)-6] + hex.EncodeToString(sum[:3])
}

// accessMAC is the locally administered address of an access bridge. Its third
// byte tells fabrics apart, its fourth networks, and the last two hosts.
func accessMAC(fabric, network string, id int) net.HardwareAddr {
	mac := bridgeMAC(fabric, id)
	mac[1] = accessMark
	mac[3] = sha256.Sum256([]byte(network))[0]
	return mac[:]
}

// accessMark is the second byte of the address of each access bridge.
const accessMark = 0xfb

// join adds a network's access bridge, and the pair of patch ports between it
// and the trunk.
func (s *OVS) join(fabric, network string, id, tag int) {
	mark := func() map[string]string { return map[string]string{OwnerKey: fabric, NetworkKey: network} }
	patch := func(name, peer string) Port {
		return Port{
			Name: name, Type: "patch", OtherConfig: map[string]string{}, ExternalIDs: mark(),
			Options: map[string]string{"peer": peer}, BFD: map[string]string{},
		}
	}
	here := patch(trunkPatch(network), accessPatch(network))
	here.Tag = &tag
	if s.RSTP {
		here.OtherConfig[edgeKey] = "true"
	}
	key := s.numberKey()
	here.OtherConfig[key] = s.lastFree(key)
	s.Patches = append(s.Patches, here)
	s.Access = append(s.Access, Bridge{
		Name: AccessName(network), DatapathType: s.DatapathType, MTU: s.MTU,
		OtherConfig: map[string]string{"hwaddr": accessMAC(fabric, network, id).String()},
		ExternalIDs: mark(), Ports: []Port{}, Patches: []Port{patch(accessPatch(network), trunkPatch(network))},
	})
}

// numberKey is the setting that numbers a port in the tree.
func (s *OVS) numberKey() string {
	if s.STP {
		return stpNumberKey
	}
	return rstpNumberKey
}

// lastFree is the highest port number that no port of the trunk has. Tunnels are
// numbered from the first one on.
func (s *OVS) lastFree(key string) string {
	taken := make(map[string]bool)
	for _, p := range slices.Concat(s.Ports, s.Patches) {
		taken[p.OtherConfig[key]] = true
	}
	protocol := topology.RSTP
	if s.STP {
		protocol = topology.STP
	}
	n := protocol.MaxPorts()
	for taken[strconv.Itoa(n)] {
		n--
	}
	return strconv.Itoa(n)
}

// joined is the bridge with the access bridges of another one that it lacks. Its
// packets stay as large as they are.
//
// With STP, Open vSwitch numbers all ports or none: a bridge of which only some
// have a number loses its tree (bridge_configure_stp in vswitchd/bridge.c). So
// ports that it numbered itself keep their numbers as settings.
func (s *OVS) joined(want *OVS) *OVS {
	c := s.clone()
	for i, p := range c.Ports {
		if c.STP && p.OtherConfig[stpNumberKey] == "" && p.Number != 0 {
			c.Ports[i] = p.with(stpNumberKey, p.stpNumber())
		}
	}
	for _, b := range want.Access {
		if !slices.ContainsFunc(c.Access, func(has Bridge) bool { return has.Name == b.Name }) {
			c.Access = append(c.Access, b)
		}
	}
	for _, p := range want.Patches {
		if slices.ContainsFunc(c.Patches, func(has Port) bool { return has.Name == p.Name }) {
			continue
		}
		taken := slices.ContainsFunc(c.Ports, func(has Port) bool {
			return has.OtherConfig[stpNumberKey] == p.OtherConfig[stpNumberKey]
		})
		if c.STP && (taken || p.OtherConfig[stpNumberKey] == "") {
			p = p.with(stpNumberKey, c.lastFree(stpNumberKey))
		}
		c.Patches = append(c.Patches, p)
	}
	slices.SortFunc(c.Access, func(a, b Bridge) int { return strings.Compare(a.Name, b.Name) })
	sortPorts(c.Patches)
	c.setMTU(s.MTU)
	return c
}

// open is the bridge with an internal port that takes part in every VLAN.
func (s *OVS) open() *OVS {
	c := s.clone()
	c.LocalVLANs = nil
	return c
}

// setMTU has all bridges carry packets of so many bytes.
func (s *OVS) setMTU(mtu int) {
	s.MTU = mtu
	s.Access = slices.Clone(s.Access)
	for i := range s.Access {
		s.Access[i].MTU = mtu
	}
}

// trunk is the trunk as it was observed: nil where there is none, though access
// bridges of the fabric may be left.
func (h Host) trunk() *OVS {
	if h.From.OVS == nil || h.From.OVS.Name == "" {
		return nil
	}
	return h.From.OVS
}

// migrates tells whether the host's containers are joined to a trunk that is there
// by another link than they are to be.
func (h Host) migrates() bool {
	from, to := h.From.Links, h.Desired.Links
	return !h.Removed && h.trunk() != nil && from != nil && to != nil && from.Member != "" && from.Member != to.Member
}

// accessFirst puts a step before all others of a fabric that is there: the
// access bridges that it lacks stand, and nothing uses them yet. With STP their
// patch ports listen and learn meanwhile. In a step after all others the trunk's own
// port goes out of use. A tree that changes its protocol, and so
// carries nothing for a while, is not waited for.
func (p *Plan) accessFirst() {
	otherTree := func(h Host) bool {
		return h.migrates() && (h.trunk().STP != h.Desired.OVS.STP || h.trunk().RSTP != h.Desired.OVS.RSTP)
	}
	if p.begins || !slices.ContainsFunc(p.Hosts, Host.migrates) || slices.ContainsFunc(p.Hosts, otherTree) {
		return
	}
	staying := 0
	var patched Placed
	for _, h := range p.Hosts {
		if h.Removed || h.trunk() == nil {
			continue
		}
		staying++
		if !h.migrates() {
			continue
		}
		for _, port := range h.Desired.OVS.Patches {
			patched = append(patched, Tunnel{h.Name, port.Name})
		}
	}
	stand := p.step("access bridges stand", func(h Host) HostState {
		s := h.From
		if h.migrates() {
			s.OVS = h.trunk().joined(h.Desired.OVS)
		}
		return s
	})
	use := p.step("containers are joined by them", func(h Host) HostState { return h.Desired }, p.last...)
	steps := append(slices.Clone(p.steps), use)
	// The trunk's own port is needed until the containers have another.
	for _, s := range steps {
		for _, h := range p.Hosts {
			if state, takesPart := s.States[h.Name]; takesPart && h.migrates() {
				state.OVS = state.OVS.open()
				s.States[h.Name] = state
			}
		}
	}
	steps[0].Await = append([]Condition{patched}, steps[0].Await...)
	p.take(append([]Step{stand}, steps...))
	for _, h := range p.Hosts {
		if h.migrates() && staying > 1 {
			p.Moves = append(p.Moves, Move{
				Host: h.Name, Behind: []string{h.Name}, Pairs: staying - 1, OutageMS: stepOutage, Joins: true,
				Why: fmt.Sprintf("moves its %s from %s to %s", h.Desired.Links.Name, h.From.Links.Member, h.Desired.Links.Member) + inSteps,
			})
		}
	}
}
