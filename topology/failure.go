package topology

import (
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
