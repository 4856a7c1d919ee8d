package verify_test

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
)

// finding is what a table of failure patterns looks at: the text of the
// cause is for people, so its beginning has to do.
type finding struct {
	Where  string // name of the check, host, peer
	Status verify.Status
	Cause  string
	Cure   string
}

// findings gives the checks that did not pass.
func findings(report verify.Report) []finding {
	var found []finding
	for _, check := range report.Checks {
		if check.Status == verify.Pass {
			continue
		}
		where := check.Name + " " + check.Host
		if check.Peer != "" {
			where += " " + check.Peer
		}
		found = append(found, finding{Where: where, Status: check.Status, Cause: check.Cause, Cure: check.Cure})
	}
	return found
}

// lose makes all pings of a size fail in some directions.
func lose(results map[string][]wire.PingResult, pairs ...verify.Pair) {
	for _, pair := range pairs {
		i := slices.IndexFunc(results[pair.From], func(r wire.PingResult) bool {
			return hostOf(r.Target) == pair.To
		})
		lost := &results[pair.From][i]
		*lost = wire.PingResult{Target: lost.Target, Sent: 3}
	}
}

// hostOf finds the host of an address of verifytest.Hosts.
func hostOf(address netip.Addr) string {
	if n := address.As4(); n[0] == 192 {
		return fmt.Sprintf("h%d", n[3])
	}
	return fmt.Sprintf("h%d", address.As4()[2])
}

// involving gives the directions to and from a host.
func involving(exp verify.Expected, host string) []verify.Pair {
	return slices.DeleteFunc(verify.Matrix(exp), func(p verify.Pair) bool { return p.From != host && p.To != host })
}

func port(res verify.Results, host, peer string, change func(*wire.TreePort)) {
	tree := res.Trees[host]
	i := slices.IndexFunc(tree.Ports, func(p wire.TreePort) bool { return p.Peer == peer })
	change(&tree.Ports[i])
}

func down(p *wire.TreePort) { p.BFD, p.Role, p.State = "down", "disabled", "discarding" }

// deaf has no request by ARP reach a host.
func deaf(results map[string][]wire.ARPResult, host string) {
	for from, list := range results {
		for i, result := range list {
			if hostOf(result.Address) == host {
				results[from][i].MACs = []string{}
			}
		}
	}
}
