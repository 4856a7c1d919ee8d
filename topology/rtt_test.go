package topology_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/topology"
)

func TestWithRTTTakesBothDirectionsTogether(t *testing.T) {
	topo := fabric(topology.Mesh, "h1", "h2", "h10")
	got := topo.WithRTT(map[[2]string]int64{
		{"h1", "h2"}: 100, {"h2", "h1"}: 300,
		{"h10", "h2"}:  50,
		{"h1", "h10"}:  -1,
		{"h1", "gone"}: 7, {"h1", "h1"}: 7,
	})
	if diff := cmp.Diff(map[[2]string]int64{{"h1", "h2"}: 200, {"h2", "h10"}: 50}, got.RTT); diff != "" {
		t.Errorf("times (-want +got):\n%s", diff)
	}
	if topo.RTT != nil {
		t.Error("the topology itself was changed")
	}
}

func TestGraphTakesMedianForPairThatWasNotMeasured(t *testing.T) {
	topo := fabric(topology.Hub, numbered(4)...)
	for _, tt := range []struct {
		h1   int64 // from h1 to h2 and h3; to h4 it is not known
		want string
	}{{40, "h1"}, {60, "h2"}} {
		g := graph(t, topo.WithRTT(map[[2]string]int64{
			{"h1", "h2"}: tt.h1, {"h1", "h3"}: tt.h1,
			{"h2", "h3"}: 50, {"h2", "h4"}: 50, {"h3", "h4"}: 90,
		}))
		if g.Root != tt.want && g.Backup != tt.want {
			t.Errorf("%d µs: root %s, backup %s, want %s", tt.h1, g.Root, g.Backup, tt.want)
		}
	}
}

func TestGraphRingGoesRoundTheCircle(t *testing.T) {
	topo := fabric(topology.Ring, numbered(6)...)
	circle := []string{"h1", "h4", "h2", "h6", "h3", "h5"}
	measured := map[[2]string]int64{}
	for i, a := range circle {
		for j, b := range circle {
			angle := math.Pi * float64(i-j) / float64(len(circle))
			measured[[2]string{a, b}] = int64(1000 * math.Abs(math.Sin(angle)))
		}
	}
	want := []string{"h1-h4", "h1-h5", "h2-h4", "h2-h6", "h3-h5", "h3-h6"}
	if diff := cmp.Diff(want, links(graph(t, topo.WithRTT(measured)))); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

// TestGraphRingIsNearTheShortest compares with all rings there are.
func TestGraphRingIsNearTheShortest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for range 100 {
		topo := randomRTT(rng, fabric(topology.Ring, numbered(4+rng.IntN(5))...))
		var length float64
		for _, l := range graph(t, topo).Links {
			length += hopLength(topo, l.A, l.B)
		}
		worst = max(worst, length/shortestRing(topo)-1)
	}
	t.Logf("over the shortest ring: %.1f %% at worst", 100*worst)
	if worst > 0.05 {
		t.Errorf("%.1f %% over the shortest ring", 100*worst)
	}
}

func shortestRing(topo *topology.Topology) float64 {
	order := make([]string, len(topo.Hosts))
	for i, h := range topo.Hosts {
		order[i] = h.Name
	}
	shortest := math.Inf(1)
	var extend func(at int, length float64)
	extend = func(at int, length float64) {
		last := order[at-1]
		if at == len(order) {
			shortest = min(shortest, length+hopLength(topo, last, order[0]))
			return
		}
		for i := at; i < len(order); i++ {
			order[at], order[i] = order[i], order[at]
			extend(at+1, length+hopLength(topo, last, order[at]))
			order[at], order[i] = order[i], order[at]
		}
	}
	extend(1, 0)
	return shortest
}

// TestGraphByTimeHasShorterPaths compares the links chosen by times with those chosen by name, under the same root and backup.
func TestGraphByTimeHasShorterPaths(t *testing.T) {
	for _, tt := range []struct {
		strategy topology.Strategy
		hosts    int
		most     float64 // of the mean path by name
	}{
		{topology.Ring, 15, 0.6},
		{topology.Sparse, 60, 0.7},
		{topology.Tiers, 300, 0.7},
		{topology.Sites, 60, 0.8},
	} {
		t.Run(string(tt.strategy), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			var sum float64
			const instances = 10
			for range instances {
				byTime := fabric(tt.strategy, numbered(tt.hosts)...)
				for i := range byTime.Hosts {
					byTime.Hosts[i].Site = string('a' + rune(i%4))
				}
				byTime = randomRTT(rng, byTime)
				chosen := graph(t, byTime)
				byName := *byTime
				byName.RTT = nil
				byName.Tree.Root, byName.Tree.Backup = chosen.Root, chosen.Backup
				sum += meanPaths(byTime, chosen).normal / meanPaths(byTime, graph(t, &byName)).normal
			}
			t.Logf("%.2f of the mean path by name", sum/instances)
			if sum/instances > tt.most {
				t.Errorf("%.2f of the mean path by name, want at most %.2f", sum/instances, tt.most)
			}
		})
	}
}

// TestGraphTiersByTimeStayBalanced has half of the hosts at one place, where all of them are near to one hub.
func TestGraphTiersByTimeStayBalanced(t *testing.T) {
	topo := fabric(topology.Tiers, numbered(400)...)
	measured := map[[2]string]int64{}
	for i, a := range topo.Hosts {
		for j, b := range topo.Hosts {
			measured[[2]string{a.Name, b.Name}] = int64(1000*(max(i, 200)-200) + 1000*(max(j, 200)-200))
		}
	}
	ports := map[string]int{}
	for _, l := range graph(t, topo.WithRTT(measured)).Links {
		ports[l.A]++
		ports[l.B]++
	}
	for host, n := range ports {
		if n > 130 {
			t.Errorf("%s has %d tunnels", host, n)
		}
	}
}

func TestGraphByTimeIsTheSameEveryTime(t *testing.T) {
	for _, strategy := range []topology.Strategy{topology.Mesh, topology.Ring, topology.Hub, topology.Sparse, topology.Tiers, topology.Sites} {
		topo := fabric(strategy, numbered(20)...)
		for i := range topo.Hosts {
			topo.Hosts[i].Site = string('a' + rune(i%3))
		}
		topo = randomRTT(rand.New(rand.NewPCG(1, 2)), topo)
		first := graph(t, topo)
		for range 5 {
			if diff := cmp.Diff(first, graph(t, topo)); diff != "" {
				t.Errorf("%s (-first +again):\n%s", strategy, diff)
			}
		}
	}
}
