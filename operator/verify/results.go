package verify

import (
	"net/netip"

	"github.com/ovsfabric/fabric/host/wire"
)

// Results is what the hosts found, raw. Maps are keyed by the host that
// probed; a host that is missing was not asked or could not answer.
type Results struct {
	Errors     []ProbeError // in the order of the hosts within a check
	Trees      map[string]wire.TreeStatus
	Pings      Pings
	Underlay   map[string][]wire.PingResult // between the ends of tunnels, beside the fabric
	Largest    map[string]int               // bytes: what still passed to all targets that packets of the MTU are lost to
	Broadcast  map[string][]wire.ARPResult  // of the others' addresses, until each is answered for; nil: not asked for
	ARP        map[string][]wire.ARPResult
	Transfers  []Transfer
	Containers *ContainerResults // nil: not asked for
}

// ProbeError is a probe that could not be made.
type ProbeError struct {
	Check string
	Host  string
	Err   string
}

// Pings is the outcome of pings of three sizes.
type Pings struct {
	Small    map[string][]wire.PingResult
	Full     map[string][]wire.PingResult // exactly the MTU, not to be fragmented
	Oversize map[string][]wire.PingResult // one byte more, not to be fragmented
}

// Transfer is a throughput test that ran.
type Transfer struct {
	Pair
	wire.IperfClientResult
}

// ContainerResults is the outcome of probes in containers.
type ContainerResults struct {
	Addresses map[string]netip.Addr // by host
	Pings     Pings
	Broadcast map[string][]wire.ARPResult
}

// index finds a ping's result by its direction.
func index(results map[string][]wire.PingResult, hosts map[netip.Addr]string) map[Pair]wire.PingResult {
	found := make(map[Pair]wire.PingResult)
	for from, list := range results {
		for _, result := range list {
			if to, ok := hosts[result.Target]; ok {
				found[Pair{From: from, To: to}] = result
			}
		}
	}
	return found
}
