package topology

import (
	"cmp"
	"math"
	"slices"

	"github.com/ovsfabric/fabric/internal/natural"
)

// maxRTT caps round-trip times, in microseconds, so that sums of them over all pairs of hosts stay in range.
const maxRTT = 10_000_000

// WithRTT returns a copy of the topology whose graph goes by round-trip times in microseconds, by the names of the two hosts in
// either order. Where both orders are given, their mean counts. Pairs that are not given count as the median of those that are,
// and names that are not in the file are left out, so that an older measurement is good for a fabric that has changed.
func (t *Topology) WithRTT(measured map[[2]string]int64) *Topology {
	c := *t
	names := t.names()
	c.RTT = make(map[[2]string]int64, len(measured))
	for pair, rtt := range measured {
		a, b := pair[0], pair[1]
		if a == b || !names[a] || !names[b] || rtt < 0 {
			continue
		}
		rtt = min(rtt, maxRTT)
		if back, ok := measured[[2]string{b, a}]; ok && back >= 0 {
			rtt = (rtt + min(back, maxRTT)) / 2
		}
		if natural.Compare(a, b) > 0 {
			a, b = b, a
		}
		c.RTT[[2]string{a, b}] = rtt
	}
	return &c
}

// delays are round-trip times in microseconds between hosts by their index.
type delays struct {
	known   map[[2]int]int64 // a before b
	missing int64            // of a pair that is not known
	hosts   int
	matrix  []int32 // of all pairs, hosts times hosts, where these are few
}

// maxMatrix is up to how many hosts the times of all pairs are laid out, which takes 16 MiB.
const maxMatrix = 2048

// newDelays is nil where nothing was measured.
func newDelays(rtt map[[2]string]int64, index map[string]int) *delays {
	if len(rtt) == 0 {
		return nil
	}
	d := &delays{known: make(map[[2]int]int64, len(rtt)), hosts: len(index)}
	all := make([]int64, 0, len(rtt))
	for names, rtt := range rtt {
		a, b := index[names[0]], index[names[1]]
		d.known[[2]int{min(a, b), max(a, b)}] = rtt
		all = append(all, rtt)
	}
	slices.Sort(all)
	d.missing = all[len(all)/2]
	if d.hosts <= maxMatrix {
		d.matrix = slices.Repeat([]int32{int32(d.missing)}, d.hosts*d.hosts)
		for pair, rtt := range d.known {
			d.matrix[pair[0]*d.hosts+pair[1]], d.matrix[pair[1]*d.hosts+pair[0]] = int32(rtt), int32(rtt)
		}
	}
	return d
}

func (d *delays) between(a, b int) int64 {
	if d.matrix != nil {
		return int64(d.matrix[a*d.hosts+b])
	}
	if rtt, ok := d.known[[2]int{min(a, b), max(a, b)}]; ok {
		return rtt
	}
	return d.missing
}

// tree sums up the paths of a forest over all connected pairs, and finds the longest.
func (d *delays) tree(f *forest) (sum, longest int64) {
	n := len(f.root)
	size, height, pieces := make([]int64, n), make([]int64, n), make([]int64, n)
	for _, b := range f.order {
		pieces[f.root[b]]++
	}
	for _, b := range slices.Backward(f.order) {
		size[b]++
		parent := f.parent[b]
		if parent == none {
			continue
		}
		hop := d.between(b, parent)
		sum += hop * size[b] * (pieces[f.root[b]] - size[b])
		longest = max(longest, height[parent]+height[b]+hop)
		height[parent] = max(height[parent], height[b]+hop)
		size[parent] += size[b]
	}
	return sum, longest
}

// nearest orders all hosts but one, none for all, by how near the others are: by the sum of the times to them, since in a star
// each of its links is on the path of as many pairs. It takes time in proportion to what is known, not to all pairs.
func (d *delays) nearest(n, without int) []int {
	sum := slices.Repeat([]int64{int64(n-1) * d.missing}, n)
	for pair, rtt := range d.known {
		sum[pair[0]] += rtt - d.missing
		sum[pair[1]] += rtt - d.missing
	}
	for i := range sum {
		if without != none && i != without {
			sum[i] -= d.between(i, without)
		}
	}
	order := slices.DeleteFunc(indices(n), func(i int) bool { return i == without })
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(sum[i], sum[j]) })
	return order
}

// within sums up, for each host, the times to the others of its group.
func (d *delays) within(groups [][]int) []int64 {
	group := slices.Repeat([]int{none}, d.hosts)
	sum := make([]int64, d.hosts)
	for g, members := range groups {
		for _, m := range members {
			group[m], sum[m] = g, int64(len(members)-1)*d.missing
		}
	}
	for pair, rtt := range d.known {
		if group[pair[0]] == group[pair[1]] {
			sum[pair[0]] += rtt - d.missing
			sum[pair[1]] += rtt - d.missing
		}
	}
	return sum
}

// groups divides all hosts but two into so many groups of hosts near each other, none more than twice the size of the others:
// around hosts that are each the farthest from those before it (Gonzalez, 1985).
func (d *delays) groups(count int, without ...int) [][]int {
	rest := slices.DeleteFunc(indices(d.hosts), func(i int) bool { return slices.Contains(without, i) })
	count = min(count, len(rest))
	if count == 0 {
		return nil
	}
	centres := []int{rest[0]}
	far := slices.Repeat([]int64{math.MaxInt64}, d.hosts) // to the nearest centre
	for len(centres) < count {
		next := rest[0]
		for _, i := range rest {
			far[i] = min(far[i], d.between(i, centres[len(centres)-1]))
			if far[i] > far[next] {
				next = i
			}
		}
		centres = append(centres, next)
	}
	groups := make([][]int, count)
	most := 2 * (len(rest) + count - 1) / count
	for _, i := range rest {
		best := none
		for g, centre := range centres {
			if len(groups[g]) < most && (best == none || d.between(i, centre) < d.between(i, centres[best])) {
				best = g
			}
		}
		groups[best] = append(groups[best], i)
	}
	return groups
}

// Work on tours is bounded: up to tourStarts hosts each is tried as the first, up to maxMatrix hosts one is.
const tourStarts = 64

// tour orders hosts so that a ring in that order is short: the best of the tours that go to the nearest host next, from each
// host in turn, after parts of them are reversed for as long as that helps (2-opt). More hosts than maxMatrix stay in order.
func (d *delays) tour(n int) []int {
	best := indices(n)
	if n < 4 || d.matrix == nil {
		return best
	}
	shortest := d.improve(best)
	starts := n
	if n > tourStarts {
		starts = 1
	}
	for start := range starts {
		order := d.greedyTour(n, start)
		if length := d.improve(order); length < shortest {
			best, shortest = order, length
		}
	}
	return best
}

func (d *delays) greedyTour(n, start int) []int {
	order := indices(n)
	order[0], order[start] = start, 0
	for i := 1; i < n; i++ {
		next := i
		for j := i + 1; j < n; j++ {
			if cmp.Or(cmp.Compare(d.between(order[i-1], order[j]), d.between(order[i-1], order[next])), cmp.Compare(order[j], order[next])) < 0 {
				next = j
			}
		}
		order[i], order[next] = order[next], order[i]
	}
	return order
}

// improve reverses parts of a tour in place until none is shorter for it, and returns its length.
func (d *delays) improve(order []int) int64 {
	n := len(order)
	at := func(i int) int { return order[i%n] }
	for better := true; better; {
		better = false
		for i := range n - 1 {
			for j := i + 2; j < n && j-i < n-1; j++ {
				now := d.between(at(i), at(i+1)) + d.between(at(j), at(j+1))
				if d.between(at(i), at(j))+d.between(at(i+1), at(j+1)) < now {
					slices.Reverse(order[i+1 : j+1])
					better = true
				}
			}
		}
	}
	var length int64
	for i := range n {
		length += d.between(at(i), at(i+1))
	}
	return length
}
