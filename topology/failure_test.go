package topology_test

import (
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/topology"
)

// chain hangs one bridge from another, the root first.
func chain(names ...string) *topology.Tree {
	var bridges []topology.Bridge
	var edges []topology.Edge
	for i, name := range names {
		bridges = append(bridges, bridge(name, 0x8000, byte(i)))
		if i > 0 {
			edges = append(edges, edge(names[i-1], name, 1, 2, 1))
		}
	}
	return topology.Simulate(bridges, edges)
}

func TestParseFailure(t *testing.T) {
	tree := chain("h1", "h2", "a", "a-b", "b-c", "c", "a-b-c")
	for text, want := range map[string]string{
		"host:h2":      "host:h2",
		"host:a-b":     "host:a-b",
		"link:h1-h2":   "link:h1-h2",
		"link:h2-h1":   "link:h1-h2",
		"link:a-a-b":   "link:a-a-b",
		"link:c-a-b-c": "link:c-a-b-c",
		"link:a-b,b-c": "link:a-b-b-c",

		"h2":             `"h2" is no failure: write host:NAME or link:A-B`,
		"host:":          `host:: there is no host ""`,
		"host:h9":        `host:h9: there is no host "h9"`,
		"link:":          "link:: no two hosts of these names have a tunnel to each other",
		"link:h1":        "link:h1: no two hosts of these names have a tunnel to each other",
		"link:h1-a":      "link:h1-a: no two hosts of these names have a tunnel to each other",
		"link:h1,h2,a":   "link:h1,h2,a: no two hosts of these names have a tunnel to each other",
		"link:h1-h2,a-b": "link:h1-h2,a-b: no two hosts of these names have a tunnel to each other",
	} {
		f, err := tree.ParseFailure(text)
		got := f.String()
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestParseFailureWantsAnswerWhereLinksLookAlike(t *testing.T) {
	tree := topology.Simulate(
		[]topology.Bridge{bridge("a", 0, 1), bridge("a-b", 0, 2), bridge("b-c", 0, 3), bridge("c", 0, 4)},
		[]topology.Edge{edge("a", "b-c", 1, 1, 1), edge("a-b", "c", 1, 1, 1)},
	)
	_, err := tree.ParseFailure("link:a-b-c")
	if want := "link:a-b-c may be several links: write link:a,b-c or link:a-b,c"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	if f, err := tree.ParseFailure("link:c,a-b"); err != nil || f != (topology.Failure{A: "a-b", B: "c"}) {
		t.Errorf("%v, %v", f, err)
	}
}

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
		after := tree.After(f)
		got := after.MainRoot()
		if cut := after.CutOff(); len(cut) > 0 {
			got += ", without " + strings.Join(cut, " ")
		}
		if got != want {
			t.Errorf("%s: %s, want %s", lost, got, want)
		}
	}
}

func TestAfterLossOfAllNothingIsLeft(t *testing.T) {
	after := chain("h1", "h2").After(topology.Failure{Host: "h1"}, topology.Failure{Host: "h2"})
	if after.MainRoot() != "" || len(after.Nodes) > 0 || after.Diameter != 0 {
		t.Errorf("%+v", after)
	}
}

// drawFailures takes any bridges and edges.
func drawFailures(t *rapid.T, bridges []topology.Bridge, edges []topology.Edge) []topology.Failure {
	var failures []topology.Failure
	for _, b := range bridges {
		if rapid.IntRange(0, 5).Draw(t, "host fails") == 0 {
			failures = append(failures, topology.Failure{Host: b.Name})
		}
	}
	for _, e := range edges {
		if rapid.IntRange(0, 5).Draw(t, "link fails") == 0 {
			failures = append(failures, topology.Failure{A: e.A, B: e.B})
		}
	}
	return failures
}

func TestAfterIsTheTreeOfWhatIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		failures := drawFailures(t, bridges, edges)
		lost := make(map[string]bool)
		for _, f := range failures {
			lost[f.String()] = true
		}
		left := slices.DeleteFunc(slices.Clone(bridges), func(b topology.Bridge) bool { return lost["host:"+b.Name] })
		links := slices.DeleteFunc(slices.Clone(edges), func(e topology.Edge) bool {
			return lost["host:"+e.A] || lost["host:"+e.B] || lost["link:"+e.A+"-"+e.B]
		})
		got := topology.Simulate(bridges, edges).After(failures...)
		if diff := gocmp.Diff(reference(left, links), got.Ports); diff != "" {
			t.Fatalf("ports (-reference +got):\n%s", diff)
		}
		if diff := gocmp.Diff(topology.Simulate(left, links).Nodes, got.Nodes); diff != "" {
			t.Fatalf("nodes (-simulated +got):\n%s", diff)
		}
	})
}

// A single failure that is not listed leaves all others their paths.
func TestFailuresAreAllThatMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bridges, edges := drawGraph(t)
		tree := topology.Simulate(bridges, edges)
		pieces := func(tree *topology.Tree) int {
			n := 0
			for _, node := range tree.Nodes {
				if node.Parent == "" {
					n++
				}
			}
			return n
		}
		var all []topology.Failure
		for _, b := range bridges {
			all = append(all, topology.Failure{Host: b.Name})
		}
		for _, e := range edges {
			all = append(all, topology.Failure{A: e.A, B: e.B})
		}
		listed := tree.Failures()
		for _, f := range all {
			if slices.Contains(listed, f) {
				continue
			}
			after := tree.After(f)
			if rerouted, _ := after.Rerouted(tree); rerouted > 0 || pieces(after) != pieces(tree) {
				t.Fatalf("%s is not listed, and reroutes %d bridges", f, rerouted)
			}
		}
	})
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
		count, hops := after.Rerouted(before)
		if changed != (count > 0) || changed != (hops > 0) {
			t.Fatalf("%d bridges are rerouted over %d hops, and that a path changed is %t", count, hops, changed)
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
		bridges, hops := tree.After(lost).Rerouted(tree)
		if got := [2]int{bridges, hops}; got != want {
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
		if got := tree.After(failures...).Circulates(tree); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
	}
}
