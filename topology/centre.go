package topology

import (
	"cmp"
	"slices"
)

// centreWork bounds how many links are looked at to choose a root, so that a fabric of thousands is planned in a moment; up to
// some hundred hosts every one is tried, and up to some thirty every pair of root and backup root.
const centreWork = 200_000

// centre chooses what is still open of root and backup root: the pair with the smallest mean path over all pairs of hosts, then
// the shortest longest path, then the least depth, in normal state and then once the root is lost, then the lowest identifiers. Paths
// are measured in hops, or in round-trip times where these are given.
func (b *builder) centre() {
	if b.root != none && b.backup != none {
		return
	}
	if len(b.Hosts) == 1 {
		b.root, b.backup = 0, 0
		return
	}
	w := b.wiring()
	candidates := b.candidates(w)
	roots, backups := candidates, candidates
	if b.root != none {
		roots = []int{b.root}
	}
	if b.backup != none {
		backups = []int{b.backup}
	}
	most := centreWork / (2 * len(backups) * max(len(b.links), 1))
	if len(roots) > max(most, 1) {
		roots = b.bestAlone(w, roots)[:max(most, 1)]
	}
	var best centreScore
	for _, pair := range pairings(roots, backups) {
		s := centreScore{pair: pair, after: b.measure(w, pair[0], pair[0], pair[1])}
		if most > 0 {
			s.normal = b.measure(w, none, pair[0], pair[1])
		}
		if best.pair == [2]int{} || s.compare(best) < 0 {
			best = s
		}
	}
	b.root, b.backup = best.pair[0], best.pair[1]
}

// pairings are all pairs of a root and another backup.
func pairings(roots, backups []int) [][2]int {
	var pairs [][2]int
	for _, root := range roots {
		for _, backup := range backups {
			if root != backup {
				pairs = append(pairs, [2]int{root, backup})
			}
		}
	}
	return pairs
}

// moveCentre looks for a better root and backup root than those that a strategy begins with, where the links depend on them. It
// moves for a mean path that is more than 5 % shorter, so that the hubs stay where they are when a host comes or goes.
func (b *builder) moveCentre(lay func(root, backup int) []pair) {
	if len(b.Hosts) < 3 || b.Tree.Root != "" && b.Tree.Backup != "" {
		return
	}
	score := func(pair [2]int) centreScore {
		w := newWiring(len(b.Hosts), b.wires(lay(pair[0], pair[1])))
		return centreScore{pair, b.measure(w, none, pair[0], pair[1]), b.measure(w, pair[0], pair[0], pair[1])}
	}
	longer := func(x, y length) bool { return 100*x.sum > 105*y.sum }
	now := score([2]int{b.root, b.backup})
	best, keep := now, now
	for _, pair := range b.centresToTry(centreWork / (4 * (len(b.Hosts) + len(lay(b.root, b.backup))))) {
		s := score(pair)
		if s.compare(best) < 0 {
			best = s
		}
		if s.normal.compare(now.normal) <= 0 && s.after.compare(keep.after) < 0 {
			keep = s
		}
	}
	switch {
	case longer(now.normal, best.normal):
		b.root, b.backup = best.pair[0], best.pair[1]
	case longer(now.after, keep.after):
		b.root, b.backup = keep.pair[0], keep.pair[1]
	}
}

// centresToTry are at most as many pairs of root and backup root as given, those of the file in any case.
func (b *builder) centresToTry(most int) [][2]int {
	candidates := b.spread()
	roots, backups := candidates, candidates
	if b.Tree.Root != "" {
		roots = []int{b.root}
	}
	if b.Tree.Backup != "" {
		backups = []int{b.backup}
	}
	for len(roots)*len(backups) > max(most, 1) {
		if len(roots) > len(backups) {
			roots = roots[:len(roots)-1]
		} else {
			backups = backups[:len(backups)-1]
		}
	}
	return pairings(roots, backups)
}

// spread orders the hosts so that the first of them are worth trying as root: two of each site, and where times are known the
// others too, those near to everybody before others. Without times, all others of a site are as good as its first two.
func (b *builder) spread() []int {
	tried := map[string]int{}
	var first, rest []int
	for _, i := range b.centralOrder(none) {
		site := b.Hosts[i].Site
		if tried[site]++; tried[site] <= 2 {
			first = append(first, i)
		} else if b.delays != nil {
			rest = append(rest, i)
		}
	}
	return slices.Concat(first, rest)
}

// candidates are the hosts to try as root, those with the most tunnels if there are too many to try.
func (b *builder) candidates(w *wiring) []int {
	list := indices(len(b.Hosts))
	most := max(8, centreWork/max(len(b.links), 1))
	if len(list) > most {
		slices.SortStableFunc(list, func(i, j int) int { return cmp.Compare(len(w.arcs[j]), len(w.arcs[i])) })
		list = list[:most]
	}
	return list
}

// bestAlone sorts roots by the tree in normal state alone, without the one that is the backup already.
func (b *builder) bestAlone(w *wiring, roots []int) []int {
	type measured struct {
		root int
		length
	}
	var list []measured
	for _, root := range roots {
		if root != b.backup {
			list = append(list, measured{root, b.measure(w, none, root, b.backup)})
		}
	}
	slices.SortFunc(list, func(x, y measured) int {
		return cmp.Or(x.compare(y.length), cmp.Compare(x.root, y.root))
	})
	sorted := make([]int, len(list))
	for i, m := range list {
		sorted[i] = m.root
	}
	return sorted
}

// length is how long the paths of a tree are, in hops or in microseconds.
type length struct {
	apart        int   // pairs of hosts that are not connected
	sum, longest int64 // over the connected ones
	depth        int   // hops
}

func (l length) compare(o length) int {
	return cmp.Or(cmp.Compare(l.apart, o.apart), cmp.Compare(l.sum, o.sum), cmp.Compare(l.longest, o.longest), cmp.Compare(l.depth, o.depth))
}

// measure settles the tree of the given roots, with a host lost.
func (b *builder) measure(w *wiring, lost int, roots ...int) length {
	f := w.settle(ranked(len(b.Hosts), lost, roots...))
	r := f.reach()
	l := length{r.apart, int64(r.hops), int64(r.diameter), r.depth}
	if b.delays != nil {
		l.sum, l.longest = b.delays.tree(f)
	}
	return l
}

// centreScore is what a pair of root and backup root is worth. Normal state comes first, since the fabric is in it nearly always.
type centreScore struct {
	pair          [2]int
	normal, after length
}

func (s centreScore) compare(o centreScore) int {
	return cmp.Or(s.normal.compare(o.normal), s.after.compare(o.after), slices.Compare(s.pair[:], o.pair[:]))
}

// ranked orders hosts by identifier: the first ones given, as roots, then by index, without the lost one and none.
func ranked(n, lost int, first ...int) []int {
	rank := make([]int, 0, n)
	for _, i := range first {
		if i != lost && i != none && !slices.Contains(rank, i) {
			rank = append(rank, i)
		}
	}
	head := len(rank)
	for i := range n {
		if i != lost && !slices.Contains(rank[:head], i) {
			rank = append(rank, i)
		}
	}
	return rank
}
