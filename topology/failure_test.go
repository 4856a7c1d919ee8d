package topology_test

import (
	"slices"
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

func TestAfterLossOfAllNothingIsLeft(t *testing.T) {
	after := chain("h1", "h2").After(topology.Failure{Host: "h1"}, topology.Failure{Host: "h2"})
	if len(after.Nodes) > 0 || after.Diameter != 0 {
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
