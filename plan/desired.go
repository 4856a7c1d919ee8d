package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/topology"
)

// Bridge priorities, multiples of 4096 as 802.1D-2004 9.2.5 has them. The
// root and its backup win against any bridge that nobody configured.
const (
	rootPriority   = 4096
	backupPriority = 8192
	otherPriority  = 32768
)

// remoteIP is the option of a tunnel that names its other end.
const remoteIP = "remote_ip"

// maxAge is how many hops news of the root may go, in seconds as the tree
// counts them: more than twice the depth that the tree has after the worst
// single loss, so that it carries over further ones, and no more than that,
// since news of a lost root goes round for as long where loops remain. The
// least is Open vSwitch's (ovs-vswitchd.conf.db(5)).
func maxAge(worstDepth int) int {
	switch {
	case worstDepth <= 2:
		return 6
	case worstDepth <= 4:
		return 10
	}
	return defaultMaxAge
}

// bridgeMAC is the locally administered address that identifies a host's
// bridge: in the spanning tree, and as the address of the bridge itself.
// Fabrics of different names differ in it even where they share a wire.
func bridgeMAC(fabric string, id int) [6]byte {
	sum := sha256.Sum256([]byte(fabric))
	return [6]byte{0x02, 0xfa, sum[0], sum[1], byte(id >> 8), byte(id)}
}

// IsBridgeMAC tells whether an address is of a bridge of the named fabric. Of an
// access bridge one byte tells fabrics apart; a host is in one fabric.
func IsBridgeMAC(fabric string, mac net.HardwareAddr) bool {
	own := bridgeMAC(fabric, 0)
	if len(mac) != len(own) {
		return false
	}
	if mac[1] == accessMark {
		return mac[0] == own[0] && mac[2] == own[2]
	}
	return bytes.Equal(mac[:4], own[:4])
}

// dockerMAC is the address of the Linux bridge. It is set because a bridge
// without one takes the lowest of its members, which come and go. It is
// derived from the IPv4 address as dockerd does it for containers.
func dockerMAC(gateway netip.Addr) string {
	a := gateway.As4()
	return net.HardwareAddr{0x02, 0x42, a[0], a[1], a[2], a[3]}.String()
}

// portName is the name of the tunnel port to a peer. It contains the type, so
// that a port of another type can stand beside it.
func portName(t topology.TunnelType, peer string) string {
	return deviceName(map[topology.TunnelType]string{
		topology.VXLAN: "vx-", topology.GRE: "gre-", topology.Geneve: "gnv-",
	}[t], peer)
}

// portNumbers gives every neighbour a port number of its own, near its ID
// so that other hosts' comings and goings do not move it. Two ports of the
// same number would make Open vSwitch take one out of the tree. With RSTP
// each tunnel type starts elsewhere, so that a port of another type can
// stand beside the old one.
func portNumbers(t *topology.Topology, ids []int) map[int]uint16 {
	limit := t.Tree.Protocol.MaxPorts()
	if t.Tree.Protocol == topology.STP { // where a port of another number listens and learns anew
		limit = t.Tree.Protocol.MaxTunnels()
	}
	first := 0
	if t.Tree.Protocol == topology.RSTP {
		first = map[topology.TunnelType]int{topology.VXLAN: 0, topology.GRE: limit / 3, topology.Geneve: 2 * limit / 3}[t.Tunnel.Type]
	}
	numbers := make(map[int]uint16, len(ids))
	taken := make(map[uint16]bool, len(ids))
	for _, id := range slices.Sorted(slices.Values(ids)) {
		n := uint16((id-1+first)%limit + 1)
		for taken[n] {
			n = n%uint16(limit) + 1
		}
		numbers[id], taken[n] = n, true
	}
	return numbers
}

// network is a whole fabric, worked out before any host has been asked.
type network struct {
	topology *topology.Topology
	graph    *topology.Graph
	tree     *topology.Tree
	checked  topology.Checked
	hosts    map[string]topology.Host
	entries  map[string]ipam.Entry
	links    map[string][]topology.Link // by either end
	numbers  map[string]map[int]uint16  // host → peer's ID → port number
}

func newNetwork(t *topology.Topology, graph *topology.Graph, lock ipam.Lock) (*network, error) {
	if graph == nil {
		var err error
		if graph, err = t.Graph(); err != nil {
			return nil, err
		}
	}
	n := &network{
		topology: t,
		graph:    graph,
		hosts:    make(map[string]topology.Host, len(t.Hosts)),
		entries:  make(map[string]ipam.Entry, len(t.Hosts)),
		links:    make(map[string][]topology.Link, len(t.Hosts)),
		numbers:  make(map[string]map[int]uint16, len(t.Hosts)),
	}
	for _, h := range t.Hosts {
		n.hosts[h.Name] = h
	}
	for _, e := range lock.Hosts {
		n.entries[e.Name] = e
	}
	for _, l := range graph.Links {
		n.links[l.A] = append(n.links[l.A], l)
		n.links[l.B] = append(n.links[l.B], l)
	}
	bridges := make([]topology.Bridge, 0, len(t.Hosts))
	for _, h := range t.Hosts {
		if _, ok := n.entries[h.Name]; !ok {
			return nil, fmt.Errorf("hosts.%s has no range in the lock", h.Name)
		}
		bridges = append(bridges, topology.Bridge{
			Name: h.Name, Priority: n.priority(h.Name), MAC: n.mac(h.Name),
		})
		var ids []int
		for _, l := range n.links[h.Name] {
			ids = append(ids, n.entries[other(l, h.Name)].ID)
		}
		n.numbers[h.Name] = portNumbers(t, ids)
	}
	edges := make([]topology.Edge, 0, len(graph.Links))
	for _, l := range graph.Links {
		edges = append(edges, topology.Edge{
			A: l.A, B: l.B, CostA: l.Cost, CostB: l.Cost,
			PortA: n.number(l.A, l.B), PortB: n.number(l.B, l.A),
		})
	}
	n.tree = topology.Simulate(bridges, edges)
	// The graph was checked with identities in the order of the names. The lock's may break ties the other way.
	n.checked = topology.Check(bridges, edges)
	if most := t.Tree.Protocol.MaxDepth(); n.checked.WorstDepth > most {
		return nil, fmt.Errorf("the tree gets %d hops deep when %s is lost, and %s carries no more than %d: take graph.strategy hub or auto, or a larger graph.degree",
			n.checked.WorstDepth, cmp.Or(n.checked.Deepest, "nothing"), t.Tree.Protocol, most)
	}
	return n, nil
}

func other(l topology.Link, host string) string {
	if l.A == host {
		return l.B
	}
	return l.A
}

func (n *network) mac(host string) [6]byte {
	return bridgeMAC(n.topology.Name, n.entries[host].ID)
}

func (n *network) number(host, peer string) uint16 {
	return n.numbers[host][n.entries[peer].ID]
}

func (n *network) priority(host string) uint16 {
	switch host {
	case n.graph.Root:
		return rootPriority
	case n.graph.Backup:
		return backupPriority
	}
	return otherPriority
}

func (n *network) gateway(host string) netip.Addr {
	return n.entries[host].Gateway()
}

// ovs is the wanted bridge of a host.
func (n *network) ovs(host, datapath string, mtu int) *OVS {
	t := n.topology
	hw := n.mac(host)
	mac := macString(hw)
	priority := strconv.Itoa(int(n.priority(host)))
	s := &OVS{Bridge: Bridge{
		Name:         BridgeName,
		DatapathType: datapath,
		STP:          t.Tree.Protocol == topology.STP,
		RSTP:         t.Tree.Protocol == topology.RSTP,
		OtherConfig:  map[string]string{"hwaddr": mac},
		ExternalIDs:  map[string]string{OwnerKey: t.Name},
		MTU:          mtu,
		LocalVLANs:   []int{noVLAN},
	}}
	if s.RSTP {
		s.OtherConfig["rstp-address"] = mac
		s.OtherConfig["rstp-priority"] = priority
		s.OtherConfig["rstp-max-age"] = strconv.Itoa(maxAge(n.checked.WorstDepth))
	} else {
		s.OtherConfig["stp-system-id"] = mac
		s.OtherConfig["stp-priority"] = priority
	}
	for _, l := range n.links[host] {
		s.Ports = append(s.Ports, n.port(host, other(l, host), l.Cost))
	}
	sortPorts(s.Ports)
	s.join(t.Name, DefaultNetwork, n.entries[host].ID, untagged)
	return s
}

func (n *network) port(host, peer string, cost uint32) Port {
	t := n.topology
	p := Port{
		Name:        portName(t.Tunnel.Type, peer),
		Type:        string(t.Tunnel.Type),
		ExternalIDs: map[string]string{OwnerKey: t.Name, PeerKey: peer},
		Options:     map[string]string{remoteIP: n.hosts[peer].Address.String()},
		BFD:         map[string]string{},
	}
	number := strconv.Itoa(int(n.number(host, peer)))
	pathCost := strconv.FormatUint(uint64(cost), 10)
	protocol := string(t.Tree.Protocol)
	p.OtherConfig = map[string]string{
		protocol + "-port-num":  number,
		protocol + "-path-cost": pathCost,
	}
	if t.Tree.Protocol == topology.RSTP { // classic STP in Open vSwitch follows the carrier only, never BFD
		interval := strconv.Itoa(t.Tree.BFD)
		p.BFD = map[string]string{"enable": "true", "min_rx": interval, "min_tx": interval}
	}
	if t.Tunnel.HasKey {
		p.Options["key"] = strconv.FormatUint(uint64(t.Tunnel.Key), 10)
	}
	if t.Tunnel.Port != 0 {
		p.Options["dst_port"] = strconv.Itoa(int(t.Tunnel.Port))
	}
	if t.Tunnel.Checksum {
		p.Options["csum"] = "true"
	}
	return p
}

func (n *network) linuxBridge(host string, mtu int) *Links {
	gateway := n.gateway(host)
	return &Links{
		Name:    n.topology.Docker.Bridge,
		Owner:   n.topology.Name,
		MAC:     dockerMAC(gateway),
		MTU:     mtu,
		Address: netip.PrefixFrom(gateway, n.topology.Network.Bits()),
		Member:  AccessName(DefaultNetwork),
		Up:      true,
	}
}

// docker is what dockerd is told. The name docker0 is a special case to
// dockerd: it remembers the address that it once gave to the bridge of that
// name and would set it again, unless bip says another.
func (n *network) docker(host string, mtu int) *Docker {
	bridge, gateway, pool := n.topology.Docker.Bridge, n.gateway(host), n.entries[host].Range
	d := &Docker{
		Config: DockerConfig{FixedCIDR: pool.String(), MTU: mtu},
		Live:   DockerLive{Bridge: bridge, Gateway: gateway, Pool: pool, MTU: mtu},
	}
	if bridge == "docker0" {
		d.Config.BIP = netip.PrefixFrom(gateway, n.topology.Network.Bits()).String()
	} else {
		d.Config.Bridge = bridge
	}
	return d
}

func macString(mac [6]byte) string { return net.HardwareAddr(mac[:]).String() }
