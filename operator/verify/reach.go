package verify

import (
	"slices"

	"github.com/ovsfabric/fabric/host/wire"
)

// reach is who reaches whom. A direction that was not tried is neither ok
// nor lost.
type reach struct {
	pings map[Pair]wire.PingResult
	// nobody: something was tried and all of it is lost.
	nobody bool
	// cut holds the hosts that reach none of the others and that none of
	// them reaches, while there are others that do.
	cut map[string]bool
	// groups are the hosts that reach each other, directly or by others, in
	// the order of the hosts.
	groups [][]string
}

func newReach(hosts []string, pings map[Pair]wire.PingResult) reach {
	r := reach{pings: pings, nobody: len(pings) > 0, cut: make(map[string]bool)}
	tried := make(map[string]bool)
	touched := make(map[string]bool)
	for pair := range pings {
		tried[pair.From], tried[pair.To] = true, true
		if r.ok(pair) {
			touched[pair.From], touched[pair.To] = true, true
			r.nobody = false
		}
	}
	for _, host := range hosts {
		r.cut[host] = tried[host] && !touched[host] && !r.nobody
	}
	r.groups = r.grouped(hosts)
	return r
}

func (r reach) ok(p Pair) bool { return r.pings[p].Received > 0 }

func (r reach) lost(p Pair) bool {
	result, known := r.pings[p]
	return known && result.Received == 0
}

func (r reach) grouped(hosts []string) [][]string {
	var groups [][]string
	placed := make(map[string]bool)
	for _, host := range hosts {
		if placed[host] {
			continue
		}
		group := []string{host}
		placed[host] = true
		for i := 0; i < len(group); i++ {
			for _, other := range hosts {
				pair := Pair{From: group[i], To: other}
				if !placed[other] && (r.ok(pair) || r.ok(pair.reverse())) {
					placed[other] = true
					group = append(group, other)
				}
			}
		}
		slices.SortFunc(group, func(a, b string) int {
			return slices.Index(hosts, a) - slices.Index(hosts, b)
		})
		groups = append(groups, group)
	}
	return groups
}

// apart says whether the hosts of a pair are in different groups.
func (r reach) apart(p Pair) bool {
	for _, group := range r.groups {
		if slices.Contains(group, p.From) != slices.Contains(group, p.To) {
			return true
		}
	}
	return false
}
