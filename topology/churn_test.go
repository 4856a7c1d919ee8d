package topology_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ovsfabric/fabric/internal/natural"
	"github.com/ovsfabric/fabric/topology"
)

// TestGraphChangesInProportionToHostThatComesOrGoes adds and removes hosts of random names, hubs among them, and compares how
// many tunnels change with how many the host itself has.
func TestGraphChangesInProportionToHostThatComesOrGoes(t *testing.T) {
	const instances = 100
	tests := []struct {
		strategy  topology.Strategy
		mostHosts int
		factor    float64 // changed tunnels for each tunnel of the host, at most
		beside    float64 // and so many where hubs change
	}{
		{topology.Mesh, 60, 1, 0},
		{topology.Ring, 18, 1.5, 0},
		{topology.Hub, 60, 2, 0},
		{topology.Sparse, 60, 2, 0},
		{topology.Sites, 60, 2, 4 * 5},          // the hubs of 5 sites turn to another
		{topology.Tiers, 1000, 2, 4 * 1.5 * 64}, // a group, half as large again as the average, splits or joins another
	}
	for _, tt := range tests {
		t.Run(string(tt.strategy), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			worst, most := 0.0, 0
			for range instances {
				large := fabric(tt.strategy)
				for _, name := range rng.Perm(2000)[:5+rng.IntN(tt.mostHosts-5)] {
					large.Hosts = append(large.Hosts, topology.Host{Name: fmt.Sprint("h", name), Site: string('a' + rune(rng.IntN(5))), Weight: 1})
				}
				slices.SortFunc(large.Hosts, func(a, b topology.Host) int { return natural.Compare(a.Name, b.Name) })
				i := rng.IntN(len(large.Hosts))
				small := *large
				small.Hosts = slices.Delete(slices.Clone(large.Hosts), i, i+1)
				changed, own := difference(graph(t, &small), graph(t, large), large.Hosts[i].Name)
				worst, most = max(worst, float64(changed)/float64(own)), max(most, changed)
				if limit := tt.factor*float64(own) + tt.beside; float64(changed) > limit {
					t.Errorf("%s of %d hosts has %d tunnels, and %d change", large.Hosts[i].Name, len(large.Hosts), own, changed)
				}
			}
			t.Logf("at most %d tunnels change, and %.1f for each tunnel of the host that comes or goes", most, worst)
		})
	}
}

// difference counts the links that are in one of two graphs only, and those that the host has.
func difference(before, after *topology.Graph, host string) (changed, own int) {
	in := map[string]int{}
	for _, l := range links(before) {
		in[l]++
	}
	for _, l := range links(after) {
		in[l]--
	}
	for _, n := range in {
		if n != 0 {
			changed++
		}
	}
	for _, l := range after.Links {
		if l.A == host || l.B == host {
			own++
		}
	}
	return changed, own
}
