package topology_test

import (
	"cmp"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/topology"
)

func bridge(name string, priority uint16, mac byte) topology.Bridge {
	return topology.Bridge{Name: name, Priority: priority, MAC: [6]byte{2, 0, 0, 0, 0, mac}}
}

func edge(a, b string, cost uint32, portA, portB uint16) topology.Edge {
	return topology.Edge{A: a, B: b, CostA: cost, CostB: cost, PortA: portA, PortB: portB}
}

func TestSimulateTriangle(t *testing.T) {
	got := topology.Simulate(
		[]topology.Bridge{bridge("h1", 0x8000, 1), bridge("h2", 0x1000, 2), bridge("h3", 0x2000, 3)},
		[]topology.Edge{edge("h1", "h2", 2000, 2, 1), edge("h1", "h3", 2000, 3, 1), edge("h2", "h3", 2000, 3, 2)},
	)
	if got.Root != "h2" || got.Diameter != 3 {
		t.Errorf("root %s, diameter %d; want h2, 3", got.Root, got.Diameter)
	}
	nodes := []topology.Node{
		{Name: "h1", Root: "h2", Parent: "h2", RootPathCost: 2000, Depth: 1},
		{Name: "h2", Root: "h2"},
		{Name: "h3", Root: "h2", Parent: "h2", RootPathCost: 2000, Depth: 1},
	}
	if diff := gocmp.Diff(nodes, got.Nodes); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	ports := []topology.Port{
		{"h1", "h2", 2, 2000, topology.RoleRoot, topology.Forwarding},
		{"h2", "h1", 1, 2000, topology.RoleDesignated, topology.Forwarding},
		{"h1", "h3", 3, 2000, topology.RoleAlternate, topology.Discarding},
		{"h3", "h1", 1, 2000, topology.RoleDesignated, topology.Forwarding},
		{"h2", "h3", 3, 2000, topology.RoleDesignated, topology.Forwarding},
		{"h3", "h2", 2, 2000, topology.RoleRoot, topology.Forwarding},
	}
	if diff := gocmp.Diff(ports, got.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if diff := gocmp.Diff([]topology.Link{{A: "h1", B: "h3", Cost: 2000}}, got.Blocked()); diff != "" {
		t.Errorf("blocked (-want +got):\n%s", diff)
	}
}

func TestSimulateAddsCostOfReceivingPort(t *testing.T) {
	got := topology.Simulate(
		[]topology.Bridge{bridge("root", 0, 1), bridge("leaf", 0x8000, 2)},
		[]topology.Edge{{A: "root", B: "leaf", CostA: 7, CostB: 30, PortA: 1, PortB: 1}},
	)
	if cost := got.Node("leaf").RootPathCost; cost != 30 {
		t.Errorf("root path cost %d, want 30", cost)
	}
}

func TestSimulateTiesGoToBetterDesignatedBridge(t *testing.T) {
	got := topology.Simulate(
		[]topology.Bridge{bridge("r", 0, 1), bridge("x", 0x8000, 9), bridge("y", 0x8000, 3), bridge("z", 0x8000, 4)},
		[]topology.Edge{edge("r", "x", 5, 1, 1), edge("r", "y", 5, 2, 1), edge("x", "z", 5, 2, 1), edge("y", "z", 5, 2, 2)},
	)
	if parent := got.Node("z").Parent; parent != "y" {
		t.Errorf("z hangs from %s, want y, whose address is lower", parent)
	}
}

func TestSimulatePiecesHaveTheirOwnRoots(t *testing.T) {
	got := topology.Simulate(
		[]topology.Bridge{bridge("a", 2, 1), bridge("b", 1, 2), bridge("c", 3, 3), bridge("d", 4, 4)},
		[]topology.Edge{edge("a", "b", 1, 1, 1), edge("c", "d", 1, 1, 1), edge("a", "gone", 1, 2, 2)},
	)
	roots := map[string]string{}
	for _, n := range got.Nodes {
		roots[n.Name] = n.Root
	}
	if diff := gocmp.Diff(map[string]string{"a": "b", "b": "b", "c": "c", "d": "c"}, roots); diff != "" {
		t.Errorf("roots (-want +got):\n%s", diff)
	}
	if p := got.Port("a", "gone"); p != (topology.Port{}) {
		t.Errorf("a port to a bridge that is not there: %v", p)
	}
}

// bridgesGen and edgesGen draw graphs with low and equal numbers, so that every tie-break has its turn.
func drawGraph(t *rapid.T) ([]topology.Bridge, []topology.Edge) {
	n := rapid.IntRange(1, 9).Draw(t, "bridges")
	macs := rapid.Permutation(slices.Collect(func(yield func(byte) bool) {
		for i := range n {
			if !yield(byte(i)) {
				return
			}
		}
	})).Draw(t, "macs")
	var bridges []topology.Bridge
	for i := range n {
		bridges = append(bridges, bridge(fmt.Sprint("h", i), uint16(rapid.IntRange(1, 3).Draw(t, "priority")), macs[i]))
	}
	var edges []topology.Edge
	ports := make([][]uint16, n)
	for i := range n {
		numbers := make([]uint16, n)
		for k := range numbers {
			numbers[k] = uint16(k + 1)
		}
		ports[i] = rapid.Permutation(numbers).Draw(t, "ports")
	}
	for a := range n {
		for b := a + 1; b < n; b++ {
			if rapid.Bool().Draw(t, "linked") {
				cost := rapid.Uint32Range(1, 3)
				edges = append(edges, topology.Edge{A: bridges[a].Name, B: bridges[b].Name, CostA: cost.Draw(t, "a"), CostB: cost.Draw(t, "b"), PortA: ports[a][b], PortB: ports[b][a]})
			}
		}
	}
	return bridges, edges
}

// vector is a priority vector of 802.1D-2004 17.5, in the order of comparison.
type vector struct {
	root, cost, designated uint64
	designatedPort, port   uint16
}

func (v vector) compare(o vector) int {
	return cmp.Or(cmp.Compare(v.root, o.root), cmp.Compare(v.cost, o.cost), cmp.Compare(v.designated, o.designated),
		cmp.Compare(v.designatedPort, o.designatedPort), cmp.Compare(v.port, o.port))
}

func identifier(b topology.Bridge) uint64 {
	id := uint64(b.Priority)
	for _, octet := range b.MAC {
		id = id<<8 | uint64(octet)
	}
	return id
}

// reference lets every bridge send its vector on every port until nothing changes, as the protocol does.
func reference(bridges []topology.Bridge, edges []topology.Edge) []topology.Port {
	ids := map[string]uint64{}
	best := map[string]vector{} // root priority vectors
	rootPort := map[string]int{}
	for _, b := range bridges {
		ids[b.Name] = identifier(b)
		best[b.Name] = vector{root: identifier(b), designated: identifier(b)}
		rootPort[b.Name] = -1
	}
	ends := func(e topology.Edge, end int) (from, to string, cost uint32, fromPort, toPort uint16) {
		if end == 0 {
			return e.B, e.A, e.CostA, e.PortB, e.PortA
		}
		return e.A, e.B, e.CostB, e.PortA, e.PortB
	}
	for changed := true; changed; {
		changed = false
		for i, e := range edges {
			for end := range 2 {
				from, to, cost, fromPort, toPort := ends(e, end)
				v := vector{best[from].root, best[from].cost + uint64(cost), ids[from], fromPort, toPort}
				if v.compare(best[to]) < 0 {
					best[to], rootPort[to], changed = v, 2*i+end, true
				}
			}
		}
	}
	var ports []topology.Port
	for i, e := range edges {
		for end := range 2 {
			peer, self, cost, peerPort, port := ends(e, end)
			p := topology.Port{Bridge: self, Peer: peer, Number: port, Cost: cost, Role: topology.RoleAlternate, State: topology.Discarding}
			mine := vector{best[self].root, best[self].cost, ids[self], port, 0}
			theirs := vector{best[peer].root, best[peer].cost, ids[peer], peerPort, 0}
			switch {
			case rootPort[self] == 2*i+end:
				p.Role, p.State = topology.RoleRoot, topology.Forwarding
			case mine.compare(theirs) < 0:
				p.Role, p.State = topology.RoleDesignated, topology.Forwarding
			}
			ports = append(ports, p)
		}
	}
	return ports
}

func TestSimulateEqualsProtocolRunToTheEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		if diff := gocmp.Diff(reference(bridges, edges), topology.Simulate(bridges, edges).Ports); diff != "" {
			t.Fatalf("ports (-reference +got):\n%s", diff)
		}
	})
}

func TestSimulateGivesSpanningTree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		tree := topology.Simulate(bridges, edges)
		rootPorts := map[string]int{}
		forwarding := 0
		for i := 0; i < len(tree.Ports); i += 2 {
			a, b := tree.Ports[i], tree.Ports[i+1]
			if (a.Role == topology.RoleDesignated) == (b.Role == topology.RoleDesignated) {
				t.Fatalf("a link has one designated port: %v, %v", a, b)
			}
			if a.State == topology.Forwarding && b.State == topology.Forwarding {
				forwarding++
			}
			for _, p := range []topology.Port{a, b} {
				if p.Role == topology.RoleRoot {
					rootPorts[p.Bridge]++
				}
			}
		}
		roots := 0
		for _, n := range tree.Nodes {
			want := 1
			if n.Parent == "" {
				roots++
				want = 0
			} else if up := tree.Node(n.Parent); up.Depth != n.Depth-1 || up.Root != n.Root {
				t.Fatalf("%v hangs from %v", n, up)
			}
			if rootPorts[n.Name] != want {
				t.Fatalf("%s has %d root ports, want %d", n.Name, rootPorts[n.Name], want)
			}
		}
		if forwarding != len(bridges)-roots {
			t.Fatalf("%d links forward among %d bridges in %d pieces", forwarding, len(bridges), roots)
		}
	})
}
