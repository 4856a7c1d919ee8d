package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/host/wire"
)

// Evaluate holds what the hosts found against what the plan predicts.
func Evaluate(exp Expected, res Results) Report {
	e := newEvaluation(exp, res)
	e.tree()
	e.ping()
	e.broadcast()
	e.mtu()
	e.oversize()
	e.addresses()
	e.removed()
	e.throughput()
	e.containers()

	report := Report{
		Fabric:       exp.Fabric,
		Passed:       true,
		MTU:          exp.MTU,
		Root:         exp.Root,
		Blocked:      e.blocked(),
		Hosts:        e.names,
		Checks:       e.checks,
		RTTs:         e.rtts(e.small.pings),
		UnderlayRTTs: e.rtts(e.beside()),
		Throughput:   e.rates(),
	}
	for _, check := range report.Checks {
		if check.Status == Fail {
			report.Passed = false
		}
	}
	return report
}

// evaluation is one call of Evaluate: its input, sorted for use, and the
// checks so far.
type evaluation struct {
	exp     Expected
	res     Results
	names   []string
	hosts   map[string]Host
	bridges map[string]string // host by the MAC of its bridge identifier
	small   reach
	full    map[Pair]wire.PingResult
	over    map[Pair]wire.PingResult
	others  map[string][]string // MACs beside its own that have a host's address
	checks  []Check
}

func newEvaluation(exp Expected, res Results) *evaluation {
	e := &evaluation{
		exp:     exp,
		res:     res,
		names:   make([]string, 0, len(exp.Hosts)),
		hosts:   make(map[string]Host, len(exp.Hosts)),
		bridges: make(map[string]string, len(exp.Hosts)),
		checks:  []Check{},
	}
	byAddress := make(map[netip.Addr]string, len(exp.Hosts))
	for _, host := range exp.Hosts {
		e.names = append(e.names, host.Name)
		e.hosts[host.Name] = host
		e.bridges[strings.ToLower(host.BridgeMAC)] = host.Name
		byAddress[host.Address] = host.Name
	}
	e.small = newReach(e.names, index(res.Pings.Small, byAddress))
	e.full = index(res.Pings.Full, byAddress)
	e.over = index(res.Pings.Oversize, byAddress)
	e.others = otherOwners(exp, res.ARP)
	return e
}

// diagnosis is where a fault comes from and what to do.
type diagnosis struct {
	cause, cure string
}

func (e *evaluation) pass(name, host, peer string) {
	e.checks = append(e.checks, Check{Name: name, Host: host, Peer: peer, Status: Pass})
}

func (e *evaluation) skip(name, host, peer, why string) {
	e.checks = append(e.checks, Check{Name: name, Host: host, Peer: peer, Status: Skipped, Detail: why})
}

func (e *evaluation) fault(status Status, name, host, peer, detail string, d diagnosis) {
	e.checks = append(e.checks, Check{
		Name: name, Host: host, Peer: peer, Status: status,
		Detail: detail, Cause: d.cause, Cure: d.cure,
	})
}

// errors adds the probes of a check that could not be made.
func (e *evaluation) errors(name string) {
	for _, failed := range e.res.Errors {
		if failed.Check != name {
			continue
		}
		e.fault(Fail, name, failed.Host, "", failed.Err, diagnosis{
			cause: fmt.Sprintf("%s could not make this probe", failed.Host),
			cure:  fmt.Sprintf("see to what the message says, on %s", failed.Host),
		})
	}
}

// ping checks that hosts reach each other.
func (e *evaluation) ping() {
	e.errors(CheckPing)
	for _, pair := range Matrix(e.exp) {
		result, known := e.small.pings[pair]
		switch {
		case !known:
			e.skip(CheckPing, pair.From, pair.To, notAsked(pair.From))
		case result.Received == 0:
			e.fault(Fail, CheckPing, pair.From, pair.To, unanswered(result), e.whyLost(pair))
		case result.Received < result.Sent || result.Error != "":
			e.fault(Warn, CheckPing, pair.From, pair.To,
				fmt.Sprintf("%d of %d echoes lost", result.Sent-result.Received, result.Sent), diagnosis{
					cause: "the underlay loses packets, or the tree has just changed",
					cure:  "verify again; if it stays, look for loss between the underlay addresses",
				})
		default:
			e.pass(CheckPing, pair.From, pair.To)
		}
	}
}

// whyLost says why nothing passes in one direction, by the pattern of all.
func (e *evaluation) whyLost(pair Pair) diagnosis {
	if d, shared := e.sharedAddress(pair); shared {
		return d
	}
	for _, p := range []Pair{pair, pair.reverse()} { // neither end finds the other's MAC address then
		if heard, asked := e.heard(p); asked && !heard && e.tunnelsCarry(p) {
			if d, known := e.whyNoBroadcast(p); known {
				return d
			}
		}
	}
	if e.small.nobody {
		return e.whyNobody()
	}
	for _, host := range []string{pair.From, pair.To} {
		if e.small.cut[host] {
			return e.whyCutOff(host)
		}
	}
	if e.small.apart(pair) {
		var parts []string
		for _, group := range e.small.groups {
			parts = append(parts, strings.Join(group, ", "))
		}
		return diagnosis{
			cause: fmt.Sprintf("the fabric is split: %s do not reach each other", strings.Join(parts, " | ")),
			cure:  e.openUnderlay("between the underlay addresses of these groups"),
		}
	}
	if e.small.ok(pair.reverse()) {
		return diagnosis{
			cause: fmt.Sprintf("%s reaches %s but not the other way round: %s does not answer echoes or answers by another way", pair.To, pair.From, pair.To),
			cure: fmt.Sprintf("look at the firewall of %s (iptables -S INPUT) and at its route to %v (ip route get %v)",
				pair.To, e.exp.Network, e.hosts[pair.From].Address),
		}
	}
	both := e.undirected(pair)
	return diagnosis{
		cause: fmt.Sprintf("%s and %s do not reach each other, while others reach both", both.From, both.To),
		cure: fmt.Sprintf("look for a stale neighbour entry (ip neigh show dev %s) and for filters on both: fabric status, iptables -S",
			e.exp.Bridge),
	}
}

func (e *evaluation) whyNobody() diagnosis {
	if e.anyTunnelUp() {
		return diagnosis{
			cause: fmt.Sprintf("no host reaches another though tunnels are up: %s is not joined to them, or is filtered", e.exp.Bridge),
			cure:  fmt.Sprintf("run fabric apply; then look at bridge link and ip addr show %s on one host", e.exp.Bridge),
		}
	}
	return diagnosis{
		cause: "no host reaches another: the underlay carries no tunnels",
		cure:  e.openUnderlay("between all hosts"),
	}
}

func (e *evaluation) whyCutOff(host string) diagnosis {
	tree, known := e.res.Trees[host]
	down, _ := e.tunnelsDown(host)
	switch {
	case known && !hasTunnels(tree):
		return diagnosis{
			cause: fmt.Sprintf("%s is cut off: its bridge has no tunnel ports", host),
			cure:  "run fabric apply",
		}
	case down:
		return diagnosis{
			cause: fmt.Sprintf("%s is cut off: all its tunnels are down", host),
			cure:  e.openUnderlay("between the underlay address of " + host + " and the others"),
		}
	case known && tree.Root.MAC == tree.Bridge.MAC && host != e.exp.Root:
		return diagnosis{
			cause: fmt.Sprintf("%s is cut off: it takes itself for the root bridge, so nothing comes through its tunnels", host),
			cure:  e.openUnderlay("between the underlay address of " + host + " and the others"),
		}
	}
	return diagnosis{
		cause: fmt.Sprintf("%s is cut off: %s is not joined to its tunnels, %s has not its address, or its firewall drops everything",
			host, e.exp.Bridge, e.exp.Bridge),
		cure: fmt.Sprintf("run fabric apply; then look at bridge link, ip addr show %s and iptables -S on %s", e.exp.Bridge, host),
	}
}

// openUnderlay is the cure for tunnels that nothing comes through.
func (e *evaluation) openUnderlay(where string) string {
	return fmt.Sprintf("let %s pass %s (host firewalls, security groups); fabric status shows each tunnel", e.exp.Tunnel, where)
}

// undirected gives both directions of a pair the same name.
func (e *evaluation) undirected(p Pair) Pair {
	if slices.Index(e.names, p.From) > slices.Index(e.names, p.To) {
		return p.reverse()
	}
	return p
}

// removed reports hosts that were away when they were removed, and have
// come back. The others have no tunnels to them any more, but their own still
// send, and their containers have addresses of the fabric.
func (e *evaluation) removed() {
	for _, host := range e.exp.Removed {
		e.fault(Fail, CheckRemoved, host, "", "it still has a bridge, tunnels or addresses of the fabric", diagnosis{
			cause: fmt.Sprintf("%s did not answer when it was removed from the file, and has come back", host),
			cure:  "run fabric apply, which takes the fabric away from it, or put it into the file again",
		})
	}
}

func (e *evaluation) rtts(pings map[Pair]wire.PingResult) []RTT {
	rtts := []RTT{}
	for _, pair := range Matrix(e.exp) {
		if result := pings[pair]; result.Received > 0 {
			rtts = append(rtts, RTT{From: pair.From, To: pair.To, Min: result.Min, Avg: result.Avg, Max: result.Max})
		}
	}
	return rtts
}

// beside is the pings of the underlay, and for neighbours in the tree those
// of the fabric where it answers none.
func (e *evaluation) beside() map[Pair]wire.PingResult {
	ends := make(map[netip.Addr]string, len(e.exp.Hosts))
	for _, host := range e.exp.Hosts {
		ends[host.Underlay] = host.Name
	}
	pings := index(e.res.Underlay, ends)
	for _, host := range e.exp.Hosts {
		for _, port := range host.Ports {
			if port.Role != "root" {
				continue
			}
			up := Pair{From: host.Name, To: port.Peer}
			for _, pair := range []Pair{up, up.reverse()} {
				if pings[pair].Received == 0 {
					pings[pair] = e.small.pings[pair]
				}
			}
		}
	}
	return pings
}

func notAsked(host string) string { return host + " was not asked" }

func unanswered(result wire.PingResult) string {
	switch {
	case result.Error != "":
		return result.Error
	case result.Sent == 1:
		return "no answer to the echo"
	}
	return fmt.Sprintf("no answer to %d echoes", result.Sent)
}
