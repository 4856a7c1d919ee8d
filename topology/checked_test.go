package topology_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/topology"
)

// tried is what a graph measures by simulating it as a whole after each loss.
func tried(bridges []topology.Bridge, edges []topology.Edge) topology.Checked {
	var c topology.Checked
	depth := func(tree *topology.Tree) int {
		deepest := 0
		for _, n := range tree.Nodes {
			deepest = max(deepest, n.Depth)
		}
		return deepest
	}
	note := func(tree *topology.Tree) {
		c.WorstBridges, c.WorstDepth = max(c.WorstBridges, tree.Diameter), max(c.WorstDepth, depth(tree))
		if pieces(tree) > 1 {
			c.Cuts++
		}
	}
	normal := topology.Simulate(bridges, edges)
	c.Bridges, c.Depth = normal.Diameter, depth(normal)
	note(normal)
	for i := range bridges {
		note(topology.Simulate(slices.Delete(slices.Clone(bridges), i, i+1), edges))
	}
	for i := range edges {
		note(topology.Simulate(bridges, slices.Delete(slices.Clone(edges), i, i+1)))
	}
	return c
}

// connected draws a graph: a tree that leans towards a chain or a star, and more edges of costs that may tie, the two ends' not
// the same.
func connected(t *rapid.T, most int) (bridges []topology.Bridge, edges []topology.Edge) {
	n := rapid.IntRange(1, most).Draw(t, "bridges")
	near, extra, costs := rapid.IntRange(1, n).Draw(t, "near"), rapid.IntRange(1, 12).Draw(t, "extra"), rapid.Uint32Range(1, 5).Draw(t, "costs")
	macs := rapid.Permutation(numbered(n)).Draw(t, "identifiers")
	for b := range n {
		id := byte(slices.Index(macs, fmt.Sprint("h", b+1)))
		bridges = append(bridges, bridge(fmt.Sprint("h", b+1), 0x8000, id))
		up := rapid.IntRange(max(0, b-near), max(0, b-1)).Draw(t, "up")
		for a := range b {
			if a != up && rapid.IntRange(0, extra).Draw(t, "linked") != 0 {
				continue
			}
			edges = append(edges, topology.Edge{
				A: bridges[a].Name, B: bridges[b].Name, PortA: uint16(b + 1), PortB: uint16(a + 1),
				CostA: rapid.Uint32Range(1, costs).Draw(t, "cost"), CostB: rapid.Uint32Range(1, costs).Draw(t, "cost"),
			})
		}
	}
	return bridges, edges
}

// TestCheckIsWhatEveryLossShows compares with simulating every loss as a whole.
func TestCheckIsWhatEveryLossShows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := connected(t, 16) // no tree of so few is too deep
		got := topology.Check(bridges, edges)
		got.Longest, got.Deepest = "", ""
		if diff := cmp.Diff(tried(bridges, edges), got); diff != "" {
			t.Fatalf("%v (-want +got):\n%s", edges, diff)
		}
	})
}

// TestCheckFindsTheLongestPathInsideABranch loses the hub of a wheel, whose rim then is the longest path, whether it is cut off or
// hangs from the root by its middle.
func TestCheckFindsTheLongestPathInsideABranch(t *testing.T) {
	for _, cost := range []uint32{0, 50} {
		bridges := []topology.Bridge{bridge("root", 0, 1), bridge("hub", 1, 2)}
		edges := []topology.Edge{edge("root", "hub", 1, 1, 1)}
		for i := range 8 {
			name := fmt.Sprint("rim", i)
			bridges = append(bridges, bridge(name, 2, byte(3+i)))
			edges = append(edges, edge("hub", name, 1, uint16(2+i), 1))
			if i > 0 {
				edges = append(edges, edge(fmt.Sprint("rim", i-1), name, 10, 2, 3))
			}
			if cost > 0 && i == 4 {
				edges = append(edges, edge("root", name, cost, 2, 4))
			}
		}
		got := topology.Check(bridges, edges)
		if got.Longest != "host hub" || got.WorstBridges != 8 {
			t.Errorf("%d bridges after the loss of %q, want the rim's 8 after that of the hub", got.WorstBridges, got.Longest)
		}
		got.Longest, got.Deepest = "", ""
		if diff := cmp.Diff(tried(bridges, edges), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// TestCheckNamesTheWorstLoss simulates the loss that is said to be the worst.
func TestCheckNamesTheWorstLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := connected(t, 12)
		c := topology.Check(bridges, edges)
		if c.Longest == "" {
			return
		}
		bridges = slices.DeleteFunc(bridges, func(b topology.Bridge) bool { return c.Longest == "host "+b.Name })
		edges = slices.DeleteFunc(edges, func(e topology.Edge) bool { return c.Longest == "the link between "+e.A+" and "+e.B })
		if got := topology.Simulate(bridges, edges).Diameter; got != c.WorstBridges {
			t.Fatalf("%d bridges after the loss of %s, want %d", got, c.Longest, c.WorstBridges)
		}
	})
}

// TestTiersKeepPathsShort tries sizes at which groups are even and uneven, under both protocols.
func TestTiersKeepPathsShort(t *testing.T) {
	for _, protocol := range []topology.Protocol{topology.STP, topology.RSTP} {
		for _, n := range []int{3, 5, 64, 300, 4500, 10000, 16000} {
			topo := fabric(topology.Tiers, numbered(n)...)
			topo.Tree.Protocol = protocol
			if warnings := graph(t, topo).Warnings; len(warnings) > 0 { // of a cut, or of a path over 7 bridges
				t.Errorf("%d hosts, %s: %q", n, protocol, warnings)
			}
		}
	}
}

// TestTiersKeepOtherGroups adds hosts one by one: a new one brings its own links, and those of at most one group that is split.
func TestTiersKeepOtherGroups(t *testing.T) {
	before := map[string]bool{}
	names := numbered(1100)
	for n := 1000; n <= len(names); n++ {
		after := map[string]bool{}
		changed := 0
		for _, l := range links(graph(t, fabric(topology.Tiers, names[:n]...))) {
			after[l] = true
			if !before[l] {
				changed++
			}
			delete(before, l)
		}
		if changed += len(before); n > 1000 && changed > 400 {
			t.Errorf("%d hosts: %d links of %d changed", n, changed, len(after))
		}
		before = after
	}
}
