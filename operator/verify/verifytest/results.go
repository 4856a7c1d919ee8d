// Package verifytest has a make-believe fabric for tests of what verifies
// one.
package verifytest

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
)

// Three is a fabric of three hosts in a full mesh of VXLAN: h1 is the root
// and h3 blocks its tunnel to h2.
func Three() verify.Expected {
	forwarding := func(peer, role string) verify.Port {
		return verify.Port{Peer: peer, Role: role, State: "forwarding"}
	}
	exp := Hosts(3)
	exp.Hosts[0].Ports = []verify.Port{forwarding("h2", "designated"), forwarding("h3", "designated")}
	exp.Hosts[1].Ports = []verify.Port{forwarding("h1", "root"), forwarding("h3", "designated")}
	exp.Hosts[2].Ports = []verify.Port{forwarding("h1", "root"), {Peer: "h2", Role: "alternate", State: "discarding"}}
	return exp
}

// Hosts is a fabric of count hosts, h1 to at most h250, without tunnels.
func Hosts(count int) verify.Expected {
	exp := verify.Expected{
		Fabric:   "demo",
		Network:  netip.MustParsePrefix("172.17.0.0/16"),
		MTU:      1450,
		Overhead: 50,
		Tunnel:   "VXLAN (UDP port 4789)",
		Bridge:   "docker0",
		Trunk:    "br0",
		Protocol: "rstp",
		Root:     "h1",
	}
	for i := 1; i <= count; i++ {
		exp.Hosts = append(exp.Hosts, verify.Host{
			Name:      fmt.Sprintf("h%d", i),
			Address:   netip.AddrFrom4([4]byte{172, 17, byte(i), 1}),
			Underlay:  netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}),
			Range:     netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, byte(i), 0}), 24),
			BridgeMAC: fmt.Sprintf("0a:00:00:00:00:%02x", i),
			LinkMAC:   fmt.Sprintf("0a:00:00:00:01:%02x", i),
			Networks:  []string{"default"},
			Member:    "fab-default",
		})
	}
	return exp
}

// Tree is a host's spanning tree as predicted.
func Tree(exp verify.Expected, host string) wire.TreeStatus {
	tree := wire.TreeStatus{Protocol: exp.Protocol}
	for _, h := range exp.Hosts {
		if h.Name == exp.Root {
			tree.Root.MAC = h.BridgeMAC
		}
		if h.Name != host {
			continue
		}
		tree.Bridge.MAC = h.BridgeMAC
		for _, port := range h.Ports {
			tree.Ports = append(tree.Ports, wire.TreePort{
				Name: "t-" + port.Peer, Peer: port.Peer, Role: port.Role, State: port.State,
				Link: "up", BFD: "up",
			})
		}
		for _, network := range h.Networks {
			tree.Ports = append(tree.Ports, wire.TreePort{
				Name: "patch-" + network, Network: network, Role: "designated", State: "forwarding", Link: "up",
			})
		}
	}
	return tree
}

// Container is the address of a host's probe container.
func Container(host verify.Host) netip.Addr { return host.Address.Next() }

func underlay(host verify.Host) netip.Addr { return host.Underlay }

// Results is what a fabric that works as predicted gives, containers and
// throughput included.
func Results(exp verify.Expected) verify.Results {
	res := verify.Results{
		Trees:     make(map[string]wire.TreeStatus),
		Pings:     pings(exp, func(h verify.Host) netip.Addr { return h.Address }),
		Underlay:  pings(exp, underlay).Small,
		Broadcast: make(map[string][]wire.ARPResult),
		ARP:       make(map[string][]wire.ARPResult),
		Containers: &verify.ContainerResults{
			Addresses: make(map[string]netip.Addr), Pings: pings(exp, Container), Broadcast: make(map[string][]wire.ARPResult),
		},
	}
	ask := func(of map[string][]wire.ARPResult, host verify.Host, address netip.Addr, macs ...string) {
		of[host.Name] = append(of[host.Name], wire.ARPResult{Address: address, MACs: append([]string{}, macs...)})
	}
	for _, host := range exp.Hosts {
		res.Trees[host.Name] = Tree(exp, host.Name)
		res.Containers.Addresses[host.Name] = Container(host)
		for _, other := range exp.Hosts {
			if other.Name == host.Name {
				ask(res.ARP, host, other.Address)
				continue
			}
			ask(res.ARP, host, other.Address, other.LinkMAC)
			ask(res.Broadcast, host, other.Address, other.LinkMAC)
			ask(res.Containers.Broadcast, host, Container(other), "0a:00:00:00:02:01")
		}
	}
	for _, pair := range verify.ThroughputPairs(exp) {
		res.Transfers = append(res.Transfers, verify.Transfer{
			Pair: pair, IperfClientResult: wire.IperfClientResult{BitsPerSecond: 940e6, Retransmits: 2},
		})
	}
	return res
}

func pings(exp verify.Expected, address func(verify.Host) netip.Addr) verify.Pings {
	found := verify.Pings{
		Small:    make(map[string][]wire.PingResult),
		Full:     make(map[string][]wire.PingResult),
		Oversize: make(map[string][]wire.PingResult),
	}
	for i, from := range exp.Hosts {
		for j, to := range exp.Hosts {
			if i == j {
				continue
			}
			rtt := time.Duration(10*i+j+1) * 10 * time.Microsecond
			result := wire.PingResult{Target: address(to), Sent: 3, Received: 3, Min: rtt, Avg: rtt, Max: 2 * rtt}
			found.Small[from.Name] = append(found.Small[from.Name], result)
			found.Full[from.Name] = append(found.Full[from.Name], result)
			found.Oversize[from.Name] = append(found.Oversize[from.Name], TooLong(address(to), exp.MTU))
		}
	}
	return found
}

// TooLong is the result of a ping that the sender's kernel refuses.
func TooLong(target netip.Addr, mtu int) wire.PingResult {
	return wire.PingResult{Target: target, MTU: mtu, Error: fmt.Sprintf("message too long, mtu=%d", mtu)}
}
