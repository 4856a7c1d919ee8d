package verify

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ovsfabric/fabric/host/wire"
)

// broadcast checks that a frame to all gets from each host to each other, and
// from each container to each other. An ARP request is such a frame, whose answer
// goes to the one that asked: so this tells of one direction. Pings do not: they
// get through as long as both ends know each other's MAC address.
func (e *evaluation) broadcast() {
	e.errors(CheckBroadcast)
	if e.res.Broadcast == nil {
		return
	}
	for _, pair := range Matrix(e.exp) {
		heard, asked := e.heard(pair)
		inside, askedInside := e.heardInside(pair)
		switch {
		case !asked:
			e.skip(CheckBroadcast, pair.From, pair.To, notAsked(pair.From))
		case !heard && e.small.lost(pair) && !e.tunnelsCarry(pair):
			e.skip(CheckBroadcast, pair.From, pair.To, "nothing else passes either")
		case !heard:
			d, _ := e.whyNoBroadcast(pair)
			e.fault(Fail, CheckBroadcast, pair.From, pair.To, "no answer to an ARP request", d)
		case askedInside && !inside:
			e.fault(Fail, CheckBroadcast, pair.From, pair.To, "no answer to an ARP request from container to container", diagnosis{
				cause: fmt.Sprintf("frames to all pass between the hosts and not between containers: a filter on bridged frames of %s or %s drops ARP", pair.From, pair.To),
				cure:  "on both: look at nft list ruleset (tables bridge and arp), ebtables -L and arptables -L",
			})
		default:
			e.pass(CheckBroadcast, pair.From, pair.To)
		}
	}
}

// heard tells whether a host was answered by another when it asked all, and
// whether it asked for that one.
func (e *evaluation) heard(pair Pair) (heard, asked bool) {
	return answered(e.res.Broadcast[pair.From], e.hosts[pair.To].Address)
}

func (e *evaluation) heardInside(pair Pair) (heard, asked bool) {
	if e.res.Containers == nil {
		return false, false
	}
	return answered(e.res.Containers.Broadcast[pair.From], e.res.Containers.Addresses[pair.To])
}

func answered(results []wire.ARPResult, address netip.Addr) (heard, asked bool) {
	i := slices.IndexFunc(results, func(r wire.ARPResult) bool { return r.Address == address })
	if i < 0 {
		return false, false
	}
	return len(results[i].MACs) > 0, true
}

// tunnelsCarry tells whether both hosts have tunnels that are up.
func (e *evaluation) tunnelsCarry(pair Pair) bool {
	for _, host := range []string{pair.From, pair.To} {
		if down, _ := e.tunnelsDown(host); down || !hasTunnels(e.res.Trees[host]) {
			return false
		}
	}
	return true
}

// whyNoBroadcast says why a frame to all does not get from one host to another,
// and whether that is known of one of the two.
func (e *evaluation) whyNoBroadcast(pair Pair) (d diagnosis, known bool) {
	for _, name := range []string{pair.To, pair.From} {
		host := e.hosts[name]
		if e.exp.Trunk != "" && host.Member == e.exp.Trunk {
			version := "Open vSwitch"
			if host.Switch != "" {
				version += " " + host.Switch
			}
			return diagnosis{
				cause: fmt.Sprintf("frames to all that arrive by a tunnel do not reach %s on %s: it is joined to the tunnels by %s itself, as an older fabric made it, and %s floods nothing to a port that takes no part in the tree",
					e.exp.Bridge, name, host.Member, version),
				cure: fmt.Sprintf("run fabric apply, which joins %s by a bridge of its own", e.exp.Bridge),
			}, true
		}
		if detail, d := e.unjoined(host, e.res.Trees[name]); detail != "" {
			return d, true
		}
	}
	return diagnosis{
		cause: fmt.Sprintf("frames to all do not get from %s to %s: somebody's flows or a filter on bridged frames drop them", pair.From, pair.To),
		cure: fmt.Sprintf("on both: look at ovs-ofctl dump-flows %s, nft list ruleset (tables bridge and arp) and ebtables -L",
			e.exp.Trunk),
	}, false
}

// unjoined finds what keeps the networks of a host from its tunnels: a patch port
// that is gone, or that the tree keeps from forwarding.
func (e *evaluation) unjoined(host Host, live wire.TreeStatus) (detail string, d diagnosis) {
	if e.exp.Trunk != "" && host.Member == e.exp.Trunk { // an older fabric has none, and may work
		return "", diagnosis{}
	}
	for _, network := range host.Networks {
		i := slices.IndexFunc(live.Ports, func(p wire.TreePort) bool { return p.Network == network })
		switch {
		case i < 0:
			return fmt.Sprintf("no port joins the network %s to the tunnels", network), diagnosis{
				cause: fmt.Sprintf("the patch port of the network %s on %s was removed after the last apply, or that is still to come", network, host.Name),
				cure:  "run fabric apply",
			}
		case live.Ports[i].Error != "" || live.Ports[i].State != "forwarding":
			port := live.Ports[i]
			return fmt.Sprintf("port %s, which joins the network %s to the tunnels, is %s", port.Name, network, place(port.Role, port.State)), diagnosis{
				cause: fmt.Sprintf("the patch port %s on %s carries nothing: %s", port.Name, host.Name, cmp.Or(port.Error, "its other end is gone or leads elsewhere, or with STP it still listens and learns")),
				cure:  "verify again in half a minute; then run fabric apply",
			}
		}
	}
	return "", diagnosis{}
}

// hasTunnels tells whether a bridge has any of the fabric's tunnels.
func hasTunnels(tree wire.TreeStatus) bool {
	return slices.ContainsFunc(tree.Ports, func(p wire.TreePort) bool { return p.Peer != "" })
}
