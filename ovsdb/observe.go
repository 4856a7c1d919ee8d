package ovsdb

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// state returns the fabric's bridges, nil where there is none.
func state(have *snapshot, fabric string) *plan.OVS {
	own := have.own(fabric)
	if len(own) == 0 {
		return nil
	}
	ovs := new(plan.OVS)
	for _, b := range own {
		if described := describe(have, b, fabric); b.Name == plan.BridgeName {
			ovs.Bridge = described
		} else {
			ovs.Access = append(ovs.Access, described)
		}
	}
	return ovs
}

// describe returns a bridge of the fabric's in the terms of a plan.
func describe(have *snapshot, bridge *vswitch.Bridge, fabric string) plan.Bridge {
	described := plan.Bridge{
		Name:         bridge.Name,
		DatapathType: bridge.DatapathType,
		STP:          bridge.STPEnable,
		RSTP:         bridge.RSTPEnable,
		OtherConfig:  only(bridge.OtherConfig, plan.OwnedBridgeOtherConfig),
		ExternalIDs:  only(bridge.ExternalIDs, plan.OwnedBridgeExternalIDs),
		Ports:        []plan.Port{},
	}
	if local := have.local(bridge); local != nil {
		described.MTU = mtu(local)
	}
	if p := have.localPort(bridge); p != nil && len(p.Trunks) > 0 {
		described.LocalVLANs = slices.Sorted(slices.Values(p.Trunks))
	}
	own, _ := have.divide(bridge, fabric)
	for _, p := range own {
		port := plan.Port{
			Name:        p.Name,
			Tag:         p.Tag,
			OtherConfig: only(p.OtherConfig, plan.OwnedPortOtherConfig),
			ExternalIDs: only(p.ExternalIDs, plan.OwnedPortExternalIDs),
			Options:     map[string]string{},
			BFD:         map[string]string{},
		}
		if p.ExternalIDs[plan.OwnerKey] == "" {
			port.Number = stpNumber(p)
		}
		// A port that somebody made a bond has no type, which is never wanted.
		if i := have.single(p); i != nil {
			port.Type = i.Type
			maps.Copy(port.Options, i.Options)
			maps.Copy(port.BFD, i.BFD)
		}
		if port.Type == patchType {
			described.Patches = append(described.Patches, port)
		} else {
			described.Ports = append(described.Ports, port)
		}
	}
	return described
}

// patchType is the type of an interface that leads to another bridge of the same
// switch.
const patchType = "patch"

// stpNumber is the number of a port in STP, the lower byte of its identifier
// (802.1D-1998 8.5.5.1); 0 where there is none.
func stpNumber(p vswitch.Port) int {
	id, err := strconv.ParseUint(p.Status["stp_port_id"], 10, 16)
	if err != nil {
		return 0
	}
	return int(id & 0xff)
}

// only returns the entries of a map column that the fabric owns.
func only(column map[string]string, owned []string) map[string]string {
	kept := make(map[string]string)
	for _, key := range owned {
		if value, ok := column[key]; ok {
			kept[key] = value
		}
	}
	return kept
}

func version(have *snapshot) string {
	if have.root.OVSVersion == nil { // ovs-ctl writes it, ovs-vswitchd does not
		return ""
	}
	return *have.root.OVSVersion
}

func netdevBridges(have *snapshot, fabric string) []string {
	names := []string{}
	for _, b := range have.bridges {
		if b.DatapathType == "netdev" && !have.mine(&b, fabric) {
			names = append(names, b.Name)
		}
	}
	return names
}

// obstacles returns the rows that are in the fabric's way.
func obstacles(have *snapshot, q plan.Query) []plan.Obstacle {
	var found []plan.Obstacle
	for _, name := range bridgeNames(q) {
		if b := have.bridge(name); b != nil && !have.mine(b, q.Fabric) {
			found = append(found, foreignBridge(have, b, q))
		}
	}
	found = append(found, takenPorts(have, q)...)
	for _, b := range have.bridges {
		for _, p := range have.portsOf(&b) {
			mayStay := p.ExternalIDs[plan.OwnerKey] == q.Fabric || have.adoptable(&b, q.Members)
			if b.Name == plan.BridgeName && mayStay { // the whole bridge has been named, where it is not to be adopted
				continue
			}
			for _, i := range have.interfacesOf(p) {
				if !sameTunnel(i, q) {
					continue
				}
				found = append(found, plan.Obstacle{
					What: fmt.Sprintf("bridge %s has a %s tunnel to %s already (port %s, key %s)",
						b.Name, i.Type, i.Options["remote_ip"], p.Name, cmp.Or(i.Options["key"], "none")),
					Cure: fmt.Sprintf("ovs-vsctl del-port %s %s, or take another type, port or key for the fabric", b.Name, p.Name),
				})
			}
		}
	}
	return found
}

// bridgeNames are the bridges that the fabric has, or is to have.
func bridgeNames(q plan.Query) []string {
	if len(q.Bridges) == 0 { // a journal of an older build
		return []string{plan.BridgeName}
	}
	return q.Bridges
}

// takenPorts finds the ports of others that have the name of one of the fabric's,
// since names are unique in the whole database, and patch ports of others that
// lead to one of the fabric's.
func takenPorts(have *snapshot, q plan.Query) []plan.Obstacle {
	wanted := slices.Concat(bridgeNames(q), q.Ports)
	var found []plan.Obstacle
	for _, b := range have.bridges {
		if slices.Contains(bridgeNames(q), b.Name) && !have.mine(&b, q.Fabric) { // named as a whole
			continue
		}
		for _, p := range have.portsOf(&b) {
			if have.mine(&b, q.Fabric) && (p.Name == b.Name || p.ExternalIDs[plan.OwnerKey] == q.Fabric || have.leadsTo(p, have.members)) {
				continue
			}
			if p.Name != b.Name && slices.Contains(wanted, p.Name) {
				found = append(found, plan.Obstacle{
					What: fmt.Sprintf("port %s of bridge %s is not the fabric's, and has the name of one that is", p.Name, b.Name),
					Cure: fmt.Sprintf("ovs-vsctl del-port %s %s, or give it another name", b.Name, p.Name),
				})
			}
			for _, i := range have.interfacesOf(p) {
				if peer := i.Options["peer"]; i.Type == patchType && slices.Contains(q.Ports, peer) {
					found = append(found, plan.Obstacle{
						What: fmt.Sprintf("port %s of bridge %s is a patch to %s, which is the fabric's", p.Name, b.Name, peer),
						Cure: fmt.Sprintf("ovs-vsctl del-port %s %s, or let it lead elsewhere", b.Name, p.Name),
					})
				}
			}
		}
	}
	return found
}

func foreignBridge(have *snapshot, bridge *vswitch.Bridge, q plan.Query) plan.Obstacle {
	owner := "is not the fabric's"
	if other := bridge.ExternalIDs[plan.OwnerKey]; other != "" {
		owner = fmt.Sprintf("belongs to fabric %q, not to %q", other, q.Fabric)
	}
	ports := "no ports"
	var names []string
	for _, p := range have.portsOf(bridge) {
		if p.Name != bridge.Name {
			names = append(names, p.Name)
		}
	}
	if len(names) > 0 {
		ports = "ports " + strings.Join(names, ", ")
	}
	cure := fmt.Sprintf("move its ports to a bridge of another name, then ovs-vsctl del-br %s", bridge.Name)
	if bridge.Name == plan.BridgeName && have.adoptable(bridge, q.Members) {
		cure += plan.OrAdopt
	}
	return plan.Obstacle{What: fmt.Sprintf("bridge %s exists and %s (%s)", bridge.Name, owner, ports), Cure: cure}
}

// sameTunnel says whether an interface may be one that Open vSwitch cannot
// tell from a tunnel of the fabric: it receives by remote address, key, and
// type, for which the UDP port stands where there is one (struct tnl_match in
// ofproto/tunnel.c). The query does not tell the key, so any fixed one counts.
func sameTunnel(i vswitch.Interface, q plan.Query) bool {
	remote, err := netip.ParseAddr(i.Options["remote_ip"])
	if err != nil || !slices.Contains(q.Peers, remote) { // "flow", or a name
		return false
	}
	if i.Options["key"] == "flow" || i.Options["in_key"] == "flow" {
		return false
	}
	if i.Type == "gre" {
		return q.TunnelPort == 0
	}
	port := tunnelPort(i)
	return port != 0 && port == q.TunnelPort
}

// tunnelPort is the UDP port of a tunnel, 0 for an interface that has none.
func tunnelPort(i vswitch.Interface) uint16 {
	standard := map[string]string{"vxlan": "4789", "geneve": "6081"}[i.Type]
	if standard == "" {
		return 0
	}
	port, err := strconv.ParseUint(cmp.Or(i.Options["dst_port"], standard), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// spares lists the ports that could be proposed for the tunnels and that
// tunnels of others have. Two fabrics, or kinds of tunnels, could share one;
// to propose it asks for the clashes that sameTunnel is about.
func spares(have *snapshot, q plan.Query) []plan.UDPPort {
	var held []plan.UDPPort
	for _, b := range have.bridges {
		for _, p := range have.portsOf(&b) {
			if b.Name == plan.BridgeName && p.ExternalIDs[plan.OwnerKey] == q.Fabric {
				continue
			}
			for _, i := range have.interfacesOf(p) {
				if port := tunnelPort(i); port != q.TunnelPort && slices.Contains(plan.SparePorts, port) {
					held = append(held, plan.UDPPort{
						Port: port, By: fmt.Sprintf("port %s of bridge %s in Open vSwitch", p.Name, b.Name),
						Cure: fmt.Sprintf("ovs-vsctl del-port %s %s", b.Name, p.Name),
					})
				}
			}
		}
	}
	return held
}
