package ovsdb

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/ovsdb/vswitch"
	"github.com/ovsfabric/fabric/plan"
)

// tree reads the status columns. Unlike statistics, which are some seconds
// old, they follow each change of a role, a state or the root at once
// (run_status_update in vswitchd/bridge.c).
func tree(have *snapshot, fabric string) (wire.TreeStatus, error) {
	bridge := have.trunk()
	if bridge == nil {
		return wire.TreeStatus{}, nil
	}
	// A bridge that is about to be adopted has a patch port with the fabric's mark
	// before it has that itself.
	marked := bridge.ExternalIDs[plan.OwnerKey] == fabric ||
		slices.ContainsFunc(have.portsOf(bridge), func(p vswitch.Port) bool { return p.ExternalIDs[plan.OwnerKey] == fabric })
	if !marked {
		return wire.TreeStatus{}, nil
	}
	return treeAt(have, bridge, fabric)
}

func treeAt(have *snapshot, bridge *vswitch.Bridge, fabric string) (wire.TreeStatus, error) {
	status := wire.TreeStatus{Ports: []wire.TreePort{}}
	var own, root, cost string
	switch {
	case bridge.RSTPEnable: // RSTP where both are on
		status.Protocol = "rstp"
		own, root = bridge.RSTPStatus["rstp_bridge_id"], bridge.RSTPStatus["rstp_root_id"]
		cost = bridge.RSTPStatus["rstp_root_path_cost"]
	case bridge.STPEnable:
		status.Protocol = "stp"
		own, root = bridge.Status["stp_bridge_id"], bridge.Status["stp_designated_root"]
		cost = bridge.Status["stp_root_path_cost"]
	}
	var err error
	if status.Bridge, err = bridgeID(own); err != nil {
		return wire.TreeStatus{}, err
	}
	if status.Root, err = bridgeID(root); err != nil {
		return wire.TreeStatus{}, err
	}
	if cost != "" {
		if status.RootPathCost, err = strconv.Atoi(cost); err != nil {
			return wire.TreeStatus{}, fmt.Errorf("root path cost of bridge %s: %w", bridge.Name, err)
		}
	}
	for _, p := range have.portsOf(bridge) {
		if p.Name != bridge.Name {
			status.Ports = append(status.Ports, treePort(have, p, status.Protocol, fabric))
		}
	}
	return status, nil
}

// handMadeRoot is the protocol of the tree whose root the bridge is, where it
// was made by hand and is to be adopted; else "".
func handMadeRoot(have *snapshot, q plan.Query) (string, error) {
	bridge := have.trunk()
	if !q.Adopt || bridge == nil || !have.adoptable(bridge, q.Members) {
		return "", nil
	}
	status, err := treeAt(have, bridge, q.Fabric)
	if err != nil || status.Bridge != status.Root {
		return "", err
	}
	return status.Protocol, nil
}

func treePort(have *snapshot, p vswitch.Port, protocol, fabric string) wire.TreePort {
	port := wire.TreePort{Name: p.Name}
	if p.ExternalIDs[plan.OwnerKey] == fabric {
		port.Peer, port.Network = p.ExternalIDs[plan.PeerKey], p.ExternalIDs[plan.NetworkKey]
	}
	switch protocol {
	case "rstp":
		port.Role = strings.ToLower(p.RSTPStatus["rstp_port_role"])
		port.State = strings.ToLower(p.RSTPStatus["rstp_port_state"])
	case "stp":
		port.Role = p.Status["stp_role"]
		port.State = p.Status["stp_state"]
	}
	if port.State == "blocking" || port.State == "listening" {
		port.State = "discarding"
	}
	i := have.single(p)
	if i == nil {
		return port
	}
	if i.LinkState != nil {
		port.Link = *i.LinkState
	}
	if i.Ofport != nil {
		port.OFPort = *i.Ofport
	}
	if i.Error != nil {
		port.Error = *i.Error
	}
	port.BFD = i.BFDStatus["state"]
	return port
}

// bridgeID reads an identifier as Open vSwitch writes it: the priority in
// hexadecimal and the MAC address, "8000.020000000001" from STP, and
// "8.000.020000000001" from RSTP, which sets the 12 bits of the system ID
// extension apart. "" is the zero identifier.
func bridgeID(s string) (wire.BridgeID, error) {
	if s == "" {
		return wire.BridgeID{}, nil
	}
	at := strings.LastIndexByte(s, '.')
	if at < 0 {
		return wire.BridgeID{}, fmt.Errorf("bridge identifier %q has no dot", s)
	}
	priority, err := strconv.ParseUint(strings.ReplaceAll(s[:at], ".", ""), 16, 16)
	if err != nil {
		return wire.BridgeID{}, fmt.Errorf("bridge identifier %q: %w", s, err)
	}
	mac, err := strconv.ParseUint(s[at+1:], 16, 48)
	if err != nil {
		return wire.BridgeID{}, fmt.Errorf("bridge identifier %q: %w", s, err)
	}
	address := make(net.HardwareAddr, 6)
	for i := range address {
		address[i] = byte(mac >> (8 * (5 - i)))
	}
	return wire.BridgeID{Priority: int(priority), MAC: address.String()}, nil
}
