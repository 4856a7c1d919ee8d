package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/host/wire"
)

// addresses checks that each host's address is on one machine only. An
// owner that asks for its own address hears of every other owner.
func (e *evaluation) addresses() {
	e.errors(CheckAddresses)
	if len(e.res.ARP) == 0 {
		for _, name := range e.names {
			e.skip(CheckAddresses, name, "", "no host was asked")
		}
		return
	}
	linkOwner := make(map[string]string, len(e.exp.Hosts))
	for _, host := range e.exp.Hosts {
		linkOwner[strings.ToLower(host.LinkMAC)] = host.Name
	}
	for _, host := range e.exp.Hosts {
		others := e.others[host.Name]
		if len(others) == 0 {
			e.pass(CheckAddresses, host.Name, "")
			continue
		}
		var names []string
		for _, mac := range others {
			name := mac
			if owner := linkOwner[mac]; owner != "" {
				name += " (" + owner + ")"
			}
			names = append(names, name)
		}
		e.fault(Fail, CheckAddresses, host.Name, "",
			fmt.Sprintf("%v is also on %s", host.Address, strings.Join(names, ", ")), e.whyDuplicate(host, others, linkOwner))
	}
}

// otherOwners gives, by host, the MACs, sorted, that answer for the host's
// address and are not the host's.
func otherOwners(exp Expected, arp map[string][]wire.ARPResult) map[string][]string {
	answering := make(map[netip.Addr][]string)
	heard := make(map[string]bool) // hosts that heard another answer for their own address
	for _, host := range exp.Hosts {
		for _, result := range arp[host.Name] {
			for _, mac := range result.MACs {
				answering[result.Address] = append(answering[result.Address], strings.ToLower(mac))
			}
			if result.Address == host.Address && len(result.MACs) > 0 {
				heard[host.Name] = true
			}
		}
	}
	owners := make(map[string][]string)
	for _, host := range exp.Hosts {
		macs := answering[host.Address]
		slices.Sort(macs)
		macs = slices.DeleteFunc(slices.Compact(macs), func(mac string) bool {
			return mac == strings.ToLower(host.LinkMAC)
		})
		// Without a MAC to expect, the one that answers may be the host's
		// own, unless the host heard it.
		if host.LinkMAC == "" && len(macs) == 1 && !heard[host.Name] {
			continue
		}
		owners[host.Name] = macs
	}
	return owners
}

// sharedAddress explains what goes wrong between two hosts if the address
// of one of them is on another machine too.
func (e *evaluation) sharedAddress(pair Pair) (d diagnosis, shared bool) {
	for _, name := range []string{pair.From, pair.To} {
		if len(e.others[name]) > 0 {
			return diagnosis{
				cause: fmt.Sprintf("the address of %s, %v, is on another machine too", name, e.hosts[name].Address),
				cure:  "see to the addresses check first",
			}, true
		}
	}
	return diagnosis{}, false
}

func (e *evaluation) whyDuplicate(host Host, others []string, linkOwner map[string]string) diagnosis {
	for _, mac := range others {
		if owner := linkOwner[mac]; owner != "" {
			return diagnosis{
				cause: fmt.Sprintf("%s has the address of %s on its %s: dockerd or somebody put it there", owner, host.Name, e.exp.Bridge),
				cure:  fmt.Sprintf("run fabric apply; if it comes back, look for what sets it in ip addr show %s and in Docker's configuration on %s", e.exp.Bridge, owner),
			}
		}
	}
	return diagnosis{
		cause: fmt.Sprintf("a container or a machine that is on the fabric took the address of %s, or %s has another MAC than planned", host.Name, e.exp.Bridge),
		cure:  fmt.Sprintf("find this MAC address (bridge fdb show; docker inspect) and give its owner another address, or run fabric apply if it is the %s of %s", e.exp.Bridge, host.Name),
	}
}
