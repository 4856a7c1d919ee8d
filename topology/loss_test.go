package topology_test

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/topology"
)

func TestCutOffCountsFromLargestPiece(t *testing.T) {
	tree := chain("h1", "h2", "h3", "h4", "h5")
	for lost, want := range map[string]string{
		"host:h1":    "h2",
		"host:h2":    "h3, without h1",
		"host:h3":    "h1, without h4 h5", // of two pieces of two, the one with the better root
		"link:h1-h2": "h2, without h1",
		"link:h4-h5": "h1, without h5",
	} {
		f, err := tree.ParseFailure(lost)
		if err != nil {
			t.Fatal(err)
		}
		l := tree.After(f).Loss(tree)
		got := l.Root
		if len(l.CutOff) > 0 {
			got += ", without " + strings.Join(l.CutOff, " ")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", lost, got, want)
		}
	}
}

// shown is what failures leave, read from the trees before and after by the names in them.
func shown(bridges []topology.Bridge, before, after *topology.Tree) topology.Loss {
	id := map[string]uint64{"": math.MaxUint64}
	for _, b := range bridges {
		id[b.Name] = identifier(b)
	}
	l := topology.Loss{CutOff: []string{}, Diameter: after.Diameter}
	size, links := map[string]int{}, map[string]int{}
	for _, n := range after.Nodes {
		size[n.Root]++
	}
	for i := 0; i < len(after.Ports); i += 2 {
		links[after.Node(after.Ports[i].Bridge).Root]++
	}
	rerouted := func(n topology.Node) bool {
		for ; n.Parent != ""; n = after.Node(n.Parent) {
			if before.Node(n.Name).Parent != n.Parent && before.Node(n.Parent).Parent != n.Name {
				l.Hops = max(l.Hops, n.Depth)
				return true
			}
		}
		return false
	}
	for _, n := range after.Nodes {
		if n.Parent == "" && (size[n.Name] > size[l.Root] || size[n.Name] == size[l.Root] && id[n.Name] < id[l.Root]) {
			l.Root = n.Name
		}
		if before.Node(n.Name).Root != n.Root && links[n.Root] >= size[n.Root] {
			l.Circulates = true
		}
		if rerouted(n) {
			l.Rerouted++
		}
	}
	for _, n := range after.Nodes {
		if n.Root != l.Root {
			l.CutOff = append(l.CutOff, n.Name)
		}
	}
	return l
}

func TestLossIsWhatTheTreesShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		before := topology.Simulate(bridges, edges)
		after := before.After(drawFailures(t, bridges, edges)...)
		if diff := gocmp.Diff(shown(bridges, before, after), after.Loss(before)); diff != "" {
			t.Fatalf("(-shown +got):\n%s", diff)
		}
	})
}

// TestLossesAreWhatEachFailureShows compares with simulating every failure as a whole. Those that are not listed leave all
// others their paths.
func TestLossesAreWhatEachFailureShows(t *testing.T) {
	for name, draw := range map[string]func(*rapid.T) ([]topology.Bridge, []topology.Edge){
		"in pieces": drawGraph,
		"connected": func(t *rapid.T) ([]topology.Bridge, []topology.Edge) { return connected(t, 24) },
	} {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			bridges, edges := draw(t)
			tree := topology.Simulate(bridges, edges)
			losses := maps.Collect(tree.Losses())
			for _, f := range singleFailures(bridges, edges) {
				after := tree.After(f)
				want := shown(bridges, tree, after)
				got, listed := losses[f]
				if listed {
					if diff := gocmp.Diff(want, got); diff != "" {
						t.Fatalf("%s of %v (-shown +got):\n%s", f, edges, diff)
					}
				} else if want.Rerouted > 0 || want.Circulates || pieces(after) != pieces(tree) {
					t.Fatalf("%s of %v is not listed, and leaves %+v", f, edges, want)
				}
			}
		}))
	}
}

func singleFailures(bridges []topology.Bridge, edges []topology.Edge) []topology.Failure {
	var all []topology.Failure
	for _, b := range bridges {
		all = append(all, topology.Failure{Host: b.Name})
	}
	for _, e := range edges {
		all = append(all, topology.Failure{A: e.A, B: e.B})
	}
	return all
}

func TestLossesComeInTheOrderOfHostsAndLinks(t *testing.T) {
	tree := topology.Simulate(
		[]topology.Bridge{bridge("x", 1, 2), bridge("r", 0, 1), bridge("y", 2, 3), bridge("z", 3, 4)},
		[]topology.Edge{edge("y", "z", 1, 3, 1), edge("r", "y", 9, 2, 1), edge("r", "x", 1, 1, 1), edge("x", "y", 1, 2, 2)},
	)
	var got []string
	for f := range tree.Losses() {
		got = append(got, f.String())
	}
	want := []string{"host:x", "host:r", "host:y", "link:y-z", "link:r-x", "link:x-y"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// path is the way from one bridge to another, nil where there is none.
func path(tree *topology.Tree, from, to string) []string {
	up := func(name string) []string {
		list := []string{name}
		for parent := tree.Node(name).Parent; parent != ""; parent = tree.Node(parent).Parent {
			list = append(list, parent)
		}
		return list
	}
	a, b := up(from), up(to)
	for i, name := range a {
		if at := slices.Index(b, name); at >= 0 {
			way := slices.Concat(a[:i], b[:at+1])
			slices.Reverse(way[i:])
			return way
		}
	}
	return nil
}

func TestReroutedIsZeroWhereNoPathChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		before := topology.Simulate(bridges, edges)
		after := before.After(drawFailures(t, bridges, edges)...)
		changed := false
		for _, a := range after.Nodes {
			for _, b := range after.Nodes {
				if now := path(after, a.Name, b.Name); now != nil && !slices.Equal(now, path(before, a.Name, b.Name)) {
					changed = true
				}
			}
		}
		if l := after.Loss(before); changed != (l.Rerouted > 0) || changed != (l.Hops > 0) {
			t.Fatalf("%d bridges are rerouted over %d hops, and that a path changed is %t", l.Rerouted, l.Hops, changed)
		}
	})
}

func TestReroutedCountsAllBehindNewLink(t *testing.T) {
	tree := topology.Simulate(
		[]topology.Bridge{bridge("r", 0, 1), bridge("x", 1, 2), bridge("y", 2, 3), bridge("z", 3, 4)},
		[]topology.Edge{edge("r", "x", 1, 1, 1), edge("r", "y", 9, 2, 1), edge("x", "y", 1, 2, 2), edge("y", "z", 1, 3, 1)},
	)
	for lost, want := range map[topology.Failure][2]int{
		{A: "x", B: "y"}: {2, 1}, // y hangs from r, and z behind it
		{A: "r", B: "x"}: {3, 1}, // x turns to y
		{A: "y", B: "z"}: {0, 0},
		{Host: "r"}:      {0, 0}, // the links to x, y and z are as they were
	} {
		l := tree.After(lost).Loss(tree)
		if got := [2]int{l.Rerouted, l.Hops}; got != want {
			t.Errorf("%s: %v, want %v", lost, got, want)
		}
	}
}

func TestNewsOfALostRootCirculateInALoop(t *testing.T) {
	tree := topology.Simulate(
		[]topology.Bridge{bridge("r", 0, 1), bridge("x", 1, 2), bridge("y", 2, 3), bridge("z", 3, 4)},
		[]topology.Edge{edge("r", "x", 1, 1, 1), edge("x", "y", 1, 2, 2), edge("y", "z", 1, 3, 1), edge("x", "z", 1, 3, 2)},
	)
	for text, want := range map[string]bool{
		"host:r": true, "link:r-x": true, "host:r link:y-z": false, "host:x": false, "host:z": false, "link:x-y": false,
	} {
		var failures []topology.Failure
		for field := range strings.FieldsSeq(text) {
			f, err := tree.ParseFailure(field)
			if err != nil {
				t.Fatal(err)
			}
			failures = append(failures, f)
		}
		if got := tree.After(failures...).Loss(tree).Circulates; got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
