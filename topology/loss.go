package topology

import (
	"cmp"
	"iter"
	"slices"
)

// Loss is what failures leave of a tree. Where nothing is rerouted, no path between two bridges that are still connected has
// changed, since what forwards did so before.
type Loss struct {
	Root       string   // of the largest piece, of equal ones the one with the better root; empty where nothing is left
	CutOff     []string // bridges outside of that piece, in the order of the nodes
	Diameter   int      // as a Tree's
	Rerouted   int      // bridges with another path to their root, since it crosses a link that carried no frames before
	Hops       int      // from the root to the end of the farthest such link
	Circulates bool     // a piece lost its root and still has a loop: news of the old root can go round until they have aged
}

// Loss tells what has become of the tree before, which failures made this one of.
func (t *Tree) Loss(before *Tree) Loss {
	w, _ := wired(before.bridges, t.edges, before.node)
	rank := make([]int, len(t.rank))
	for p, b := range t.rank {
		rank[p] = before.node[t.bridges[b].Name]
	}
	return before.loss(remains{w: w, now: w.settle(rank), home: none}, t.Diameter)
}

// Losses is what each single failure leaves that can matter to the others: of a host, in the order of the nodes, then of a link
// that carries frames, in the order of the edges. A host at the end of every path, and a link that is blocked, are not in it.
func (t *Tree) Losses() iter.Seq2[Failure, Loss] {
	f := t.forest
	inner := make([]bool, len(t.bridges))
	roots := 0
	for b, up := range f.parent {
		if up == none {
			roots++
			up = b
		}
		inner[up] = true
	}
	var tr *trial
	if roots == 1 {
		tr = newTrial(t.wiring, f, t.rank)
	}
	return func(yield func(Failure, Loss) bool) {
		for b, is := range inner {
			failure := Failure{Host: t.bridges[b].Name}
			if is && !yield(failure, t.tryLoss(tr, failure, (*trial).loseBridge, b)) {
				return
			}
		}
		for i, e := range t.edges {
			failure := Failure{A: e.A, B: e.B}
			for _, b := range t.wiring.wires[i].ends {
				if f.via[b] == i && !yield(failure, t.tryLoss(tr, failure, (*trial).loseUplink, b)) {
					return
				}
			}
		}
	}
}

// tryLoss tells what a failure leaves that touches no more than what is below bridge b. Where that is everything, b being the
// root, or where there is no trial, since the tree is in pieces, all is settled again.
func (t *Tree) tryLoss(tr *trial, failure Failure, lose func(*trial, int), b int) Loss {
	if tr == nil || t.forest.parent[b] == none {
		return t.After(failure).Loss(t)
	}
	lose(tr, b)
	defer tr.restore()
	_, diameter := tr.reach()
	return t.loss(tr.remains(), diameter)
}

// remains is what a loss leaves of a tree.
type remains struct {
	w             *wiring // may still have what is lost
	now           *forest // its order has the bridges that may have moved; a lost one has no root
	home, unmoved int     // the root of the piece of the others, and how many they are; none and 0 where all may have moved
}

func (t *Tree) loss(r remains, diameter int) Loss {
	l := Loss{CutOff: []string{}, Diameter: diameter, Circulates: r.circulates(t.forest)}
	l.Rerouted, l.Hops = r.rerouted(t.forest)
	root := t.mainRoot(r)
	if root != none {
		l.Root = t.bridges[root].Name
	}
	for _, b := range r.outside(root) {
		l.CutOff = append(l.CutOff, t.bridges[b].Name)
	}
	return l
}

func (r remains) rerouted(before *forest) (bridges, hops int) {
	rerouted := make(map[int]bool)
	for _, b := range r.now.order { // parents first
		switch up := r.now.parent[b]; {
		case up == none:
			continue
		case before.parent[b] != up && before.parent[up] != b:
			hops = max(hops, r.now.depth[b])
		case !rerouted[up]:
			continue
		}
		rerouted[b] = true
	}
	return len(rerouted), hops
}

func (r remains) circulates(before *forest) bool {
	bridges, ends := make(map[int]int), make(map[int]int)
	for _, b := range r.now.order {
		root := r.now.root[b]
		if root == before.root[b] {
			continue
		}
		bridges[root]++
		for i := range r.w.arcs[b] {
			if r.now.root[r.w.arcs[b][i].peer] == root {
				ends[root]++
			}
		}
	}
	for root, n := range bridges {
		if ends[root] >= 2*n { // a tree has one link less than it has bridges
			return true
		}
	}
	return false
}

// mainRoot is the root of the largest piece, none where there is no bridge.
func (t *Tree) mainRoot(r remains) int {
	size := map[int]int{r.home: r.unmoved}
	for _, b := range r.now.order {
		size[r.now.root[b]]++
	}
	best := r.home
	for _, b := range r.now.order {
		if r.now.parent[b] == none && (best == none ||
			cmp.Or(cmp.Compare(size[best], size[b]), t.bridges[b].Compare(t.bridges[best])) < 0) {
			best = b
		}
	}
	return best
}

// outside lists the bridges that are not in root's piece.
func (r remains) outside(root int) []int {
	var list []int
	if root == r.home {
		list = slices.Sorted(slices.Values(r.now.order))
	} else {
		list = indices(len(r.now.root))
	}
	return slices.DeleteFunc(list, func(b int) bool { return r.now.root[b] == none || r.now.root[b] == root })
}
