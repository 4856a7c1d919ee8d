// Package topology reads the description of a fabric, chooses its tunnels and predicts the spanning tree over them.
//
// Everything here is a pure function of its arguments: no file, name or clock is looked at.
package topology

import "net/netip"

// TunnelType is an encapsulation that Open vSwitch can put between two hosts.
type TunnelType string

// The encapsulations.
const (
	VXLAN  TunnelType = "vxlan"
	GRE    TunnelType = "gre"
	Geneve TunnelType = "geneve"
)

// Protocol is the spanning tree protocol that the bridges speak.
type Protocol string

// The spanning tree protocols.
const (
	RSTP Protocol = "rstp"
	STP  Protocol = "stp"
)

// MaxPorts is how many ports a bridge can number (802.1D-1998 8.5.5.1, 802.1D-2004 9.2.7). Open vSwitch takes the ports beyond
// it out of the tree, where they forward and so make a loop.
func (p Protocol) MaxPorts() int {
	if p == STP {
		return 255
	}
	return 4095
}

// MaxTunnels is how many tunnels a bridge can have: one port joins it to the containers' network.
func (p Protocol) MaxTunnels() int { return p.MaxPorts() - 1 }

// Datapath is where Open vSwitch switches packets.
type Datapath string

// The datapaths. DatapathAuto takes the kernel's where the host has it.
const (
	DatapathAuto   Datapath = "auto"
	DatapathSystem Datapath = "system"
	DatapathNetdev Datapath = "netdev"
)

// Strategy is a way to choose which hosts have a tunnel to each other.
type Strategy string

// The strategies.
const (
	Auto     Strategy = "auto"
	Mesh     Strategy = "mesh"
	Ring     Strategy = "ring"
	Hub      Strategy = "hub"
	Sparse   Strategy = "sparse"
	Tiers    Strategy = "tiers"
	Sites    Strategy = "sites"
	Explicit Strategy = "explicit"
)

// Topology is a validated fabric file with its defaults filled in.
type Topology struct {
	Name    string
	Network netip.Prefix
	Tunnel  Tunnel
	Tree    TreeSpec
	// GraphSpec is what the file says about the graph; the method Graph gives the graph itself.
	GraphSpec   GraphSpec
	UnderlayMTU int // bytes; 0: to be observed
	Datapath    Datapath
	Docker      Docker
	Hosts       []Host              // in natural order of their names
	Links       []LinkSpec          // in the order of the file
	RTT         map[[2]string]int64 // what WithRTT was given: microseconds, by two hosts in natural order
	IDs         map[string]int      // what WithIDs was given, by host
}

// WithIDs returns a copy of the topology whose graph prefers the hosts with the lower of the given identifiers where hosts are as
// good as each other, as spanning tree does, instead of the first by name. So a host that comes later or takes another name moves
// no root and no hub.
func (t *Topology) WithIDs(ids map[string]int) *Topology {
	c := *t
	c.IDs = ids
	return &c
}

// Tunnel is how every tunnel of the fabric encapsulates.
type Tunnel struct {
	Type     TunnelType
	Key      uint32 // the VNI or the GRE key; meaningful with HasKey
	HasKey   bool
	Port     uint16 // UDP; 0 for GRE
	Checksum bool
}

// Overhead is how many bytes of the underlay's MTU a tunnel takes from an untagged inner IP packet: the outer IP header, the
// tunnel's headers, and the inner Ethernet header.
func (t Tunnel) Overhead(ipv6 bool) int {
	const ipv4Header, udpHeader, shimHeader, ethernetHeader = 20, 8, 8, 14
	n := ipv4Header + ethernetHeader
	if ipv6 {
		n += 20
	}
	if t.Type != GRE {
		return n + udpHeader + shimHeader // RFC 7348 section 5, RFC 8926 section 3.4
	}
	n += 4
	if t.HasKey { // RFC 2890 section 2
		n += 4
	}
	if t.Checksum {
		n += 4
	}
	return n
}

// TreeSpec is what the file says about the spanning tree. An empty Root or Backup is chosen by Graph.
type TreeSpec struct {
	Protocol     Protocol
	Root, Backup string
	BFD          int // milliseconds between packets of BFD on each tunnel; for RSTP, which follows it
}

// GraphSpec is what the file says about the graph. Degree 0 is the strategy's own choice.
type GraphSpec struct {
	Strategy Strategy
	Degree   int
	RTT      string // path of a file with measured round-trip times, as written, for WithRTT
}

// Docker is what the file says about dockerd.
type Docker struct {
	Bridge string
}

// Host is one host of the fabric.
type Host struct {
	Name     string
	Was      string       // the name it had before; empty: no other
	Address  netip.Addr   // where tunnels end; the zero Addr while only HostName is known
	HostName string       // the address where the file gives it as a name, which WithAddresses resolves
	Range    netip.Prefix // the zero Prefix unless the file pins it
	Weight   int
	Site     string
	SSH      SSH
}

// SSH is how to reach a host: its own settings over the file's global ones. What is zero is left to ssh's own configuration.
// Identity and Config are as written in the file.
type SSH struct {
	Address, User    string
	Port             int
	Identity, Config string
	Sudo             bool
}

// LinkSpec is a link that the file names; A comes before B in natural order. Cost 0 is the strategy's own.
type LinkSpec struct {
	A, B string
	Cost uint32
}
