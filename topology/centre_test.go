package topology_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ovsfabric/fabric/topology"
)

// means are the mean over all pairs of hosts of the path in the tree, in normal state and after the loss of the root, and what
// else there is to normal state: lengths in hops, or in microseconds where these were measured, and depth in hops.
type means struct {
	normal, after float64
	longest       float64
	depth         int
}

func (m means) normalNoWorse(than means) bool {
	return m.normal <= than.normal && m.longest <= than.longest && m.depth <= than.depth
}

func meanPaths(topo *topology.Topology, g *topology.Graph) means {
	mean := func(lost string) (mean, longest float64, depth int) {
		tr := tree(topo, g, lost)
		var sum, pairs float64
		for i, a := range tr.Nodes {
			for _, b := range tr.Nodes[:i] {
				length := pathLength(topo, tr, a.Name, b.Name)
				sum, longest = sum+length, max(longest, length)
				pairs++
			}
			depth = max(depth, a.Depth)
		}
		return sum / max(pairs, 1), longest, depth
	}
	var m means
	m.normal, m.longest, m.depth = mean("")
	m.after, _, _ = mean(g.Root)
	return m
}

func pathLength(topo *topology.Topology, tr *topology.Tree, a, b string) (length float64) {
	for a != b {
		if tr.Node(a).Depth < tr.Node(b).Depth {
			a, b = b, a
		}
		up := tr.Node(a).Parent
		length += hopLength(topo, a, up)
		a = up
	}
	return length
}

// hopLength knows the time of every pair that a test measured.
func hopLength(topo *topology.Topology, a, b string) float64 {
	if topo.RTT == nil {
		return 1
	}
	if rtt, ok := topo.RTT[[2]string{a, b}]; ok {
		return float64(rtt)
	}
	return float64(topo.RTT[[2]string{b, a}])
}

// bestCentre tries every pair of root and backup root: for the least mean in normal state of all, and for the least after the
// loss of the root of those that make normal state no worse than what was chosen.
func bestCentre(t *testing.T, topo *topology.Topology, chosen *topology.Graph) means {
	best := means{normal: math.Inf(1), after: math.Inf(1)}
	limit := meanPaths(topo, chosen)
	for _, root := range topo.Hosts {
		for _, backup := range topo.Hosts {
			if root.Name == backup.Name {
				continue
			}
			pinned := *topo
			pinned.Tree.Root, pinned.Tree.Backup = root.Name, backup.Name
			m := meanPaths(&pinned, graph(t, &pinned))
			best.normal = min(best.normal, m.normal)
			if m.normalNoWorse(limit) {
				best.after = min(best.after, m.after)
			}
		}
	}
	return best
}

// randomLinks lays a ring in random order, which no loss cuts, and random links across.
func randomLinks(rng *rand.Rand, topo *topology.Topology, mostCost int) {
	n := len(topo.Hosts)
	order := rng.Perm(n)
	seen := map[[2]int]bool{}
	add := func(a, b int) {
		a, b = min(a, b), max(a, b)
		if a != b && !seen[[2]int{a, b}] {
			seen[[2]int{a, b}] = true
			topo.Links = append(topo.Links, topology.LinkSpec{A: topo.Hosts[a].Name, B: topo.Hosts[b].Name, Cost: uint32(1 + rng.IntN(mostCost))})
		}
	}
	for i := range order {
		add(order[i], order[(i+1)%n])
	}
	for range rng.IntN(2 * n) {
		add(rng.IntN(n), rng.IntN(n))
	}
}

// randomRTT places hosts at random on a map of 100 ms times 100 ms.
func randomRTT(rng *rand.Rand, topo *topology.Topology) *topology.Topology {
	place := make([][2]float64, len(topo.Hosts))
	for i := range place {
		place[i] = [2]float64{rng.Float64() * 100_000, rng.Float64() * 100_000}
	}
	measured := map[[2]string]int64{}
	for i, a := range topo.Hosts {
		for j, b := range topo.Hosts {
			measured[[2]string{a.Name, b.Name}] = int64(math.Hypot(place[i][0]-place[j][0], place[i][1]-place[j][1]))
		}
	}
	return topo.WithRTT(measured)
}

// TestCentreIsNearTheOptimum says how far from the best pair of root and backup root the choice is, on random instances small
// enough to try every pair.
func TestCentreIsNearTheOptimum(t *testing.T) {
	const instances, tolerance = 100, 0.05
	tests := []struct {
		name     string
		strategy topology.Strategy
		mostCost int
		rtt      bool
	}{
		{"equal costs", topology.Explicit, 1, false},
		{"costs 1 to 10", topology.Explicit, 10, false},
		{"ring", topology.Ring, 0, false},
		{"sparse", topology.Sparse, 0, false},
		{"tiers", topology.Tiers, 0, false},
		{"sites", topology.Sites, 0, false},
		{"equal costs by time", topology.Explicit, 1, true},
		{"mesh by time", topology.Mesh, 0, true},
		{"hub by time", topology.Hub, 0, true},
		{"ring by time", topology.Ring, 0, true},
		{"sparse by time", topology.Sparse, 0, true},
		{"tiers by time", topology.Tiers, 0, true},
		{"sites by time", topology.Sites, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(len(tt.name))))
			var worst means
			for range instances {
				topo := fabric(tt.strategy, numbered(3+rng.IntN(7))...)
				switch tt.strategy {
				case topology.Explicit:
					randomLinks(rng, topo, tt.mostCost)
				case topology.Sites:
					for i := range topo.Hosts {
						topo.Hosts[i].Site = string('a' + rune(rng.IntN(3)))
					}
				}
				if tt.rtt {
					topo = randomRTT(rng, topo)
				}
				g := graph(t, topo)
				got, best := meanPaths(topo, g), bestCentre(t, topo, g)
				worst.normal = max(worst.normal, got.normal/best.normal-1)
				worst.after = max(worst.after, got.after/best.after-1)
			}
			t.Logf("mean path over the optimum, at worst of %d: %.1f %%, and %.1f %% after the loss of the root", instances, 100*worst.normal, 100*worst.after)
			if max(worst.normal, worst.after) > tolerance {
				t.Errorf("more than %.0f %% over the optimum", 100*tolerance)
			}
		})
	}
}
