package topology

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/ovsfabric/fabric/internal/natural"
)

// Graph is which hosts have a tunnel to each other.
type Graph struct {
	Strategy Strategy `json:"strategy"` // never Auto
	Why      string   `json:"why"`      // one sentence on the choice of the strategy
	Root     string   `json:"root"`
	Backup   string   `json:"backup"` // empty for a single host
	Links    []Link   `json:"links"`  // in natural order of their ends
	Warnings []string `json:"warnings"`
}

// Link is a tunnel between two hosts; A comes before B in natural order.
type Link struct {
	A    string `json:"a"`
	B    string `json:"b"`
	Cost uint32 `json:"cost"` // spanning tree path cost, the same at both ends
}

// Graph chooses the tunnels by the file's strategy, and the root and backup root where the file does not. The error has all
// that the graph cannot promise and what would help.
func (t *Topology) Graph() (*Graph, error) {
	g, findings := t.build()
	if err := joined(findings); err != nil {
		return nil, err
	}
	return g, nil
}

// builder is a graph on its way, hosts by their index in order of their identifiers, or in natural order where these are not known.
type builder struct {
	*Topology
	index        map[string]int
	delays       *delays // nil: nothing was measured
	strategy     Strategy
	why          string
	root, backup int // none until chosen
	links        []pair
	findings     []finding
	warnings     []string
}

func (t *Topology) build() (*Graph, []finding) {
	if len(t.Hosts) == 0 {
		return nil, t.checkHosts()
	}
	t = t.byID()
	b := &builder{Topology: t, index: make(map[string]int, len(t.Hosts)), root: none, backup: none}
	for i, h := range t.Hosts {
		b.index[h.Name] = i
	}
	if i, ok := b.index[t.Tree.Root]; ok {
		b.root = i
	}
	if i, ok := b.index[t.Tree.Backup]; ok {
		b.backup = i
	}
	b.delays = newDelays(b.RTT, b.index)
	b.choose()
	if len(b.findings) == 0 {
		b.setCosts()
		b.centre()
		b.guarantee()
	}
	if len(b.findings) > 0 {
		return nil, b.findings
	}
	return b.result(), nil
}

// byID is the topology with its hosts in order of their identifiers.
func (t *Topology) byID() *Topology {
	c := *t
	c.Hosts = slices.SortedStableFunc(slices.Values(t.Hosts), func(x, y Host) int { return cmp.Compare(t.IDs[x.Name], t.IDs[y.Name]) })
	return &c
}

// ends are the indices of two hosts, the lower first.
func (b *builder) ends(x, y string) [2]int {
	i, j := b.index[x], b.index[y]
	return [2]int{min(i, j), max(i, j)}
}

func (b *builder) find(path, message, hint string) {
	b.findings = append(b.findings, finding{path, message, hint})
}

func (b *builder) warnf(format string, args ...any) {
	b.warnings = append(b.warnings, fmt.Sprintf(format, args...))
}

// choose picks the strategy and lays its links.
func (b *builder) choose() {
	b.strategy, b.why = b.GraphSpec.Strategy, "the file asks for it"
	if b.strategy == Auto {
		b.strategy, b.why = b.auto()
	}
	if !b.portsSuffice() {
		return
	}
	n := len(b.Hosts)
	switch b.strategy {
	case Mesh:
		b.links = mesh(n)
	case Ring:
		var p pairs
		p.ring(b.ringOrder())
		b.links = p.list
	case Hub:
		b.pinCentre(func(int) bool { return true })
		var p pairs
		p.hub(indices(n), b.root, b.backup)
		b.links = p.list
	case Sparse:
		b.sparse()
	case Tiers:
		b.pinCentre(func(int) bool { return true })
		lay := func(root, backup int) []pair { return tiers(b.Hosts, b.delays, root, backup) }
		if b.delays != nil { // by hops any two are as good as the first
			b.moveCentre(lay)
		}
		b.links = lay(b.root, b.backup)
	case Sites:
		b.sites()
	case Explicit:
		for _, l := range b.Links {
			ends := b.ends(l.A, l.B)
			b.links = append(b.links, pair{ends[0], ends[1], cmp.Or(l.Cost, DefaultCost)})
		}
	}
}

// auto picks the strategy with the fewest tunnels that survives the loss of any host or link with paths of at most maxPath
// bridges. A ring has one tunnel for each host, and its path is as long as the ring; a hub has two. Tiers save one tunnel a group
// over a hub, and pay with paths of 6 bridges after a failure instead of 4: they are for fabrics that are too large for a hub.
func (b *builder) auto() (Strategy, string) {
	strategy, why := b.autoSited()
	if strategy != Auto {
		return strategy, why
	}
	strategy, reason := b.autoFlat()
	return strategy, reason + why
}

// autoSited is the choice by the sites of the hosts, Auto where these do not decide, with what is to be said of that.
func (b *builder) autoSited() (Strategy, string) {
	n := len(b.Hosts)
	named := map[string]bool{}
	siteless := ""
	for _, h := range b.Hosts {
		named[h.Site] = true
		if h.Site == "" {
			siteless = cmp.Or(siteless, h.Name)
		}
	}
	switch {
	case n < 3 || len(named) < 2:
		return Auto, ""
	case siteless != "":
		return Auto, fmt.Sprintf("; the sites do not count, since %s has none", siteless)
	case !b.sitesSuffice():
		return Auto, fmt.Sprintf("; the sites do not count, since a hub of theirs would have more tunnels than the %d of %s", b.Tree.Protocol.MaxTunnels(), b.Tree.Protocol)
	}
	return Sites, fmt.Sprintf("the hosts are in %d sites: a hub in each, and two tunnels to each neighbour", len(named))
}

// sitesSuffice tells whether no hub of a site would have more tunnels than its bridge can number.
func (b *builder) sitesSuffice() bool {
	most := b.Tree.Protocol.MaxTunnels()
	if len(b.Hosts)-1 <= most {
		return true
	}
	trial := *b
	trial.sites()
	degree := make([]int, len(b.Hosts))
	for _, l := range trial.links {
		degree[l.a]++
		degree[l.b]++
	}
	return slices.Max(degree) <= most
}

// autoFlat is the choice by the number of hosts alone.
func (b *builder) autoFlat() (Strategy, string) {
	n := len(b.Hosts)
	switch {
	case n == 1:
		return Mesh, "a single host needs no tunnel"
	case n <= 3:
		return Mesh, fmt.Sprintf("with %d hosts a tunnel between any two is the least that survives the loss of a host", n)
	case n <= maxPath:
		return Ring, fmt.Sprintf("a ring of %d hosts has the fewest tunnels that survive the loss of any one, and no path over %d bridges", n, maxPath)
	case n-1 <= b.Tree.Protocol.MaxTunnels():
		return Hub, fmt.Sprintf("a ring of %d hosts would have paths over more than %d bridges; with two hubs none has more than 4, whichever one fails", n, maxPath)
	}
	tooMany := fmt.Sprintf("%d hosts are too many for the %d tunnels that a hub can have with %s", n, b.Tree.Protocol.MaxTunnels(), b.Tree.Protocol)
	if b.GraphSpec.Degree == 0 && tierGroups(n)+1 <= b.Tree.Protocol.MaxTunnels() {
		return Tiers, fmt.Sprintf("%s, so each group of about %d has two hubs of its own", tooMany, tierSize)
	}
	return Sparse, tooMany
}

// portsSuffice looks before a mesh or a hub is laid that no bridge could number the ports of.
func (b *builder) portsSuffice() bool {
	most := b.Tree.Protocol.MaxTunnels()
	if (b.strategy == Mesh || b.strategy == Hub) && len(b.Hosts)-1 > most {
		b.find("graph.strategy", fmt.Sprintf("strategy %s gives a host %d tunnels, and %s has numbers for %d at most", b.strategy, len(b.Hosts)-1, b.Tree.Protocol, most),
			"take strategy sparse or auto")
		return false
	}
	return true
}

// pinCentre completes root and backup where the file does not name them, by the first hosts; the backup preferably one that
// suits.
func (b *builder) pinCentre(suits func(i int) bool) {
	first := func(other, lost int, suits func(int) bool) int {
		for _, i := range b.centralOrder(lost) {
			if i != other && suits(i) {
				return i
			}
		}
		return none
	}
	anyHost := func(int) bool { return true }
	if b.root == none {
		b.root = max(first(b.backup, none, anyHost), 0)
	}
	if b.backup == none {
		b.backup = first(b.root, b.root, suits)
	}
	if b.backup == none {
		b.backup = first(b.root, b.root, anyHost)
	}
	if b.backup == none {
		b.backup = b.root // a single host
	}
}

// centralOrder is in which order hosts come into question as the root of a star: by identifier, or by how near the others are. A host
// that is lost does not count.
func (b *builder) centralOrder(lost int) []int {
	if b.delays == nil {
		return indices(len(b.Hosts))
	}
	return b.delays.nearest(len(b.Hosts), lost)
}

// byName are the hosts in natural order.
func (b *builder) byName() []int {
	return slices.SortedFunc(slices.Values(indices(len(b.Hosts))), func(i, j int) int { return natural.Compare(b.Hosts[i].Name, b.Hosts[j].Name) })
}

func (b *builder) ringOrder() []int {
	if b.delays == nil {
		return b.byName()
	}
	return b.delays.tour(len(b.Hosts))
}

// sparse lays as many rings as the degree allows.
func (b *builder) sparse() {
	const defaultDegree = 4
	var p pairs
	p.ring(b.ringOrder())
	for k := 1; k < cmp.Or(b.GraphSpec.Degree, defaultDegree)/2; k++ {
		p.ring(drawnOrder(b.Hosts, k))
	}
	b.links = p.list
}

func (b *builder) sites() {
	for _, h := range b.Hosts {
		if h.Site == "" {
			b.find("hosts."+h.Name, "strategy sites needs the site of every host, and this one has none", `as "site: paris"`)
		}
	}
	if len(b.findings) > 0 {
		return
	}
	b.pinCentre(func(i int) bool { return b.Hosts[i].Site == b.Hosts[b.root].Site })
	h := newHubs(b.delays, groupSites(b.Hosts), len(b.Hosts))
	lay := func(root, backup int) []pair { return siteHubs(b.Hosts, h, root, backup) }
	b.moveCentre(lay)
	b.links = lay(b.root, b.backup)
}

// setCosts applies the costs in the file to links of the strategy's.
func (b *builder) setCosts() {
	if b.strategy == Explicit {
		return
	}
	chosen := make(map[[2]int]int, len(b.links))
	if len(b.Links) > 0 {
		for i, l := range b.links {
			chosen[[2]int{l.a, l.b}] = i
		}
	}
	for i, l := range b.Links {
		at, ok := chosen[b.ends(l.A, l.B)]
		if !ok {
			b.find(fmt.Sprintf("links[%d]", i), fmt.Sprintf("strategy %s makes no link between %s and %s whose cost could be set", b.strategy, l.A, l.B),
				`with "strategy: explicit" the file's links are the graph`)
		} else if l.Cost > 0 {
			b.links[at].cost = l.Cost
		}
	}
}

// wiring numbers each host's ports by its peer, which breaks ties as the identifiers do.
func (b *builder) wiring() *wiring { return newWiring(len(b.Hosts), b.wires(b.links)) }

func (b *builder) wires(links []pair) []wire {
	wires := make([]wire, len(links))
	for i, l := range links {
		wires[i] = wire{[2]int{l.a, l.b}, [2]uint32{l.cost, l.cost}, [2]uint16{uint16(l.b), uint16(l.a)}}
	}
	return wires
}

func (b *builder) result() *Graph {
	g := &Graph{Strategy: b.strategy, Why: b.why, Warnings: b.warnings, Root: b.Hosts[b.root].Name}
	if b.backup != b.root {
		g.Backup = b.Hosts[b.backup].Name
	}
	place := make([]int, len(b.Hosts)) // in natural order
	names := make([]string, len(b.Hosts))
	for p, i := range b.byName() {
		place[i], names[p] = p, b.Hosts[i].Name
	}
	for i, l := range b.links {
		x, y := place[l.a], place[l.b]
		b.links[i].a, b.links[i].b = min(x, y), max(x, y)
	}
	slices.SortFunc(b.links, func(x, y pair) int { return cmp.Or(cmp.Compare(x.a, y.a), cmp.Compare(x.b, y.b)) })
	g.Links = make([]Link, len(b.links))
	for i, l := range b.links {
		g.Links[i] = Link{names[l.a], names[l.b], l.cost}
	}
	return g
}
