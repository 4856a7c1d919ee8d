package topology_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/internal/natural"
	"github.com/ovsfabric/fabric/topology"
)

// fabric makes a topology of the named hosts; "h1@paris" is host h1 in site paris.
func fabric(strategy topology.Strategy, hosts ...string) *topology.Topology {
	t := &topology.Topology{
		Name:      "demo",
		Network:   netip.MustParsePrefix("10.0.0.0/8"),
		Tree:      topology.TreeSpec{Protocol: topology.RSTP},
		GraphSpec: topology.GraphSpec{Strategy: strategy},
	}
	for _, h := range hosts {
		name, site, _ := strings.Cut(h, "@")
		t.Hosts = append(t.Hosts, topology.Host{Name: name, Site: site, Weight: 1})
	}
	return t
}

func numbered(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprint("h", i+1)
	}
	return names
}

func graph(t testing.TB, topo *topology.Topology) *topology.Graph {
	t.Helper()
	g, err := topo.Graph()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// tree simulates a graph with identities in the order of the hosts, root and backup first, without the lost host.
func tree(topo *topology.Topology, g *topology.Graph, lost string) *topology.Tree {
	var bridges []topology.Bridge
	number := map[string]uint16{}
	for i, h := range topo.Hosts {
		number[h.Name] = uint16(i + 1)
		b := topology.Bridge{Name: h.Name, Priority: 0x8000, MAC: [6]byte{2, 0, 0, 0, byte(i >> 8), byte(i)}}
		switch h.Name {
		case g.Root:
			b.Priority = 0x1000
		case g.Backup:
			b.Priority = 0x2000
		}
		if h.Name != lost {
			bridges = append(bridges, b)
		}
	}
	var edges []topology.Edge
	for _, l := range g.Links {
		edges = append(edges, topology.Edge{A: l.A, B: l.B, CostA: l.Cost, CostB: l.Cost, PortA: number[l.B], PortB: number[l.A]})
	}
	return topology.Simulate(bridges, edges)
}

func pieces(tree *topology.Tree) int {
	n := 0
	for _, node := range tree.Nodes {
		if node.Parent == "" {
			n++
		}
	}
	return n
}

func links(g *topology.Graph) []string {
	list := make([]string, len(g.Links))
	for i, l := range g.Links {
		list[i] = l.A + "-" + l.B
	}
	return list
}

func TestGraphLinks(t *testing.T) {
	tests := []struct {
		name string
		topo *topology.Topology
		want []string
	}{
		{"single host", fabric(topology.Auto, "h1"), nil},
		{"two in a ring", fabric(topology.Ring, "h1", "h2"), []string{"h1-h2"}},
		{"two hubs", fabric(topology.Hub, "h1", "h2"), []string{"h1-h2"}},
		{"ring", fabric(topology.Ring, numbered(4)...), []string{"h1-h2", "h1-h4", "h2-h3", "h3-h4"}},
		{"mesh", fabric(topology.Mesh, numbered(4)...), []string{"h1-h2", "h1-h3", "h1-h4", "h2-h3", "h2-h4", "h3-h4"}},
		{"hub", fabric(topology.Hub, numbered(4)...), []string{"h1-h2", "h1-h3", "h1-h4", "h2-h3", "h2-h4"}},
		{"two sites", fabric(topology.Sites, "a1@a", "a2@a", "a3@a", "b1@b", "b2@b"),
			[]string{"a1-a2", "a1-a3", "a1-b1", "a2-a3", "a2-b2", "b1-b2"}},
		{"a site of one host", fabric(topology.Sites, "a1@a", "a2@a", "b1@b"), []string{"a1-a2", "a1-b1", "a2-b1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, links(graph(t, tt.topo)), equal); diff != "" {
				t.Errorf("links (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGraphOfSingleHostHasNoLinks(t *testing.T) {
	for _, strategy := range []topology.Strategy{topology.Auto, topology.Mesh, topology.Ring, topology.Hub, topology.Sparse, topology.Tiers, topology.Sites, topology.Explicit} {
		g := graph(t, fabric(strategy, "h1@a"))
		if g.Root != "h1" || g.Backup != "" || len(g.Links) != 0 {
			t.Errorf("%s: root %q, backup %q, links %v", strategy, g.Root, g.Backup, g.Links)
		}
	}
}

func TestGraphHubObeysPins(t *testing.T) {
	topo := fabric(topology.Hub, numbered(5)...)
	topo.Tree.Backup = "h1"
	g := graph(t, topo)
	if g.Root != "h2" || g.Backup != "h1" {
		t.Errorf("root %s, backup %s; want h2, h1", g.Root, g.Backup)
	}
	topo.Tree.Root = "h4"
	g = graph(t, topo)
	want := []string{"h1-h2", "h1-h3", "h1-h4", "h1-h5", "h2-h4", "h3-h4", "h4-h5"}
	if diff := cmp.Diff(want, links(g)); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestGraphAutoPicksByNumberAndSites(t *testing.T) {
	stp := fabric(topology.Auto, numbered(300)...)
	stp.Tree.Protocol = topology.STP
	large, many, small := fabric(topology.Auto, numbered(600)...), fabric(topology.Auto, numbered(300)...), fabric(topology.Auto, numbered(300)...)
	for sites, topo := range map[int]*topology.Topology{2: large, 300: many, 3: small} {
		topo.Tree.Protocol = topology.STP
		for i := range topo.Hosts {
			topo.Hosts[i].Site = fmt.Sprint("s", i%sites)
		}
	}
	tests := []struct {
		topo *topology.Topology
		want topology.Strategy
	}{
		{fabric(topology.Auto, numbered(1)...), topology.Mesh},
		{fabric(topology.Auto, numbered(3)...), topology.Mesh},
		{fabric(topology.Auto, numbered(4)...), topology.Ring},
		{fabric(topology.Auto, numbered(7)...), topology.Ring},
		{fabric(topology.Auto, numbered(8)...), topology.Hub},
		{fabric(topology.Auto, numbered(300)...), topology.Hub},
		{stp, topology.Tiers},
		{fabric(topology.Auto, numbered(5000)...), topology.Tiers},
		{fabric(topology.Auto, "a1@a", "a2@a", "b1@b", "b2@b"), topology.Sites},
		{fabric(topology.Auto, "a1@a", "b1@b", "b2@b"), topology.Sites}, // a mesh has as many tunnels, but its tree crosses twice
		{small, topology.Sites},
		{large, topology.Tiers},
		{many, topology.Tiers},
		{fabric(topology.Auto, "a1@a", "a2@a", "b1@b", "b2"), topology.Ring},
	}
	for _, tt := range tests {
		g := graph(t, tt.topo)
		if g.Strategy != tt.want || g.Why == "" {
			t.Errorf("%d hosts: %s because %s; want %s", len(tt.topo.Hosts), g.Strategy, g.Why, tt.want)
		}
		if d := tree(tt.topo, g, "").Diameter; d > 7 || len(g.Warnings) > 0 {
			t.Errorf("%d hosts by %s: %d bridges on the longest path, warnings %q", len(tt.topo.Hosts), g.Strategy, d, g.Warnings)
		}
	}
}

func TestGraphKeepsItsHubsWhenAHostOfTheFirstNameComes(t *testing.T) {
	ids := map[string]int{"a0": 99}
	for i, name := range numbered(30) {
		ids[name] = i + 1
	}
	for _, strategy := range []topology.Strategy{topology.Hub, topology.Tiers, topology.Sites} {
		before, after := fabric(strategy, numbered(30)...), fabric(strategy, append([]string{"a0"}, numbered(30)...)...)
		for _, topo := range []*topology.Topology{before, after} {
			for i, h := range topo.Hosts {
				topo.Hosts[i].Site = fmt.Sprint("s", ids[h.Name]%3)
			}
		}
		g := graph(t, after.WithIDs(ids))
		if changed, own := difference(graph(t, before), g, "a0"); changed != 2 || own != 2 {
			t.Errorf("%s: %d tunnels change, %d of them the new host's; want 2 and 2", strategy, changed, own)
		}
		if !slices.IsSortedFunc(g.Links, func(x, y topology.Link) int {
			return natural.Compare(x.A+" "+x.B, y.A+" "+y.B)
		}) {
			t.Errorf("%s: links out of order: %v", strategy, g.Links)
		}
	}
}

func TestGraphCosts(t *testing.T) {
	topo := fabric(topology.Ring, numbered(4)...)
	topo.Links = []topology.LinkSpec{{A: "h2", B: "h3", Cost: 7}}
	want := []topology.Link{{A: "h1", B: "h2", Cost: 2000}, {A: "h1", B: "h4", Cost: 2000}, {A: "h2", B: "h3", Cost: 7}, {A: "h3", B: "h4", Cost: 2000}}
	if diff := cmp.Diff(want, graph(t, topo).Links); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func TestGraphRootIsInTheMiddle(t *testing.T) {
	topo := fabric(topology.Explicit, numbered(5)...)
	for _, l := range []string{"h1-h5", "h2-h4", "h3-h5", "h4-h5"} { // h1 and h3 on h5, and a tail h4, h2
		a, b, _ := strings.Cut(l, "-")
		topo.Links = append(topo.Links, topology.LinkSpec{A: a, B: b})
	}
	g := graph(t, topo)
	if g.Root != "h4" { // the tree is the graph itself, whoever is root; h5 is as far from its farthest host
		t.Errorf("root %s, want h4", g.Root)
	}
	topo.Links = append(topo.Links, topology.LinkSpec{A: "h1", B: "h2"})
	g = graph(t, topo)
	if g.Root != "h1" || g.Backup != "h5" { // the tree is that of root h5, and the loss of h1 cuts nobody off
		t.Errorf("root %s, backup %s; want h1, h5", g.Root, g.Backup)
	}
}

func TestGraphWarnings(t *testing.T) {
	chain := fabric(topology.Explicit, numbered(3)...)
	chain.Links = []topology.LinkSpec{{A: "h1", B: "h2"}, {A: "h2", B: "h3"}}
	want := []string{ // in the order of the file
		"the loss of host h2 cuts the fabric in two; a link around it would help",
		"the loss of the link between h1 and h2 cuts the fabric in two; a second way would help",
		"the loss of the link between h2 and h3 cuts the fabric in two; a second way would help",
	}
	got := graph(t, chain).Warnings
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if got := graph(t, fabric(topology.Ring, numbered(9)...)).Warnings; len(got) != 1 || !strings.Contains(got[0], "longest path has 9 bridges") {
		t.Errorf("ring of 9: %q", got)
	}
}

func TestGraphErrors(t *testing.T) {
	stpHub := fabric(topology.Hub, numbered(300)...)
	stpHub.Tree.Protocol = topology.STP
	star := fabric(topology.Explicit, numbered(300)...)
	star.Tree.Protocol = topology.STP
	for _, h := range star.Hosts[1:] {
		star.Links = append(star.Links, topology.LinkSpec{A: "h1", B: h.Name})
	}
	parallel := fabric(topology.Explicit, numbered(2)...)
	parallel.Links = []topology.LinkSpec{{A: "h1", B: "h2"}, {A: "h1", B: "h2"}}
	for want, topo := range map[string]*topology.Topology{
		"two tunnels between h1 and h2":                                      parallel,
		"strategy hub gives a host 299 tunnels, and stp has numbers for 254": stpHub,
		"host h1 would have 299 tunnels":                                     star,
		"the tree gets 29 hops deep after the loss of":                       fabric(topology.Ring, numbered(30)...),
		"no way leads from h1 to h2, h3, h4, h5, h6, h7, h8, h9 and 2 more":  fabric(topology.Explicit, numbered(11)...),
	} {
		if _, err := topo.Graph(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v lacks %q", err, want)
		}
	}
}

// TestGraphSurvivesAnyOneLoss tries every host and every link of graphs that promise to.
func TestGraphSurvivesAnyOneLoss(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		strategy := rapid.SampledFrom([]topology.Strategy{topology.Auto, topology.Mesh, topology.Ring, topology.Hub, topology.Sparse, topology.Tiers, topology.Sites}).Draw(t, "strategy")
		topo := fabric(strategy, numbered(rapid.IntRange(3, 20).Draw(t, "hosts"))...)
		if strategy == topology.Sites {
			for i := range topo.Hosts {
				topo.Hosts[i].Site = rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "site")
			}
		}
		if strategy == topology.Sparse {
			topo.GraphSpec.Degree = rapid.IntRange(2, 7).Draw(t, "degree")
		}
		if rapid.Bool().Draw(t, "pinned") {
			topo.Tree.Root = rapid.SampledFrom(topo.Hosts).Draw(t, "root").Name
		}
		g, err := topo.Graph()
		if err != nil {
			t.Fatal(err)
		}
		if g.Root == g.Backup || g.Backup == "" {
			t.Fatalf("root %q, backup %q", g.Root, g.Backup)
		}
		for _, h := range topo.Hosts {
			if n := pieces(tree(topo, g, h.Name)); n != 1 {
				t.Fatalf("%s: %d pieces after the loss of %s\n%v", g.Strategy, n, h.Name, links(g))
			}
		}
		for i := range g.Links {
			less := *g
			less.Links = slices.Delete(slices.Clone(g.Links), i, i+1)
			if n := pieces(tree(topo, &less, "")); n != 1 {
				t.Fatalf("%s: %d pieces after the loss of %v\n%v", g.Strategy, n, g.Links[i], links(g))
			}
		}
		if slices.ContainsFunc(g.Warnings, func(w string) bool { return strings.Contains(w, "cuts the fabric") }) {
			t.Fatalf("warnings of cuts that are not there: %q", g.Warnings)
		}
		degree := map[string]int{}
		for _, l := range g.Links {
			degree[l.A]++
			degree[l.B]++
		}
		for h, d := range degree {
			if strategy == topology.Sparse && d > topo.GraphSpec.Degree {
				t.Fatalf("%s has %d links, more than %d", h, d, topo.GraphSpec.Degree)
			}
		}
	})
}

// TestGraphWarnsOfEveryCut compares with trying every host and link of random graphs.
func TestGraphWarnsOfEveryCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(3, 8).Draw(t, "hosts")
		topo := fabric(topology.Explicit, numbered(n)...)
		for b := 1; b < n; b++ { // a random tree, and more
			up := rapid.IntRange(0, b-1).Draw(t, "up")
			for a := range b {
				if a == up || rapid.IntRange(0, 3).Draw(t, "linked") == 0 {
					topo.Links = append(topo.Links, topology.LinkSpec{A: topo.Hosts[a].Name, B: topo.Hosts[b].Name})
				}
			}
		}
		g, err := topo.Graph()
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		for _, h := range topo.Hosts {
			if pieces(tree(topo, g, h.Name)) > 1 {
				want = append(want, "the loss of host "+h.Name+" cuts the fabric in two; a link around it would help")
			}
		}
		for i, l := range g.Links {
			less := *g
			less.Links = slices.Delete(slices.Clone(g.Links), i, i+1)
			if pieces(tree(topo, &less, "")) > 1 {
				want = append(want, fmt.Sprintf("the loss of the link between %s and %s cuts the fabric in two; a second way would help", l.A, l.B))
			}
		}
		got := slices.DeleteFunc(slices.Clone(g.Warnings), func(w string) bool { return !strings.Contains(w, "cuts") })
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Fatalf("warnings of %v (-want +got):\n%s", links(g), diff)
		}
	})
}

// TestGraphSitesCrossOnce counts the tree links between sites: one fewer than sites is a tree of sites.
func TestGraphSitesCrossOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topo := fabric(topology.Sites, numbered(rapid.IntRange(2, 20).Draw(t, "hosts"))...)
		site := map[string]string{}
		sites := map[string]bool{}
		for i := range topo.Hosts {
			h := &topo.Hosts[i]
			h.Site = rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}).Draw(t, "site")
			site[h.Name], sites[h.Site] = h.Site, true
		}
		if rapid.Bool().Draw(t, "pinned") {
			topo.Tree.Backup = rapid.SampledFrom(topo.Hosts).Draw(t, "backup").Name
		}
		g, err := topo.Graph()
		if err != nil {
			t.Fatal(err)
		}
		crossings := 0
		for _, n := range tree(topo, g, "").Nodes {
			if n.Parent != "" && site[n.Parent] != site[n.Name] {
				crossings++
			}
		}
		if crossings != len(sites)-1 {
			t.Fatalf("the tree crosses %d times between %d sites\n%v", crossings, len(sites), g.Links)
		}
	})
}

// TestGraphSmallChangesStaySmall adds a host in the middle and counts the links that come and go beside its own.
func TestGraphSmallChangesStaySmall(t *testing.T) {
	for _, strategy := range []topology.Strategy{topology.Ring, topology.Hub, topology.Sparse} {
		n := 200
		if strategy == topology.Ring {
			n = 19
		}
		names := numbered(n)
		before := graph(t, fabric(strategy, names...))
		after := graph(t, fabric(strategy, slices.Insert(slices.Clone(names), n/2, fmt.Sprintf("h%da", n/2))...))
		changed := map[string]bool{}
		for _, l := range links(before) {
			changed[l] = true
		}
		for _, l := range links(after) {
			if changed[l] {
				delete(changed, l)
			} else {
				changed[l] = true
			}
		}
		if len(changed) > 8 {
			t.Errorf("%s: one host more changes %d tunnels", strategy, len(changed))
		}
	}
}

func BenchmarkGraph(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		topo := fabric(topology.Auto, numbered(n)...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				graph(b, topo)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10, 100, 1000, 10000} {
		var file strings.Builder
		file.WriteString("version: 1\nname: demo\nnetwork: 10.0.0.0/8\nhosts:\n")
		for i := range n {
			fmt.Fprintf(&file, "  h%d: {address: 192.168.%d.%d}\n", i, i/250, i%250)
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				parse(b, file.String())
			}
		})
	}
}
