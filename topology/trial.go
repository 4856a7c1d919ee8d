package topology

import (
	"cmp"
	"math"
	"slices"
)

// trial tells what a settled tree becomes after one loss, at a cost that grows only with what the loss touches.
//
// Without a bridge or a wire, root path costs can only grow. A bridge whose way to the root does not use what is lost keeps its
// own cost, and by induction from the root down so does everything on that way: its root port stays the best of its ports,
// since the others got no better. So the tree changes only below the loss. Each bridge is below at most as many losses as the
// tree is deep, and the maximum age bounds that depth: all losses together cost the wires times the depth.
type trial struct {
	w       *wiring
	before  *forest // one tree
	now     *forest // equal to before between two losses
	place   []int   // of each bridge in the order of bridge identifiers
	walk    []int   // the bridges in preorder
	at      []int   // of each bridge in walk
	size    []int   // of the subtree at each bridge
	head    []span  // of the first i bridges of walk
	tail    []span  // of those from the i-th on
	queue   queue
	height  []int // of the branch below each bridge that settled anew
	changed []int // the bridges below the loss; now.order has them too, as they settled
	top     int   // of the old subtree that the loss takes apart
	without int   // the wire that is lost; none: the bridge at the top is
}

// span is what a set of a tree's bridges measures.
type span struct {
	ends  [2]tip // of a longest path between two of them; a bridge of none where the set is empty
	hops  int    // of that path
	depth int    // of the deepest
}

// tip is a bridge of the old tree, and how many hops a new branch at it reaches out.
type tip struct{ bridge, out int }

// newTrial takes a forest of one tree, settled with the given rank.
func newTrial(w *wiring, f *forest, rank []int) *trial {
	n := len(rank)
	t := &trial{
		w: w, before: f, place: make([]int, n),
		now: &forest{
			root: slices.Clone(f.root), parent: slices.Clone(f.parent), via: slices.Clone(f.via),
			cost: slices.Clone(f.cost), depth: slices.Clone(f.depth),
		},
		walk: make([]int, n), at: make([]int, n), size: make([]int, n), height: make([]int, n),
		head: make([]span, n+1), tail: make([]span, n+1),
	}
	for p, b := range rank {
		t.place[b] = p
	}
	for _, b := range slices.Backward(f.order) {
		t.size[b]++
		if up := f.parent[b]; up != none {
			t.size[up] += t.size[b]
		}
	}
	next := make([]int, n) // where in walk a bridge's next child goes
	for _, b := range f.order {
		if up := f.parent[b]; up != none {
			t.at[b] = next[up]
			next[up] += t.size[b]
		}
		next[b] = t.at[b] + 1
		t.walk[t.at[b]] = b
	}
	empty := span{ends: [2]tip{{none, 0}, {none, 0}}}
	t.head[0], t.tail[n] = empty, empty
	for i, b := range t.walk {
		t.head[i+1] = t.with(t.head[i], tip{b, 0})
	}
	for i, b := range slices.Backward(t.walk) {
		t.tail[i] = t.with(t.tail[i+1], tip{b, 0})
	}
	return t
}

// apart counts the hops between two tips in the old tree.
func (t *trial) apart(x, y tip) int {
	hops := x.out + y.out
	a, b := x.bridge, y.bridge
	for a != b {
		if t.before.depth[a] < t.before.depth[b] {
			a, b = b, a
		}
		a = t.before.parent[a]
		hops++
	}
	return hops
}

// with adds a tip. In a tree the farthest from anywhere is an end of any longest path, so that the ends are all to compare with.
func (t *trial) with(s span, x tip) span {
	s.depth = max(s.depth, t.before.depth[x.bridge]+x.out)
	if s.ends[0].bridge == none {
		s.ends = [2]tip{x, x}
		s.hops = 0
		return s
	}
	ends := s.ends
	for i := range ends {
		if hops := t.apart(ends[i], x); hops > s.hops {
			s.hops, s.ends = hops, [2]tip{ends[i], x}
		}
	}
	return s
}

// loseBridge settles what the loss of a bridge that is not the root leaves, until restore.
func (t *trial) loseBridge(lost int) {
	place := t.place[lost]
	t.place[lost] = none
	t.top, t.without = lost, none
	t.changed = append(t.changed[:0], t.walk[t.at[lost]+1:t.at[lost]+t.size[lost]]...)
	t.settle()
	t.place[lost] = place
}

// loseUplink does the same for the loss of the wire at a bridge's root port.
func (t *trial) loseUplink(b int) {
	t.top, t.without = b, t.before.via[b]
	t.changed = append(t.changed[:0], t.walk[t.at[b]:t.at[b]+t.size[b]]...)
	t.settle()
}

// reach gives depth and diameter, as in a forest's reach, of what a loss leaves. It is asked once.
func (t *trial) reach() (depth, diameter int) {
	end := t.at[t.top] + t.size[t.top]
	s, rest := t.head[t.at[t.top]], t.tail[end]
	if rest.ends[0].bridge != none {
		s = t.with(t.with(s, rest.ends[0]), rest.ends[1])
		s.depth = max(s.depth, rest.depth)
	}
	// A longest path ends in two branches at the old tree, of which only the height counts, or it is inside one.
	inside, deepest := 0, 0
	for _, b := range slices.Backward(t.now.order) {
		deepest = max(deepest, t.now.depth[b])
		up := t.now.parent[b]
		switch {
		case up == none:
		case t.outside(up):
			s = t.with(s, tip{up, t.height[b] + 1})
		default:
			inside = max(inside, t.height[up]+t.height[b]+1)
			t.height[up] = max(t.height[up], t.height[b]+1)
		}
	}
	return max(s.depth, deepest), max(s.hops, inside) + 1
}

// remains is what a loss leaves, until restore.
func (t *trial) remains() remains {
	return remains{w: t.w, now: t.now, home: t.before.order[0], unmoved: len(t.walk) - t.size[t.top]}
}

// outside tells whether a bridge is not in the old subtree at the top.
func (t *trial) outside(b int) bool {
	return t.at[b] < t.at[t.top] || t.at[b] >= t.at[t.top]+t.size[t.top]
}

// settle finds the changed bridges' new places in now: first those with a way to the rest of the tree, then what is cut off.
func (t *trial) settle() {
	f := t.now
	f.order = f.order[:0]
	f.root[t.top] = none
	for _, b := range t.changed {
		f.root[b], f.parent[b], f.via[b], f.cost[b] = none, none, none, math.MaxUint64
		t.height[b] = 0
	}
	t.queue = t.queue[:0]
	for _, b := range t.changed {
		for i := range t.w.arcs[b] {
			a := &t.w.arcs[b][i]
			if a.wire == t.without || f.root[a.peer] == none {
				continue
			}
			f.cost[b] = min(f.cost[b], f.cost[a.peer]+uint64(a.cost))
		}
		if f.cost[b] != math.MaxUint64 {
			t.queue.push(candidate{f.cost[b], b})
		}
	}
	t.w.spread(f, t.place, t.queue, t.before.order[0], t.without)
	if len(f.order) == len(t.changed) {
		return
	}
	slices.SortFunc(t.changed, func(a, b int) int { return cmp.Compare(t.place[a], t.place[b]) })
	for _, b := range t.changed {
		if f.root[b] == none {
			t.w.grow(f, t.place, b, t.without)
		}
	}
}

// restore makes now equal to before again.
func (t *trial) restore() {
	for _, b := range append(t.changed, t.top) {
		t.now.root[b], t.now.parent[b], t.now.via[b] = t.before.root[b], t.before.parent[b], t.before.via[b]
		t.now.cost[b], t.now.depth[b] = t.before.cost[b], t.before.depth[b]
	}
}
