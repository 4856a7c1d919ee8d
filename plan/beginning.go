package plan

import (
	"maps"
	"strconv"

	"github.com/ovsfabric/fabric/topology"
)

// Begins tells whether the hosts take the steps in which a fabric begins.
func (p *Plan) Begins() bool { return p.begins }

// slowBFD is, in milliseconds, how often BFD sends until it is up (RFC 5880 6.8.3).
const slowBFD = "1000"

// beginning fills in the states in which a fabric of RSTP begins. On their own, tunnels would wait for the second or third packet of BFD, each
// a second after the one before, and then those of which one end came up before the other for RSTP's next hello, 2 s after the proposal that was
// lost.
//
//  1. The tunnels are there, without BFD, which would send its first packet before the switch knows the way or the other end its tunnel.
//     No host has reason to be the root yet. A host that has anything of a fabric left waits for the next step: with that, half a bridge is
//     no state that lasts.
//  2. All else is as wanted, and BFD sends once a second, which it does anyhow until it is up. Hosts are busy with dockerd meanwhile.
//  3. BFD gets its own intervals. Where a change of them finds a session that has heard from the other end, that one is asked about it
//     at once (Poll, RFC 5880 6.5), and both are up. One that has not heard yet would expect packets at the new interval from an end that
//     sends its next one a second later, and give it up: so both have to have heard of each other before.
//
// Desired then has the root: all ends hear the news of it, and are there.
func (p *Plan) beginning() {
	if p.Protocol != string(topology.RSTP) || len(p.Hosts) == 1 {
		return
	}
	p.begins = true
	for i := range p.Hosts {
		h := &p.Hosts[i]
		if h.Removed || !h.Observed {
			continue
		}
		joined, slow, rootless := h.From, h.Desired, h.Desired
		rootless.OVS = h.Desired.OVS.clone()
		if h.Name == p.Tree.Root {
			rootless.OVS.OtherConfig["rstp-priority"] = strconv.Itoa(standbyPriority)
		}
		joined.OVS, slow.OVS = rootless.OVS.clone(), rootless.OVS.clone()
		for i, port := range rootless.OVS.Ports {
			if len(port.BFD) == 0 {
				continue
			}
			joined.OVS.Ports[i].BFD = nil
			port.BFD = maps.Clone(port.BFD)
			port.BFD["min_rx"], port.BFD["min_tx"] = slowBFD, slowBFD
			slow.OVS.Ports[i] = port
		}
		if h.From.hasMore() {
			joined = h.From
		}
		h.Between = []HostState{joined, slow, rootless}
	}
}

// hasMore tells a host that has anything of a fabric's but its bridge, or a dockerd that is to be adopted.
func (s HostState) hasMore() bool {
	return s.Boot != nil || s.Docker != nil || s.Links != nil && s.Links.Owner != ""
}

// Where the ends of new tunnels have to be before a step of a beginning, counted from 0.
const (
	HeardBefore = 2 // they have heard of each other by BFD
	UpBefore    = 3 // they take part in the tree
)

// Meeting lists the ends of the tunnels of a fabric that begins. There are none where there are no such steps.
func (p *Plan) Meeting() []Tunnel {
	if !p.Begins() {
		return nil
	}
	var ends []Tunnel
	for _, h := range p.Hosts {
		if len(h.Between) == 0 {
			continue
		}
		for _, port := range h.Desired.OVS.Ports {
			ends = append(ends, Tunnel{h.Name, port.Name})
		}
	}
	return ends
}
