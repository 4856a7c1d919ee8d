package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Failure is a host or a link that fails: Host is the one, A and B are the ends of the other, and what is not meant is empty.
type Failure struct {
	Host string
	A, B string // in the order of the edge
}

const hostFailure, linkFailure = "host:", "link:"

// String writes a failure as ParseFailure reads it.
func (f Failure) String() string {
	if f.Host != "" {
		return hostFailure + f.Host
	}
	return linkFailure + f.A + "-" + f.B
}

// hits tells whether a failure takes the link between two hosts.
func (f Failure) hits(a, b string) bool {
	return f.Host != "" && (f.Host == a || f.Host == b) || f.Host == "" && (f.A == a && f.B == b || f.A == b && f.B == a)
}

// ParseFailure reads "host:NAME" or "link:A-B", which may have the ends in either order. Names may have dashes themselves, so a
// link is whichever two hosts with a tunnel the text can be divided into; where that is more than one link, "link:A,B" tells.
// What the tree does not have is an error.
func (t *Tree) ParseFailure(s string) (Failure, error) {
	if name, ok := strings.CutPrefix(s, hostFailure); ok {
		if _, known := t.node[name]; !known {
			return Failure{}, fmt.Errorf("%s: there is no host %q", s, name)
		}
		return Failure{Host: name}, nil
	}
	ends, ok := strings.CutPrefix(s, linkFailure)
	if !ok {
		return Failure{}, fmt.Errorf("%q is no failure: write host:NAME or link:A-B", s)
	}
	separator := "-"
	if strings.Contains(ends, ",") {
		separator = ","
	}
	var found []Failure
	for at := range len(ends) {
		if ends[at:at+1] != separator {
			continue
		}
		if i, ok := t.port[[2]string{ends[:at], ends[at+1:]}]; ok {
			first := t.Ports[i-i%2] // A's, which comes before B's
			found = append(found, Failure{A: first.Bridge, B: first.Peer})
		}
	}
	switch len(found) {
	case 0:
		return Failure{}, fmt.Errorf("%s: no two hosts of these names have a tunnel to each other", s)
	case 1:
		return found[0], nil
	}
	var links []string
	for _, f := range found {
		links = append(links, linkFailure+f.A+","+f.B)
	}
	return Failure{}, fmt.Errorf("%s may be several links: write %s", s, strings.Join(links, " or "))
}

// After is the tree that settles once all of the failures have happened. Hosts that fail are not in it.
func (t *Tree) After(failures ...Failure) *Tree {
	var bridges []Bridge
	for _, b := range t.bridges {
		if !slices.ContainsFunc(failures, func(f Failure) bool { return f.Host == b.Name }) {
			bridges = append(bridges, b)
		}
	}
	var edges []Edge
	for _, e := range t.edges {
		if !slices.ContainsFunc(failures, func(f Failure) bool { return f.hits(e.A, e.B) }) {
			edges = append(edges, e)
		}
	}
	return Simulate(bridges, edges)
}

// Failures lists the single failures that can matter to the others: hosts, in the order of the nodes, and the links that carry
// frames, in the order of the edges. A host at the end of every path, and a link that is blocked, are not among them.
func (t *Tree) Failures() []Failure {
	inner := make(map[string]bool)
	for _, n := range t.Nodes {
		if n.Parent == "" {
			inner[n.Name] = true
		} else {
			inner[n.Parent] = true
		}
	}
	var list []Failure
	for _, n := range t.Nodes {
		if inner[n.Name] {
			list = append(list, Failure{Host: n.Name})
		}
	}
	for i := 0; i < len(t.Ports); i += 2 {
		if a := t.Ports[i]; a.State == Forwarding && t.Ports[i+1].State == Forwarding {
			list = append(list, Failure{A: a.Bridge, B: a.Peer})
		}
	}
	return list
}

// Rerouted tells how many bridges have another path to their root than in the tree before, because it crosses a link that
// carried no frames then, and how many hops from the root the farthest such link ends. Where it is 0, no path between two
// bridges that are still connected has changed, since what forwards did so before.
func (t *Tree) Rerouted(before *Tree) (bridges, hops int) {
	outward := slices.Clone(t.Nodes)
	slices.SortStableFunc(outward, func(a, b Node) int { return cmp.Compare(a.Depth, b.Depth) })
	rerouted := make(map[string]bool)
	for _, n := range outward {
		switch {
		case n.Parent == "":
			continue
		case before.Node(n.Name).Parent != n.Parent && before.Node(n.Parent).Parent != n.Name:
			hops = n.Depth
		case !rerouted[n.Parent]:
			continue
		}
		rerouted[n.Name] = true
	}
	return len(rerouted), hops
}

// Circulates tells whether a piece of the tree has lost the root that it had in the tree before and still has a loop: what its
// bridges have heard of the old root can then go round until it has aged.
func (t *Tree) Circulates(before *Tree) bool {
	bridges, links := make(map[string]int), make(map[string]int)
	for _, n := range t.Nodes {
		bridges[n.Root]++
	}
	for _, e := range t.edges {
		links[t.Node(e.A).Root]++
	}
	return slices.ContainsFunc(t.Nodes, func(n Node) bool { return before.Node(n.Name).Root != n.Root && links[n.Root] >= bridges[n.Root] })
}

// CutOff lists the bridges outside of the largest piece, in the order of the nodes. Of pieces of equal size the one with the
// better root counts as the larger.
func (t *Tree) CutOff() []string {
	main := t.MainRoot()
	cut := []string{}
	for _, n := range t.Nodes {
		if n.Root != main {
			cut = append(cut, n.Name)
		}
	}
	return cut
}

// MainRoot is the root of the largest piece, empty where there is no bridge.
func (t *Tree) MainRoot() string {
	size := make(map[string]int)
	for _, n := range t.Nodes {
		size[n.Root]++
	}
	best := none
	for i, b := range t.bridges {
		if best == none || cmp.Or(cmp.Compare(size[t.bridges[best].Name], size[b.Name]), b.compare(t.bridges[best])) < 0 {
			best = i
		}
	}
	if best == none {
		return ""
	}
	return t.bridges[best].Name
}
