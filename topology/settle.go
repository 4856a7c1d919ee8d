package topology

import (
	"cmp"
	"math"
	"slices"
)

// wire is an edge between two numbered bridges. Index 0 of cost and port is the end at ends[0].
type wire struct {
	ends [2]int
	cost [2]uint32
	port [2]uint16
}

// wiring is a graph of numbered bridges.
type wiring struct {
	wires []wire
	arcs  [][]arc // of each bridge, in the order of the wires
}

// arc is a wire as the bridge at one end sees it.
type arc struct {
	peer, wire     int
	cost, peerCost uint32
	port, peerPort uint16
}

func newWiring(bridges int, wires []wire) *wiring {
	degree := make([]int, bridges)
	for _, wire := range wires {
		degree[wire.ends[0]]++
		degree[wire.ends[1]]++
	}
	w := &wiring{wires: wires, arcs: make([][]arc, bridges)}
	all := make([]arc, 2*len(wires))
	for b, d := range degree {
		w.arcs[b], all = all[:0:d], all[d:]
	}
	for i, wire := range wires {
		for end, b := range wire.ends {
			w.arcs[b] = append(w.arcs[b], arc{
				peer: wire.ends[1-end], wire: i,
				// A path cost is 1 or more (802.1D-2004 17.13.11), or neighbours could each hang from the other.
				cost: max(wire.cost[end], 1), peerCost: max(wire.cost[1-end], 1),
				port: wire.port[end], peerPort: wire.port[1-end],
			})
		}
	}
	return w
}

// forest is a settled tree for each piece of a wiring.
type forest struct {
	order  []int // the bridges that are there, parents before children
	root   []int // of each bridge's piece; none: the bridge is not there
	parent []int // none at a root
	via    []int // the wire at each bridge's root port; none at a root
	cost   []uint64
	depth  []int
}

const none = -1

// settle computes the tree that spanning tree comes to. rank orders the bridges by bridge identifier, lowest first; a bridge
// that is not in it is not there.
func (w *wiring) settle(rank []int) *forest {
	n := len(w.arcs)
	ints := make([]int, 5*n)
	for i := range ints {
		ints[i] = none
	}
	f := &forest{order: make([]int, 0, n), root: ints[:n], parent: ints[n : 2*n], via: ints[2*n : 3*n], depth: ints[3*n : 4*n], cost: make([]uint64, n)}
	place := ints[4*n:]
	for b := range n {
		f.cost[b] = math.MaxUint64
	}
	for p, b := range rank {
		place[b] = p
	}
	for _, root := range rank {
		if f.root[root] == none { // the best identifier of a piece not reached yet
			w.grow(f, place, root, none)
		}
	}
	return f
}

// grow finds the least root path costs of root's piece, and with them the root ports.
func (w *wiring) grow(f *forest, place []int, root, without int) {
	f.cost[root] = 0
	w.spread(f, place, queue{{0, root}}, root, without)
}

// spread settles what the queue's bridges lead to, nearest bridges first (Dijkstra), in root's piece.
func (w *wiring) spread(f *forest, place []int, q queue, root, without int) {
	for len(q) > 0 {
		next := q.pop()
		b := next.bridge
		if f.root[b] != none {
			continue
		}
		f.root[b] = root
		f.order = append(f.order, b)
		f.depth[b] = 0
		if b != root {
			up := w.rootPort(f, place, b, without)
			f.parent[b], f.via[b], f.depth[b] = up.peer, up.wire, f.depth[up.peer]+1
		}
		for i := range w.arcs[b] {
			a := &w.arcs[b][i]
			if a.wire == without || place[a.peer] == none || f.root[a.peer] != none {
				continue
			}
			// The receiving port's cost is what counts (802.1D-2004 17.6).
			if cost := next.cost + uint64(a.peerCost); cost < f.cost[a.peer] {
				f.cost[a.peer] = cost
				q.push(candidate{cost, a.peer})
			}
		}
	}
}

// rootPort picks the port with the best root priority vector (802.1D-2004 17.6): root path cost, designated bridge, designated
// port, receiving port. Every bridge that is nearer to the root is settled before b.
func (w *wiring) rootPort(f *forest, place []int, b, without int) *arc {
	var best *arc
	for i := range w.arcs[b] {
		a := &w.arcs[b][i]
		if a.wire == without || f.root[a.peer] == none || f.cost[a.peer]+uint64(a.cost) != f.cost[b] {
			continue
		}
		if best == nil || cmp.Or(cmp.Compare(place[a.peer], place[best.peer]), cmp.Compare(a.peerPort, best.peerPort), cmp.Compare(a.port, best.port)) < 0 {
			best = a
		}
	}
	return best
}

// reach is how far apart the bridges of a forest are.
type reach struct {
	apart    int // pairs of bridges that are not connected
	hops     int // the sum of the path lengths of all connected pairs
	diameter int // bridges on the longest path, both ends counted
	depth    int // hops from a root to the farthest bridge
}

// reach measures the forest in one pass from the leaves up.
func (f *forest) reach() reach {
	var r reach
	n := len(f.root)
	size, height := make([]int, n), make([]int, n)
	pieces := make([]int, n)
	for _, b := range f.order {
		pieces[f.root[b]]++
	}
	for _, b := range slices.Backward(f.order) {
		size[b]++
		r.depth = max(r.depth, f.depth[b])
		r.diameter = max(r.diameter, height[b]+1)
		if f.parent[b] == none {
			r.apart += size[b] * (len(f.order) - size[b])
			continue
		}
		parent := f.parent[b]
		r.hops += size[b] * (pieces[f.root[b]] - size[b])
		r.diameter = max(r.diameter, height[parent]+height[b]+2)
		height[parent] = max(height[parent], height[b]+1)
		size[parent] += size[b]
	}
	r.apart /= 2
	return r
}

// candidate is a bridge and a root path cost it can have.
type candidate struct {
	cost   uint64
	bridge int
}

// queue is a binary heap of candidates, the least cost first.
type queue []candidate

func (q *queue) push(c candidate) {
	*q = append(*q, c)
	h := *q
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up].cost <= h[i].cost {
			return
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
}

func (q *queue) pop() candidate {
	h := *q
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	*q = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].cost < h[least].cost {
				least = child
			}
		}
		if least == i {
			return top
		}
		h[least], h[i] = h[i], h[least]
		i = least
	}
}
