package topology

import "fmt"

// Checked is what was found of a tree by the loss of each bridge and of each link, one at a time.
type Checked struct {
	Cuts         int    `json:"cuts"`          // bridges and links whose loss leaves the others in pieces
	Bridges      int    `json:"bridges"`       // on the longest path in normal state, both ends counted
	Depth        int    `json:"depth"`         // hops from the root to the farthest bridge in normal state
	WorstBridges int    `json:"worst_bridges"` // as Bridges, whatever is lost
	WorstDepth   int    `json:"worst_depth"`   // as Depth, whatever is lost
	Longest      string `json:"longest"`       // what is lost when the longest path is WorstBridges, as "host h1"; empty: nothing
	Deepest      string `json:"deepest"`       // what is lost when the tree is WorstDepth deep
}

// Check tries the loss of every bridge and every edge, as Simulate would show it. A graph in pieces, or a tree deeper than any
// protocol carries, is measured in normal state only: it fails without any loss.
func Check(bridges []Bridge, edges []Edge) Checked {
	index := make(map[string]int, len(bridges))
	for i, b := range bridges {
		index[b.Name] = i
	}
	w, _ := wired(bridges, edges, index)
	return w.check(identified(bridges), func(i int) string { return bridges[i].Name })
}

// check takes the bridges in the order of their identifiers.
func (w *wiring) check(rank []int, name func(bridge int) string) Checked {
	if len(rank) == 0 {
		return Checked{}
	}
	hosts, links := w.cuts()
	f := w.settle(rank)
	normal := f.reach()
	c := Checked{
		Cuts: len(hosts) + len(links), Bridges: normal.diameter, Depth: normal.depth,
		WorstBridges: normal.diameter, WorstDepth: normal.depth,
	}
	if normal.apart > 0 || normal.depth > RSTP.MaxDepth() { // the cost of the trials grows with the depth
		return c
	}
	note := func(depth, diameter int, lost func() string) {
		if depth > c.WorstDepth {
			c.WorstDepth, c.Deepest = depth, lost()
		}
		if diameter > c.WorstBridges {
			c.WorstBridges, c.Longest = diameter, lost()
		}
	}
	rootless := w.settle(rank[1:]).reach()
	note(rootless.depth, rootless.diameter, func() string { return "host " + name(rank[0]) })
	t := newTrial(w, f, rank)
	for b, up := range f.parent {
		if up == none {
			continue
		}
		if t.size[b] > 1 { // no way leads over a leaf of the tree
			t.loseBridge(b)
			depth, diameter := t.reach()
			t.restore()
			note(depth, diameter, func() string { return "host " + name(b) })
		}
		// A link that is not in the tree carries nothing, and the tree stays the same without it.
		t.loseUplink(b)
		depth, diameter := t.reach()
		t.restore()
		note(depth, diameter, func() string { return fmt.Sprintf("the link between %s and %s", name(min(b, up)), name(max(b, up))) })
	}
	return c
}
