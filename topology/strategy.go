package topology

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"slices"
)

// Path costs. What differs between links is what counts: a tunnel has no speed of its own.
const (
	// DefaultCost is that of a link at 10 Gbit/s (802.1D-2004 table 17-3), which Open vSwitch assumes of tunnels too.
	DefaultCost = 2000
	// Between sites the first link of a pair is cheaper than the second by more than a way inside a site costs, so that the
	// tree takes the same link for the whole site and crosses no more often than it must.
	firstSiteCost  = 20000
	secondSiteCost = 40000
)

// pair is a link between two hosts by their index, a before b.
type pair struct {
	a, b int
	cost uint32
}

// pairs collects links, each once, whatever strategy part asks for it first.
type pairs struct {
	list []pair
	seen map[[2]int]bool
}

func (p *pairs) add(a, b int, cost uint32) {
	if a > b {
		a, b = b, a
	}
	if a == b || p.seen[[2]int{a, b}] {
		return
	}
	if p.seen == nil {
		p.seen = map[[2]int]bool{}
	}
	p.seen[[2]int{a, b}] = true
	p.list = append(p.list, pair{a, b, cost})
}

// mesh links everybody with everybody.
func mesh(n int) []pair {
	list := make([]pair, 0, n*(n-1)/2)
	for a := range n {
		for b := a + 1; b < n; b++ {
			list = append(list, pair{a, b, DefaultCost})
		}
	}
	return list
}

// ring links each host with the next in the order given, and the last with the first.
func (p *pairs) ring(order []int) {
	for i, a := range order {
		p.add(a, order[(i+1)%len(order)], DefaultCost)
	}
}

// hub links two members with all the others and each other.
func (p *pairs) hub(members []int, first, second int) {
	for _, m := range members {
		p.add(first, m, DefaultCost)
		p.add(second, m, DefaultCost)
	}
}

// drawnOrder puts hosts in the order that a hash of the names gives for the k-th ring of a sparse graph. Rings in random order
// make an expander: its paths grow with the logarithm of the number of hosts. Each ring alone survives the loss of a host, and a
// host that comes or goes changes three links of each ring and no other.
func drawnOrder(hosts []Host, k int) []int {
	order := indices(len(hosts))
	hashes := make([]uint64, len(hosts))
	for i, h := range hosts {
		sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s", k, h.Name))
		hashes[i] = binary.BigEndian.Uint64(sum[:])
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(hashes[i], hashes[j]) })
	return order
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// tierSize is how many hosts share a pair of hubs on average, which keeps the ports of the hubs and of the two roots balanced
// and within what STP can number up to some 16,000 hosts.
const tierSize = 64

// tierGroups is into how many groups strategy tiers divides n hosts.
func tierGroups(n int) int { return max((n+tierSize-1)/tierSize, 2) }

// tiers makes a hub of each group of hosts, the first hub of each linked to the root and the second to the backup.
func tiers(hosts []Host, d *delays, root, backup int) []pair {
	groups := drawnGroups(hosts, root, backup)
	if d != nil {
		groups = d.groups(len(groups), root, backup)
	}
	hubs := newHubs(d, groups, len(hosts))
	var p pairs
	p.add(root, backup, DefaultCost)
	for _, members := range groups {
		if len(members) == 0 {
			continue
		}
		first := hubs.choose(members, root, none)
		second := hubs.choose(members, backup, first)
		p.add(root, first, DefaultCost)
		p.add(backup, second, DefaultCost)
		p.hub(members, first, second)
	}
	return p.list
}

// drawnGroups divides hosts by linear hashing of their names (Litwin, 1980): one host more or fewer splits or joins one group and
// leaves all others as they are.
func drawnGroups(hosts []Host, root, backup int) [][]int {
	count := tierGroups(len(hosts))
	half := 1 << (bits.Len(uint(count)) - 1) // the groups from here on are split off those half below
	groups := make([][]int, count)
	for i, h := range hosts {
		if i == root || i == backup {
			continue
		}
		sum := sha256.Sum256([]byte("tier/" + h.Name))
		g := int(binary.BigEndian.Uint32(sum[:])) & (2*half - 1)
		if g >= count {
			g -= half
		}
		groups[g] = append(groups[g], i)
	}
	return groups
}

// hubs chooses the hub of a group of hosts: the first, or by round-trip times the one through which the group's paths are
// the shortest in all.
type hubs struct {
	*delays
	total  int     // hosts
	within []int64 // the sum of the times to all of the own group, by host
}

func newHubs(d *delays, groups [][]int, total int) hubs {
	h := hubs{delays: d, total: total}
	if d != nil {
		h.within = d.within(groups)
	}
	return h
}

// choose takes another member than the one taken, if there is any, or none for any. All paths out of the group lead on to up.
func (h hubs) choose(members []int, up, taken int) int {
	best, least := none, int64(0)
	for _, m := range members {
		if m == taken && len(members) > 1 {
			continue
		}
		if h.delays == nil {
			return m
		}
		inside, outside := int64(len(members)), int64(h.total-len(members))
		sum := h.within[m]*int64(h.total-1) + h.between(m, up)*inside*outside
		if best == none || sum < least {
			best, least = m, sum
		}
	}
	return best
}

// site is the hosts of one site and the two that have the links to other sites; a site of one host has it twice.
type site struct {
	members       []int
	first, second int
}

// siteHubs makes a hub of each site, and of the sites: all have two links, between different hosts where they have two, to the
// root's site and to a second one, which is the backup's if that is another.
func siteHubs(hosts []Host, h hubs, root, backup int) []pair {
	sites := siteCentres(hosts, h, root, backup)
	var p pairs
	for _, s := range sites {
		p.hub(s.members, s.first, s.second)
	}
	for c, centre := range sites[:min(2, len(sites))] {
		for _, s := range sites[c+1:] {
			p.add(centre.first, s.first, firstSiteCost)
			p.add(centre.second, s.second, secondSiteCost)
		}
	}
	return p.list
}

// siteCentres lists the sites, the root's first, then the backup's if that is another, then the rest in order of their first hosts.
func siteCentres(hosts []Host, h hubs, root, backup int) []site {
	members := groupSites(hosts)
	at := func(host int) int {
		return slices.IndexFunc(members, func(list []int) bool { return hosts[list[0]].Site == hosts[host].Site })
	}
	for place, host := range []int{root, backup} {
		if i := at(host); i > place { // the root's site is the first by then, and stays
			moved := members[i]
			members = slices.Insert(slices.Delete(members, i, i+1), place, moved)
		}
	}
	sites := make([]site, len(members))
	for i, list := range members {
		s := site{members: list, first: none, second: none}
		switch {
		case i == 0:
			s.first = root
			if hosts[backup].Site == hosts[root].Site {
				s.second = backup
			}
		case hosts[backup].Site == hosts[list[0]].Site:
			s.first = backup
		}
		if s.first == none {
			s.first = h.choose(list, root, none)
		}
		if s.second == none {
			up := sites[0].second
			if i == 0 {
				up = root
			}
			s.second = h.choose(list, up, s.first)
		}
		sites[i] = s
	}
	return sites
}

// groupSites lists the hosts of each site, the sites in order of their first hosts.
func groupSites(hosts []Host) [][]int {
	place := map[string]int{}
	var groups [][]int
	for i, h := range hosts {
		at, ok := place[h.Site]
		if !ok {
			at = len(groups)
			place[h.Site] = at
			groups = append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}
