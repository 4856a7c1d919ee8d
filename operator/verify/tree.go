package verify

import (
	"fmt"
	"strings"

	"github.com/ovsfabric/fabric/host/wire"
)

// tree checks that the live spanning tree is the predicted one.
func (e *evaluation) tree() {
	e.errors(CheckTree)
	for _, host := range e.exp.Hosts {
		live, known := e.res.Trees[host.Name]
		if !known {
			e.skip(CheckTree, host.Name, "", notAsked(host.Name))
			continue
		}
		e.bridge(host, live)
		e.ports(host, live)
	}
}

// bridge checks what the tree says of a host's bridge as a whole.
func (e *evaluation) bridge(host Host, live wire.TreeStatus) {
	changed := diagnosis{
		cause: "the bridge was changed after the last apply, or that is still to come",
		cure:  "run fabric apply",
	}
	root := e.hosts[e.exp.Root]
	switch {
	case live.Protocol != e.exp.Protocol:
		e.fault(Fail, CheckTree, host.Name, "",
			fmt.Sprintf("the protocol is %s instead of %s", orNone(live.Protocol), e.exp.Protocol), changed)
	case !strings.EqualFold(live.Bridge.MAC, host.BridgeMAC):
		e.fault(Fail, CheckTree, host.Name, "",
			fmt.Sprintf("the bridge is %s instead of %s", orNone(live.Bridge.MAC), host.BridgeMAC), changed)
	case !strings.EqualFold(live.Root.MAC, root.BridgeMAC):
		e.fault(Fail, CheckTree, host.Name, "",
			fmt.Sprintf("the root bridge is %s instead of %s", e.bridgeName(live.Root.MAC), root.Name), e.whyRoot(host, live))
	default:
		if detail, d := e.unjoined(host, live); detail != "" {
			e.fault(Fail, CheckTree, host.Name, "", detail, d)
			return
		}
		e.pass(CheckTree, host.Name, "")
	}
}

// whyRoot says why a host has another root bridge than predicted.
func (e *evaluation) whyRoot(host Host, live wire.TreeStatus) diagnosis {
	liveRoot, ours := e.bridges[strings.ToLower(live.Root.MAC)]
	rootTree, rootKnown := e.res.Trees[e.exp.Root]
	rootDown, _ := e.tunnelsDown(e.exp.Root)
	switch {
	case live.Root.MAC == "":
		return diagnosis{cause: "Open vSwitch has not reported a root yet", cure: "verify again in a moment"}
	case !ours:
		return diagnosis{
			cause: fmt.Sprintf("a bridge that is none of the fabric's, %s, takes part in the spanning tree with a better priority", live.Root.MAC),
			cure:  "find the switch with this MAC address and take it off the fabric",
		}
	case liveRoot == host.Name:
		return diagnosis{
			cause: fmt.Sprintf("no BPDU reaches %s: its tunnels carry nothing", host.Name),
			cure:  e.openUnderlay("between the underlay address of " + host.Name + " and the others"),
		}
	case !rootKnown || rootDown || e.small.cut[e.exp.Root]:
		return diagnosis{
			cause: fmt.Sprintf("%s is down or cut off, and %s has taken over as the root bridge", e.exp.Root, liveRoot),
			cure:  fmt.Sprintf("bring %s back; the tree then changes back by itself", e.exp.Root),
		}
	case strings.EqualFold(rootTree.Root.MAC, rootTree.Bridge.MAC):
		return diagnosis{
			cause: fmt.Sprintf("%s takes itself for the root bridge too: no BPDU passes between it and %s", e.exp.Root, host.Name),
			cure:  e.openUnderlay("between the underlay address of " + e.exp.Root + " and the others"),
		}
	}
	return diagnosis{
		cause: fmt.Sprintf("the priority of %s or of %s is not the planned one", e.exp.Root, liveRoot),
		cure:  "run fabric apply",
	}
}

// ports checks the tree's view of a host's tunnels.
func (e *evaluation) ports(host Host, live wire.TreeStatus) {
	ports := make(map[string]wire.TreePort, len(live.Ports))
	for _, port := range live.Ports {
		ports[port.Peer] = port
	}
	for _, want := range host.Ports {
		port, found := ports[want.Peer]
		delete(ports, want.Peer)
		switch {
		case !found:
			e.fault(Fail, CheckTree, host.Name, want.Peer, "there is no tunnel", diagnosis{
				cause: "the port was removed after the last apply, or that is still to come",
				cure:  "run fabric apply",
			})
		case port.Error != "":
			e.fault(Fail, CheckTree, host.Name, want.Peer, port.Error, diagnosis{
				cause: fmt.Sprintf("Open vSwitch on %s could not make the port %s", host.Name, port.Name),
				cure:  fmt.Sprintf("see to what the message says; ovs-vswitchd's log on %s has more", host.Name),
			})
		case isDown(port):
			e.fault(Fail, CheckTree, host.Name, want.Peer, downDetail(port), e.whyDown(host.Name, want.Peer))
		case !samePlace(want, port):
			e.fault(Fail, CheckTree, host.Name, want.Peer,
				fmt.Sprintf("the port is %s instead of %s", place(port.Role, port.State), place(want.Role, want.State)),
				e.whyPlace(port))
		default:
			e.pass(CheckTree, host.Name, want.Peer)
		}
	}
	for _, port := range live.Ports {
		// A port without the fabric's mark is somebody else's business.
		if _, extra := ports[port.Peer]; !extra || port.Peer == "" {
			continue
		}
		e.fault(Fail, CheckTree, host.Name, port.Peer, fmt.Sprintf("port %s is not in the plan", port.Name), diagnosis{
			cause: "the port was added after the last apply, or its removal is still to come",
			cure:  "run fabric apply",
		})
	}
}

func (e *evaluation) whyDown(host, peer string) diagnosis {
	for _, h := range []string{host, peer} {
		if down, count := e.tunnelsDown(h); down && count > 1 {
			return diagnosis{
				cause: fmt.Sprintf("all tunnels of %s are down: it is off, or the underlay does not let them through", h),
				cure:  e.openUnderlay("between the underlay address of " + h + " and the others"),
			}
		}
	}
	both := e.undirected(Pair{From: host, To: peer})
	return diagnosis{
		cause: fmt.Sprintf("nothing comes through the tunnel between %s and %s", both.From, both.To),
		cure:  e.openUnderlay(fmt.Sprintf("between the underlay addresses of %s and %s, both ways", both.From, both.To)),
	}
}

// whyPlace says why a port that is up has another place in the tree.
func (e *evaluation) whyPlace(port wire.TreePort) diagnosis {
	// In a tree that has settled each root and designated port forwards.
	if onTree := port.Role == "root" || port.Role == "designated"; onTree && port.State != "forwarding" {
		return diagnosis{cause: "the tree is still settling", cure: "verify again in a moment"}
	}
	if lost := e.lostLink(); lost != "" {
		return diagnosis{
			cause: fmt.Sprintf("the tree goes round the tunnel %s, which is down", lost),
			cure:  "see to that tunnel; the tree then changes back by itself",
		}
	}
	for _, host := range e.exp.Hosts {
		live, known := e.res.Trees[host.Name]
		if known && !strings.EqualFold(live.Root.MAC, e.hosts[e.exp.Root].BridgeMAC) {
			return diagnosis{
				cause: fmt.Sprintf("the root bridge is %s instead of %s", e.bridgeName(live.Root.MAC), e.exp.Root),
				cure:  "see to the root bridge first",
			}
		}
	}
	return diagnosis{
		cause: "a path cost or a priority is not the planned one",
		cure:  "run fabric apply",
	}
}

// lostLink names the first tunnel of the plan that is down, or "".
func (e *evaluation) lostLink() string {
	for _, host := range e.exp.Hosts {
		for _, port := range e.res.Trees[host.Name].Ports {
			if _, ours := e.hosts[port.Peer]; ours && isDown(port) {
				return host.Name + "–" + port.Peer
			}
		}
	}
	return ""
}

// tunnelsDown says whether all tunnels of a host are down, by its own word
// and by that of its peers, and how many peers they lead to.
func (e *evaluation) tunnelsDown(host string) (down bool, count int) {
	peers := make(map[string]bool)
	for _, name := range e.names {
		for _, port := range e.res.Trees[name].Ports {
			switch {
			case port.Peer == "":
				continue
			case name == host:
				peers[port.Peer] = true
			case port.Peer == host:
				peers[name] = true
			default:
				continue
			}
			if !isDown(port) {
				return false, 0
			}
		}
	}
	return len(peers) > 0, len(peers)
}

func (e *evaluation) anyTunnelUp() bool {
	for _, name := range e.names {
		for _, port := range e.res.Trees[name].Ports {
			if port.Peer != "" && !isDown(port) {
				return true
			}
		}
	}
	return false
}

// blocked counts the ports that are up and kept from forwarding.
func (e *evaluation) blocked() int {
	count := 0
	for _, name := range e.names {
		for _, port := range e.res.Trees[name].Ports {
			if port.Peer != "" && !isDown(port) && port.State == "discarding" {
				count++
			}
		}
	}
	return count
}

func (e *evaluation) bridgeName(mac string) string {
	if host, ours := e.bridges[strings.ToLower(mac)]; ours {
		return host
	}
	return orNone(mac)
}

func isDown(port wire.TreePort) bool {
	return port.Link == "down" || port.BFD == "down" || port.BFD == "init"
}

func downDetail(port wire.TreePort) string {
	if port.Link == "down" {
		return "the tunnel is down"
	}
	return "the tunnel is down: BFD is " + port.BFD
}

// samePlace compares what is predicted; an empty role or state is not.
func samePlace(want Port, live wire.TreePort) bool {
	return (want.Role == "" || want.Role == live.Role) && (want.State == "" || want.State == live.State)
}

func place(role, state string) string {
	return orNone(role) + ", " + orNone(state)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
