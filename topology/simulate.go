package topology

import (
	"bytes"
	"cmp"
	"math"
	"slices"
)

// Role is what the spanning tree makes of a port (802.1D-2004 17.7).
type Role string

// The port roles. Simulate predicts no backup port, since a tunnel never joins a bridge to itself.
const (
	RoleRoot       Role = "root"
	RoleDesignated Role = "designated"
	RoleAlternate  Role = "alternate"
	RoleBackup     Role = "backup"
)

// State is whether a port carries frames once the tree has settled.
type State string

// The port states that last.
const (
	Forwarding State = "forwarding"
	Discarding State = "discarding"
)

// Bridge is what identifies a bridge in the tree: its bridge identifier is the priority followed by the MAC (802.1D-2004 9.2.5).
type Bridge struct {
	Name     string
	Priority uint16
	MAC      [6]byte
}

// Compare orders bridges by identifier, the best first.
func (b Bridge) Compare(o Bridge) int {
	return cmp.Or(cmp.Compare(b.Priority, o.Priority), bytes.Compare(b.MAC[:], o.MAC[:]))
}

// Edge is a link between two bridges. Costs are path costs, 1 or more, one for each end. Ports are port numbers; all ports have
// the same priority, which leaves the number to decide in the port identifier. Two bridges share at most one edge.
type Edge struct {
	A, B         string
	CostA, CostB uint32
	PortA, PortB uint16
}

// Tree is a settled spanning tree.
type Tree struct {
	Root     string `json:"root"`     // the best bridge of all; Nodes tells each one's own root where the graph is in pieces
	Nodes    []Node `json:"nodes"`    // in the order of the bridges given
	Ports    []Port `json:"ports"`    // two for each edge in the order given: A's, then B's
	Diameter int    `json:"diameter"` // bridges on the longest path in the tree, both ends counted; 802.1D-1998 table 8-2 advises at most 7

	bridges []Bridge
	edges   []Edge
	node    map[string]int
	port    map[[2]string]int
	wiring  *wiring // of the bridges and edges, by their index
	forest  *forest
	rank    []int
}

// Node is a bridge's place in the tree.
type Node struct {
	Name         string `json:"name"`
	Root         string `json:"root"`   // of this bridge's piece of the graph
	Parent       string `json:"parent"` // empty for a root
	RootPathCost uint32 `json:"root_path_cost"`
	Depth        int    `json:"depth"` // hops from the root
}

// Port is one end of an edge.
type Port struct {
	Bridge string `json:"bridge"`
	Peer   string `json:"peer"`
	Number uint16 `json:"number"`
	Cost   uint32 `json:"cost"`
	Role   Role   `json:"role"`
	State  State  `json:"state"`
}

// Simulate settles the tree as the priority vectors of 802.1D-2004 17.5 and 17.6 do, one tree for each piece of the graph. The
// result for STP and RSTP is the same. Edges that name a bridge that is not given, or join one to itself, are left out; to see
// what a failure leaves, give what is left.
func Simulate(bridges []Bridge, edges []Edge) *Tree {
	t := &Tree{bridges: bridges, node: make(map[string]int, len(bridges)), port: make(map[[2]string]int, 2*len(edges))}
	t.Ports = slices.Grow(t.Ports, 2*len(edges))
	for i, b := range bridges {
		t.node[b.Name] = i
	}
	t.wiring, t.edges = wired(bridges, edges, t.node)
	t.rank = identified(bridges)
	t.forest = t.wiring.settle(t.rank)
	t.Diameter = t.forest.reach().diameter
	t.addNodes()
	t.addPorts()
	if len(t.rank) > 0 {
		t.Root = bridges[t.rank[0]].Name
	}
	return t
}

// wired makes a wiring of the edges that join two of the bridges, and lists them in the order of its wires.
func wired(bridges []Bridge, edges []Edge, index map[string]int) (*wiring, []Edge) {
	wires, kept := make([]wire, 0, len(edges)), make([]Edge, 0, len(edges))
	for _, e := range edges {
		a, okA := index[e.A]
		b, okB := index[e.B]
		if okA && okB && a != b {
			wires = append(wires, wire{[2]int{a, b}, [2]uint32{e.CostA, e.CostB}, [2]uint16{e.PortA, e.PortB}})
			kept = append(kept, e)
		}
	}
	return newWiring(len(bridges), wires), kept
}

// identified orders the bridges by bridge identifier.
func identified(bridges []Bridge) []int {
	rank := indices(len(bridges))
	slices.SortStableFunc(rank, func(i, j int) int {
		return bridges[i].Compare(bridges[j])
	})
	return rank
}

func (t *Tree) addNodes() {
	f := t.forest
	for i, b := range t.bridges {
		n := Node{Name: b.Name, Root: t.bridges[f.root[i]].Name, RootPathCost: uint32(min(f.cost[i], math.MaxUint32)), Depth: f.depth[i]}
		if f.via[i] != none {
			n.Parent = t.bridges[f.parent[i]].Name
		}
		t.Nodes = append(t.Nodes, n)
	}
}

func (t *Tree) addPorts() {
	f := t.forest
	place := make([]int, len(t.rank))
	for p, b := range t.rank {
		place[b] = p
	}
	for i, e := range t.edges {
		a, b := t.wiring.wires[i].ends[0], t.wiring.wires[i].ends[1]
		roles := [2]Role{RoleDesignated, RoleDesignated}
		switch {
		case f.via[a] == i:
			roles[0] = RoleRoot
		case f.via[b] == i:
			roles[1] = RoleRoot
		case cmp.Or(cmp.Compare(f.cost[a], f.cost[b]), cmp.Compare(place[a], place[b])) < 0:
			roles[1] = RoleAlternate
		default:
			roles[0] = RoleAlternate
		}
		t.addPort(Port{Bridge: e.A, Peer: e.B, Number: e.PortA, Cost: e.CostA, Role: roles[0]})
		t.addPort(Port{Bridge: e.B, Peer: e.A, Number: e.PortB, Cost: e.CostB, Role: roles[1]})
	}
}

func (t *Tree) addPort(p Port) {
	p.State = Forwarding
	if p.Role == RoleAlternate {
		p.State = Discarding
	}
	t.port[[2]string{p.Bridge, p.Peer}] = len(t.Ports)
	t.Ports = append(t.Ports, p)
}

// Node returns the place of the named bridge, the zero Node if there is none.
func (t *Tree) Node(bridge string) Node {
	if i, ok := t.node[bridge]; ok {
		return t.Nodes[i]
	}
	return Node{}
}

// Port returns bridge's port to peer, the zero Port if there is none.
func (t *Tree) Port(bridge, peer string) Port {
	if i, ok := t.port[[2]string{bridge, peer}]; ok {
		return t.Ports[i]
	}
	return Port{}
}

// Blocked lists the links that carry no frames, in the order of the edges given, with A, B and A's cost as given.
func (t *Tree) Blocked() []Link {
	var blocked []Link
	for i := 0; i < len(t.Ports); i += 2 {
		if a := t.Ports[i]; a.State == Discarding || t.Ports[i+1].State == Discarding {
			blocked = append(blocked, Link{A: a.Bridge, B: a.Peer, Cost: a.Cost})
		}
	}
	return blocked
}
