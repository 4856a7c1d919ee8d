package verifytest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
)

// Fabric is a make-believe fabric. It works as predicted but for what its
// functions say, and refuses requests that make no sense. They may be nil
// and are called under a lock.
type Fabric struct {
	Expected verify.Expected
	// Carries says whether packets of a size get from one host to another.
	Carries func(pair verify.Pair, size int) bool
	// Floods says whether frames to all get from one host to another.
	Floods func(pair verify.Pair) bool
	// Tree changes what a host answers to the count-th question for the
	// tree, counted from 1.
	Tree func(host string, count int, tree *wire.TreeStatus)
	// Fail makes a probe impossible.
	Fail func(host string, req wire.ProbeRequest) error

	mu         sync.Mutex
	busy       map[string]bool
	asked      map[string]int // questions for the tree, by host
	containers map[string]bool
	servers    map[netip.AddrPort]bool
}

// iperfPort is where all servers listen, each on its own address.
const iperfPort = 5201

// New makes a fabric that works as predicted.
func New(exp verify.Expected) *Fabric {
	return &Fabric{
		Expected:   exp,
		busy:       make(map[string]bool),
		asked:      make(map[string]int),
		containers: make(map[string]bool),
		servers:    make(map[netip.AddrPort]bool),
	}
}

// Nodes gives a session with each host.
func (f *Fabric) Nodes() map[string]verify.Node {
	nodes := make(map[string]verify.Node)
	for _, host := range f.Expected.Hosts {
		nodes[host.Name] = &node{fabric: f, host: host}
	}
	return nodes
}

// Containers gives the hosts on which a container runs, sorted.
func (f *Fabric) Containers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var hosts []string
	for host := range f.containers {
		hosts = append(hosts, host)
	}
	slices.Sort(hosts)
	return hosts
}

type node struct {
	fabric *Fabric
	host   verify.Host
}

// Probe answers at once but takes a millisecond before it takes the next
// request.
func (n *node) Probe(ctx context.Context, req wire.ProbeRequest) (wire.ProbeResult, error) {
	result, err := n.fabric.probe(ctx, n.host, req)
	time.Sleep(time.Millisecond)
	n.fabric.mu.Lock()
	defer n.fabric.mu.Unlock()
	delete(n.fabric.busy, n.host.Name)
	return result, err
}

func (f *Fabric) probe(ctx context.Context, host verify.Host, req wire.ProbeRequest) (wire.ProbeResult, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.busy[host.Name] {
		return wire.ProbeResult{}, fmt.Errorf("%s is asked for two probes at a time", host.Name)
	}
	f.busy[host.Name] = true
	if err := errors.Join(ctx.Err(), req.Validate()); err != nil {
		return wire.ProbeResult{}, err
	}
	if f.Fail != nil {
		if err := f.Fail(host.Name, req); err != nil {
			return wire.ProbeResult{}, err
		}
	}
	switch {
	case req.Tree != nil:
		return f.tree(host), nil
	case req.Ping != nil:
		if !req.Ping.Source.IsValid() {
			return f.ping(host, *req.Ping, underlay)
		}
		if req.Ping.Source != host.Address {
			return wire.ProbeResult{}, fmt.Errorf("%v is not on %s", req.Ping.Source, host.Name)
		}
		return f.ping(host, *req.Ping, func(h verify.Host) netip.Addr { return h.Address })
	case req.ARP != nil:
		if req.ARP.Interface != f.Expected.Bridge {
			return wire.ProbeResult{}, fmt.Errorf("there is no interface %s", req.ARP.Interface)
		}
		return f.arp(host, *req.ARP, func(h verify.Host) netip.Addr { return h.Address }), nil
	case req.IperfServer != nil:
		listen := netip.AddrPortFrom(req.IperfServer.Address, iperfPort)
		f.servers[listen] = true
		return wire.ProbeResult{IperfServer: &wire.IperfServerResult{Port: iperfPort}}, nil
	case req.IperfClient != nil:
		if !f.servers[req.IperfClient.Server] {
			return wire.ProbeResult{}, fmt.Errorf("nothing listens on %v", req.IperfClient.Server)
		}
		delete(f.servers, req.IperfClient.Server)
		return wire.ProbeResult{IperfClient: &wire.IperfClientResult{BitsPerSecond: 940e6}}, nil
	case req.ContainerStart != nil:
		f.containers[host.Name] = true
		return wire.ProbeResult{ContainerStart: &wire.ContainerStartResult{Address: Container(host)}}, nil
	case req.ContainerPing != nil:
		if !f.containers[host.Name] {
			return wire.ProbeResult{}, fmt.Errorf("no container runs on %s", host.Name)
		}
		return f.ping(host, req.ContainerPing.Ping, Container)
	case req.ContainerARP != nil:
		if !f.containers[host.Name] || req.ContainerARP.ARP.Interface != "eth0" {
			return wire.ProbeResult{}, fmt.Errorf("no container runs on %s, or it has no interface %s", host.Name, req.ContainerARP.ARP.Interface)
		}
		return f.arp(host, req.ContainerARP.ARP, Container), nil
	case req.ContainerStop != nil:
		delete(f.containers, host.Name)
		return wire.ProbeResult{}, nil
	}
	return wire.ProbeResult{}, errors.New("a request of an unknown kind")
}

func (f *Fabric) tree(host verify.Host) wire.ProbeResult {
	f.asked[host.Name]++
	tree := Tree(f.Expected, host.Name)
	if f.Tree != nil {
		f.Tree(host.Name, f.asked[host.Name], &tree)
	}
	return wire.ProbeResult{Tree: &tree}
}

func (f *Fabric) ping(from verify.Host, req wire.PingRequest, address func(verify.Host) netip.Addr) (wire.ProbeResult, error) {
	var results []wire.PingResult
	for _, target := range req.Targets {
		i := slices.IndexFunc(f.Expected.Hosts, func(h verify.Host) bool { return address(h) == target })
		if i < 0 {
			return wire.ProbeResult{}, fmt.Errorf("nobody has %v", target)
		}
		if req.DF && req.Size > f.Expected.MTU {
			results = append(results, TooLong(target, f.Expected.MTU))
			continue
		}
		result := wire.PingResult{Target: target, Sent: req.Count}
		pair := verify.Pair{From: from.Name, To: f.Expected.Hosts[i].Name}
		if f.Carries == nil || f.Carries(pair, req.Size) {
			result.Received = req.Count
			result.Min, result.Avg, result.Max = time.Millisecond, time.Millisecond, time.Millisecond
		}
		results = append(results, result)
	}
	return wire.ProbeResult{Ping: results}, nil
}

func (f *Fabric) arp(asker verify.Host, req wire.ARPRequest, of func(verify.Host) netip.Addr) wire.ProbeResult {
	var results []wire.ARPResult
	for _, address := range req.Addresses {
		result := wire.ARPResult{Address: address, MACs: []string{}}
		for _, host := range f.Expected.Hosts {
			flooded := f.Floods == nil || f.Floods(verify.Pair{From: asker.Name, To: host.Name})
			if of(host) == address && host.Name != asker.Name && flooded {
				result.MACs = append(result.MACs, host.LinkMAC)
			}
		}
		results = append(results, result)
	}
	return wire.ProbeResult{ARP: results}
}
