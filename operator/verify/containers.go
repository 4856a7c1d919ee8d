package verify

import (
	"fmt"
	"net/netip"

	"github.com/ovsfabric/fabric/host/wire"
)

// containers checks that containers on different hosts reach each other, at
// the fabric's MTU and not over it, where that was asked for.
func (e *evaluation) containers() {
	e.errors(CheckContainers)
	found := e.res.Containers
	if found == nil {
		return
	}
	byAddress := make(map[netip.Addr]string, len(found.Addresses))
	for _, host := range e.exp.Hosts {
		if address, started := found.Addresses[host.Name]; started {
			byAddress[address] = host.Name
			e.containerAddress(host, address)
		}
	}
	small := newReach(e.names, index(found.Pings.Small, byAddress))
	full := index(found.Pings.Full, byAddress)
	over := index(found.Pings.Oversize, byAddress)
	for _, pair := range Matrix(e.exp) {
		result, known := small.pings[pair]
		switch {
		case !known:
			e.skip(CheckContainers, pair.From, pair.To, "they did not both run")
		case result.Received == 0 && e.small.lost(pair):
			e.skip(CheckContainers, pair.From, pair.To, "the hosts do not reach each other either")
		case result.Received == 0:
			e.fault(Fail, CheckContainers, pair.From, pair.To, unanswered(result), e.whyFiltered(small, pair))
		case full[pair].Received == 0 && e.full[pair].Received > 0:
			e.fault(Fail, CheckContainers, pair.From, pair.To,
				fmt.Sprintf("%d bytes: %s", e.exp.MTU, unanswered(full[pair])), e.whyContainerMTU(pair.From, full[pair]))
		case full[pair].Received == 0:
			e.skip(CheckContainers, pair.From, pair.To, "the hosts do not carry the MTU either")
		case over[pair].Received > 0 || over[pair].Sent > 0 && over[pair].MTU == 0:
			e.fault(Fail, CheckContainers, pair.From, pair.To,
				fmt.Sprintf("%d bytes leave the container", e.exp.MTU+1), diagnosis{
					cause: fmt.Sprintf("containers on %s have an MTU over %d, so large transfers hang", pair.From, e.exp.MTU),
					cure:  "run fabric apply, which sets dockerd's mtu; then start the containers anew",
				})
		default:
			e.pass(CheckContainers, pair.From, pair.To)
		}
	}
}

// containerAddress checks that a container's address is of its host's range.
func (e *evaluation) containerAddress(host Host, address netip.Addr) {
	if !host.Range.IsValid() || host.Range.Contains(address) {
		e.pass(CheckContainers, host.Name, "")
		return
	}
	e.fault(Fail, CheckContainers, host.Name, "",
		fmt.Sprintf("the container has %v, which is not in %v", address, host.Range), diagnosis{
			cause: fmt.Sprintf("dockerd on %s gives out addresses of other hosts: it did not take its fixed-cidr", host.Name),
			cure:  fmt.Sprintf("run fabric apply; then look for a warning on fixed-cidr in journalctl -u docker on %s", host.Name),
		})
}

// whyFiltered says why containers do not reach each other where their hosts
// do.
func (e *evaluation) whyFiltered(containers reach, pair Pair) diagnosis {
	where := "one of the two hosts"
	look := "both"
	switch {
	case containers.nobody:
		where, look = "the hosts", "each host"
	case containers.cut[pair.From]:
		where, look = pair.From, pair.From
	case containers.cut[pair.To]:
		where, look = pair.To, pair.To
	}
	return diagnosis{
		cause: fmt.Sprintf("the hosts reach each other and the containers do not: bridged frames go through the firewall (br_netfilter), and %s drops them where it forwards, by iptables' policy, by a table of nftables, or by Docker's icc=false", where),
		cure: fmt.Sprintf("on %s: iptables -S FORWARD, and each chain with \"hook forward\" in nft list ruleset, for one that drops is enough; let what comes in by %s and goes out by %[2]s pass in all of them, take \"icc\": false out of daemon.json, or set net.bridge.bridge-nf-call-iptables=0",
			look, e.exp.Bridge),
	}
}

func (e *evaluation) whyContainerMTU(host string, result wire.PingResult) diagnosis {
	if result.Sent == 0 && result.MTU > 0 {
		return diagnosis{
			cause: fmt.Sprintf("containers on %s have an MTU of %d instead of %d", host, result.MTU, e.exp.MTU),
			cure:  "run fabric apply, which sets dockerd's mtu; then start the containers anew",
		}
	}
	return diagnosis{
		cause: fmt.Sprintf("packets of the MTU pass between the hosts and not between the containers: a container's link or %s drops them", e.exp.Bridge),
		cure:  fmt.Sprintf("look at the MTU of each member of %s: ip link show master %s", e.exp.Bridge, e.exp.Bridge),
	}
}
