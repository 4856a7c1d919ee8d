package topology

import (
	"fmt"
	"slices"
	"strings"
)

// maxPath is how many bridges a path should have at most: the bridge diameter that 802.1D-1998 table 8-2 and 802.1D-2004 table
// 17-1 recommend their timers for.
const maxPath = 7

// MaxDepth is how many hops from the root BPDUs reach. RSTP carries them until message age passes the maximum age of 20 (802.1D-2004
// 17.21.23). STP's age runs on at the receiver until the next hello, 2 s later (802.1D-1998 8.10.2), which takes two hops away.
func (p Protocol) MaxDepth() int {
	if p == STP {
		return 18
	}
	return 20
}

// guarantee checks what a graph must be able to do, whichever way it was chosen.
func (b *builder) guarantee() {
	w := b.wiring()
	b.checkPorts(w)
	b.checkParallel()
	if !b.checkConnected(w) {
		return
	}
	c := w.check(ranked(len(b.Hosts), none, b.root, b.backup), func(i int) string { return b.Hosts[i].Name })
	b.checkCuts(w)
	b.checkPaths(c)
}

// blame is the path of what the file says about the links.
func (b *builder) blame() string {
	if b.strategy == Explicit {
		return "links"
	}
	return "graph"
}

func (b *builder) checkPorts(w *wiring) {
	most := b.Tree.Protocol.MaxTunnels()
	for i, links := range w.arcs {
		if len(links) > most {
			b.find(b.blame(), fmt.Sprintf("host %s would have %d tunnels, and %s has numbers for %d at most", b.Hosts[i].Name, len(links), b.Tree.Protocol, most),
				"take fewer links, or protocol rstp, which has numbers for 4094")
		}
	}
}

// checkParallel finds second tunnels between two hosts, which Open vSwitch refuses.
func (b *builder) checkParallel() {
	seen := make(map[[2]int]bool, len(b.links))
	for _, l := range b.links {
		ends := [2]int{l.a, l.b}
		if seen[ends] {
			b.find(b.blame(), fmt.Sprintf("there would be two tunnels between %s and %s", b.Hosts[l.a].Name, b.Hosts[l.b].Name), "leave one of them out")
		}
		seen[ends] = true
	}
}

func (b *builder) checkConnected(w *wiring) bool {
	f := w.settle(ranked(len(b.Hosts), none, b.root))
	var cut []string
	for i, h := range b.Hosts {
		if f.root[i] != b.root {
			cut = append(cut, h.Name)
		}
	}
	if len(cut) > 0 {
		b.find(b.blame(), fmt.Sprintf("no way leads from %s to %s", b.Hosts[b.root].Name, names(cut)), "add a link between the two sides")
	}
	return len(cut) == 0
}

// checkCuts warns of hosts and links that the others cannot do without. Two hosts have nothing else.
func (b *builder) checkCuts(w *wiring) {
	if len(b.Hosts) < 3 {
		return
	}
	hosts, links := w.cuts()
	for _, i := range hosts {
		b.warnf("the loss of host %s cuts the fabric in two; a link around it would help", b.Hosts[i].Name)
	}
	for _, i := range links {
		ends := w.wires[i].ends
		b.warnf("the loss of the link between %s and %s cuts the fabric in two; a second way would help", b.Hosts[ends[0]].Name, b.Hosts[ends[1]].Name)
	}
}

// checkPaths judges how long the paths get, in normal state and after any one failure.
func (b *builder) checkPaths(c Checked) {
	after := func(lost string) string {
		if lost == "" {
			return ""
		}
		return " after the loss of " + lost
	}
	switch most := b.Tree.Protocol.MaxDepth(); {
	case c.WorstDepth > most:
		b.find(b.blame(), fmt.Sprintf("the tree gets %d hops deep%s, and %s carries no more than %d", c.WorstDepth, after(c.Deepest), b.Tree.Protocol, most),
			b.shallower())
	case c.WorstBridges > maxPath:
		b.warnf("the longest path has %d bridges%s; 802.1D advises at most %d", c.WorstBridges, after(c.Longest), maxPath)
	}
}

// shallower is what makes a tree less deep.
func (b *builder) shallower() string {
	switch b.strategy {
	case Explicit:
		return "add links between the middle and the ends, or take strategy auto"
	case Sparse:
		return "take strategy hub or auto, or a larger graph.degree"
	}
	return "take strategy hub or auto"
}

// names lists some names, and how many more there are.
func names(list []string) string {
	const most = 8
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// cuts finds the bridges and the wires, both in their order, whose loss leaves the others in pieces (Hopcroft and Tarjan, 1973), by depth-first
// search without recursion, since a graph may be one long chain.
func (w *wiring) cuts() (bridges, wires []int) {
	type frame struct{ bridge, via, next, children int }
	n := len(w.arcs)
	found, low, cut := make([]int, n), make([]int, n), make([]bool, n)
	clock := 0
	for start := range n {
		if found[start] != 0 {
			continue
		}
		stack := []frame{{start, none, 0, 0}}
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			b := top.bridge
			if top.next == 0 {
				clock++
				found[b], low[b] = clock, clock
			}
			if top.next < len(w.arcs[b]) {
				a := w.arcs[b][top.next]
				top.next++
				switch peer := a.peer; {
				case a.wire == top.via:
				case found[peer] != 0:
					low[b] = min(low[b], found[peer])
				default:
					top.children++
					stack = append(stack, frame{peer, a.wire, 0, 0})
				}
				continue
			}
			if top.via == none {
				cut[b] = top.children > 1
			} else {
				parent := &stack[len(stack)-2]
				low[parent.bridge] = min(low[parent.bridge], low[b])
				if low[b] > found[parent.bridge] {
					wires = append(wires, top.via)
				}
				if low[b] >= found[parent.bridge] && parent.via != none {
					cut[parent.bridge] = true
				}
			}
			stack = stack[:len(stack)-1]
		}
	}
	for b, is := range cut {
		if is {
			bridges = append(bridges, b)
		}
	}
	slices.Sort(wires)
	return bridges, wires
}
