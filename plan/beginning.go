package plan

import (
	"maps"
	"slices"
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
	if !slices.ContainsFunc(p.Hosts, func(h Host) bool { return h.Observed }) {
		return
	}
	var meeting []Tunnel
	for _, h := range p.Hosts {
		if h.Removed {
			continue
		}
		for _, port := range h.Desired.OVS.Ports {
			meeting = append(meeting, Tunnel{h.Name, port.Name})
		}
	}
	p.take([]Step{
		p.step("tunnels stand", p.joined),
		p.step("all else is as wanted", p.slow),
		p.step("BFD gets its intervals", p.rootless, Heard(meeting)),
	}, Up(meeting))
}

// rootless is what is desired, but that no host has reason to be the root.
func (p *Plan) rootless(h Host) HostState {
	s := h.Desired
	s.OVS = s.OVS.clone()
	if h.Name == p.Tree.Root {
		s.OVS.OtherConfig["rstp-priority"] = strconv.Itoa(standbyPriority)
	}
	return s
}

// slow is that with BFD at the interval that it has anyhow until it is up.
func (p *Plan) slow(h Host) HostState {
	s := p.rootless(h)
	for i, port := range s.OVS.Ports {
		if len(port.BFD) > 0 {
			port.BFD = maps.Clone(port.BFD)
			port.BFD["min_rx"], port.BFD["min_tx"] = slowBFD, slowBFD
			s.OVS.Ports[i] = port
		}
	}
	return s
}

// joined is the host as it is, with the bridges and without BFD. One that has more
// of a fabric stays as it is.
func (p *Plan) joined(h Host) HostState {
	s := h.From
	if s.hasMore() {
		return s
	}
	s.OVS = p.rootless(h).OVS
	for i, port := range s.OVS.Ports {
		if len(port.BFD) > 0 {
			s.OVS.Ports[i].BFD = nil
		}
	}
	return s
}

// hasMore tells a host that has anything of a fabric's but its bridge, or a dockerd that is to be adopted.
func (s HostState) hasMore() bool {
	return s.Boot != nil || s.Docker != nil || s.Links != nil && s.Links.Owner != ""
}
