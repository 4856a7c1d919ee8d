// Package picture draws a fabric's graph and its predicted tree: as text, as
// SVG, for Graphviz, for Mermaid, and as JSON.
//
// Everything here is a pure function of its arguments, and the same picture
// is the same bytes every time.
package picture

import (
	"encoding/json"
	"io"
	"net/netip"

	"github.com/ovsfabric/fabric/plan"
)

// Picture is what there is to draw of a fabric.
type Picture struct {
	Fabric   string
	Network  netip.Prefix
	Strategy string
	Root     string
	Backup   string // empty for a single host
	Depth    int    // hops from the root to the farthest host
	Hosts    []Host // in the order in which they are drawn
	Links    []Link
}

// Host is a host with its place in the tree.
type Host struct {
	Name    string
	Site    string // empty for none
	Range   netip.Prefix
	Gateway netip.Addr
	Parent  string // empty for a root
	Depth   int    // hops from the root
}

// Link is a tunnel between two hosts.
type Link struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Cost uint32 `json:"cost"`
	Tree bool   `json:"tree"` // carries frames; otherwise the tree blocks it
}

// New is the picture of a plan's hosts and links, as the plan's tree has
// them.
func New(p *plan.Plan) *Picture {
	pic := &Picture{
		Fabric: p.Fabric, Network: p.Network, Strategy: string(p.Graph.Strategy),
		Root: p.Tree.Root, Backup: p.Graph.Backup, Links: []Link{},
	}
	planned := make(map[string]plan.Host, len(p.Hosts))
	for _, h := range p.Hosts {
		planned[h.Name] = h
	}
	for _, n := range p.Tree.Nodes {
		h := planned[n.Name]
		pic.Hosts = append(pic.Hosts, Host{Name: n.Name, Site: h.Site, Range: h.Range, Gateway: h.Gateway, Parent: n.Parent, Depth: n.Depth})
		pic.Depth = max(pic.Depth, n.Depth)
	}
	blocked := make(map[[2]string]bool)
	for _, l := range p.Tree.Blocked() {
		blocked[[2]string{l.A, l.B}] = true
	}
	for i := 0; i < len(p.Tree.Ports); i += 2 { // a pair for each link
		a := p.Tree.Ports[i]
		pic.Links = append(pic.Links, Link{A: a.Bridge, B: a.Peer, Cost: a.Cost, Tree: !blocked[[2]string{a.Bridge, a.Peer}]})
	}
	return pic
}

// JSON writes what other programs may want to draw or check.
func (p *Picture) JSON(w io.Writer) error {
	type host struct {
		Range   netip.Prefix `json:"range"`
		Gateway netip.Addr   `json:"gateway"`
		Parent  string       `json:"parent"`
		Depth   int          `json:"depth"`
	}
	hosts := make(map[string]host, len(p.Hosts))
	for _, h := range p.Hosts {
		hosts[h.Name] = host{h.Range, h.Gateway, h.Parent, h.Depth}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(struct {
		Root     string          `json:"root"`
		Backup   string          `json:"backup"`
		Strategy string          `json:"strategy"`
		Depth    int             `json:"depth"`
		Links    []Link          `json:"links"`
		Hosts    map[string]host `json:"hosts"`
	}{p.Root, p.Backup, p.Strategy, p.Depth, p.Links, hosts})
}

// title is a host's name with its part in the tree.
func (p *Picture) title(h *Host) string {
	switch {
	case h.Parent == "":
		return h.Name + " (root)"
	case h.Name == p.Backup:
		return h.Name + " (backup)"
	}
	return h.Name
}

// children lists each host's children in the tree.
func (p *Picture) children() map[string][]*Host {
	children := make(map[string][]*Host)
	for i := range p.Hosts {
		if h := &p.Hosts[i]; h.Parent != "" {
			children[h.Parent] = append(children[h.Parent], h)
		}
	}
	return children
}

// site is the hosts of one site.
type site struct {
	name  string
	hosts []*Host
}

// sites groups the hosts: the root's site first, then the backup's, then the
// others in the order of their hosts.
func (p *Picture) sites() []site {
	var sites []site
	place := make(map[string]int)
	enter := func(name string) {
		if _, known := place[name]; !known {
			place[name] = len(sites)
			sites = append(sites, site{name: name})
		}
	}
	for _, central := range []string{p.Root, p.Backup} {
		for _, h := range p.Hosts {
			if h.Name == central {
				enter(h.Site)
			}
		}
	}
	for i := range p.Hosts {
		h := &p.Hosts[i]
		enter(h.Site)
		s := &sites[place[h.Site]]
		s.hosts = append(s.hosts, h)
	}
	return sites
}
