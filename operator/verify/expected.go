// Package verify proves that a fabric works: it has every host probe the
// others, holds what they found against what the plan predicts, and says of
// each fault where it comes from and what to do.
package verify

import (
	"net/netip"
	"slices"
)

// Expected is what the plan predicts of a working fabric.
type Expected struct {
	Fabric   string
	Network  netip.Prefix
	MTU      int      // of the fabric, bytes
	Overhead int      // what a tunnel adds to a packet of the fabric, bytes
	Tunnel   string   // what the underlay has to let through, for people: "VXLAN (UDP port 4789)"
	Bridge   string   // the Linux bridge that containers are on
	Trunk    string   // the Open vSwitch bridge of the tunnels
	Protocol string   // "stp" or "rstp"
	Root     string   // the root bridge's host
	Hosts    []Host   // in the order in which they are reported
	Removed  []string // hosts that the plan knows no more, that answer, and that still have parts of the fabric
}

// Host is what the plan predicts of one host.
type Host struct {
	Name      string
	Address   netip.Addr   // in the fabric
	Underlay  netip.Addr   // where its tunnels end
	Range     netip.Prefix // what its containers get addresses from; zero: not checked
	BridgeMAC string       // of its bridge identifier in the spanning tree
	LinkMAC   string       // of the Linux bridge that has its address; "": not checked
	Userspace bool         // Open vSwitch's userspace datapath
	Ports     []Port       // its tunnels
	Networks  []string     // that have a patch port on the bridge of the tunnels
	Member    string       // the link of Open vSwitch that is in the Linux bridge; "": not known
	Switch    string       // version of Open vSwitch, for people; "": not known
}

// Port is the predicted spanning-tree port of a tunnel, in the words of
// wire.TreePort.
type Port struct {
	Peer  string // the host at the other end
	Role  string
	State string
}

// carrying leaves open what becomes of tunnels that carry nothing, but that one
// end of each discards. Their other ends forward seconds later: Open vSwitch's
// alternate ports send no agreement (port_role_transition_sm in its
// lib/rstp-state-machines.c), so it takes until the port counts as an edge
// (802.1D-2004 17.25).
func (exp Expected) carrying() Expected {
	discards := make(map[Pair]bool)
	for _, host := range exp.Hosts {
		for _, port := range host.Ports {
			discards[Pair{host.Name, port.Peer}] = port.State == "discarding"
		}
	}
	exp.Hosts = slices.Clone(exp.Hosts)
	for i, host := range exp.Hosts {
		exp.Hosts[i].Ports = slices.Clone(host.Ports)
		for j, port := range host.Ports {
			there := Pair{host.Name, port.Peer}
			switch {
			case discards[there]:
				exp.Hosts[i].Ports[j].Role = ""
			case discards[there.reverse()]:
				exp.Hosts[i].Ports[j].Role, exp.Hosts[i].Ports[j].State = "", ""
			}
		}
	}
	return exp
}

// Pair is a direction between two hosts.
type Pair struct {
	From, To string
}

func (p Pair) String() string { return p.From + "→" + p.To }

func (p Pair) reverse() Pair { return Pair{From: p.To, To: p.From} }

// Matrix gives all directions between the hosts, sorted as the hosts are,
// by sender and then by receiver. Each sender needs one request only,
// because a ping request has many targets.
func Matrix(exp Expected) []Pair {
	pairs := make([]Pair, 0, len(exp.Hosts)*max(len(exp.Hosts)-1, 0))
	for _, from := range exp.Hosts {
		for _, to := range exp.Hosts {
			if from.Name != to.Name {
				pairs = append(pairs, Pair{From: from.Name, To: to.Name})
			}
		}
	}
	return pairs
}

// allPairs is up to how many hosts the throughput of all pairs is measured.
const allPairs = 4

// ThroughputPairs gives the pairs to measure, one after the other: all of
// them in a small fabric, else a ring through all hosts.
func ThroughputPairs(exp Expected) []Pair {
	var pairs []Pair
	count := len(exp.Hosts)
	for i, from := range exp.Hosts {
		if count > allPairs {
			pairs = append(pairs, Pair{From: from.Name, To: exp.Hosts[(i+1)%count].Name})
			continue
		}
		for _, to := range exp.Hosts[i+1:] {
			pairs = append(pairs, Pair{From: from.Name, To: to.Name})
		}
	}
	return pairs
}
