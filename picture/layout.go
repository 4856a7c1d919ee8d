package picture

import (
	"math"
	"slices"
	"unicode/utf8"
)

const (
	// maxBoxes is how many hosts of a site are drawn as boxes around a
	// circle. More become dots, with labels that point outwards.
	maxBoxes = 12
	// maxRanges is how many hosts are drawn with their ranges; beyond it the
	// names have to do.
	maxRanges = 100
	// advance is the width of a character in a font of size 1. Fonts are
	// fixed-width, so that it is known whether labels overlap: none that the
	// style sheet names is wider than DejaVu Sans Mono.
	advance = 0.603

	boxFont, boxHeight  = 13.0, 42.0
	boxGapX, boxGapY    = 40.0, 18.0 // links need room more than boxes do
	dotRadius, labelGap = 4.0, 9.0   // the latter from a dot's middle to its label
	spoke               = 110.0      // from a box in the middle to the dots around it, at least
	siteGap, siteFont   = 44.0, 14.0
)

type point struct{ x, y float64 }

func (p point) plus(q point) point  { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point { return point{p.x - q.x, p.y - q.y} }

// polar is the point at a distance from the origin, in radians clockwise
// from the right, as SVG turns.
func polar(r, angle float64) point { return point{r * math.Cos(angle), r * math.Sin(angle)} }

// node is a host with its place.
type node struct {
	host   *Host
	in     *cluster
	at     point // from the middle of the cluster, until the picture is framed
	boxed  bool
	angle  float64 // of a dot: the way its label points, in radians
	name   string  // the label
	detail string  // the label's dimmer part; empty for none
	font   float64
	width  float64 // of the box, or of the label
	height float64
}

// corners are those of the box, or of the dot's label.
func (n *node) corners() [4]point {
	if n.boxed {
		x, y := n.width/2, n.height/2
		return [4]point{n.at.plus(point{-x, -y}), n.at.plus(point{x, -y}), n.at.plus(point{x, y}), n.at.plus(point{-x, y})}
	}
	near, far := n.at.plus(polar(labelGap, n.angle)), n.at.plus(polar(labelGap+n.width, n.angle))
	side := polar(n.height/2, n.angle+math.Pi/2)
	return [4]point{near.minus(side), far.minus(side), far.plus(side), near.plus(side)}
}

// cluster is the hosts of a site in a disc around its middle.
type cluster struct {
	site   string
	at     point
	radius float64 // of the disc
	nodes  []*node
	middle *node // nil where all are on the circle
	circle float64
}

// layout is a whole picture with its measures.
type layout struct {
	clusters      []*cluster
	nodes         map[string]*node
	width, height float64
}

func (p *Picture) layout(top, minWidth float64) *layout {
	l := &layout{nodes: make(map[string]*node, len(p.Hosts))}
	for _, s := range p.sites() {
		c := p.cluster(s)
		l.clusters = append(l.clusters, c)
		for _, n := range c.nodes {
			n.in = c
			l.nodes[n.host.Name] = n
		}
	}
	l.spread()
	l.turn(p.Links)
	l.frame(top, minWidth)
	return l
}

// cluster puts the hosts of a site on a circle, on which no link passes
// over a third host. One from which most of the others hang is put in the
// middle.
func (p *Picture) cluster(s site) *cluster {
	c := &cluster{site: s.name}
	ring := circular(s.hosts)
	var middle *node
	if i := hub(ring); i >= 0 {
		middle = p.node(ring[i], len(p.Hosts) <= maxRanges || len(ring) == len(p.Hosts))
		middle.box()
		c.nodes = append(c.nodes, middle)
		ring = slices.Delete(ring, i, i+1)
		if i := slices.IndexFunc(ring, func(h *Host) bool { return h.Name == p.Backup }); i > 0 {
			ring = slices.Concat(ring[i:], ring[:i])
		}
	}
	boxed := len(ring) <= maxBoxes && len(p.Hosts) <= maxRanges
	slots := len(ring)
	if middle != nil && slots%2 == 0 {
		slots++ // so that no two are opposite each other, with the middle between them
	}
	start := -math.Pi / 2
	if slots == 2 {
		start = math.Pi
	}
	for i, h := range ring {
		n := p.node(h, len(p.Hosts) <= maxRanges)
		n.angle = start + 2*math.Pi*float64(i)/float64(max(slots, 1))
		if boxed {
			n.box()
		}
		c.nodes = append(c.nodes, n)
	}
	c.middle = middle
	c.widen(slots)
	return c
}

func (p *Picture) node(h *Host, ranges bool) *node {
	n := &node{host: h, name: p.title(h), font: boxFont - 1}
	if len(p.Hosts) > maxRanges {
		n.font = 10
	}
	n.width = textWidth(n.name, n.font)
	n.height = n.font * 1.2
	if ranges && h.Range.IsValid() {
		n.detail = h.Range.String()
		n.width += textWidth("  "+n.detail, n.font)
	}
	return n
}

// box makes a box of what was a dot with a label.
func (n *node) box() {
	n.boxed, n.font = true, boxFont
	n.width = max(textWidth(n.name, boxFont), textWidth(n.detail, boxFont-2)) + 20
	n.height = boxHeight
	if n.detail == "" {
		n.height = boxHeight * 0.6
	}
}

func textWidth(s string, font float64) float64 {
	return advance * font * float64(utf8.RuneCountInString(s))
}

// widen finds the smallest circle on which the nodes have room.
func (c *cluster) widen(slots int) {
	r := 0.0
	if c.middle != nil {
		r = c.middle.width/2 + spoke
	}
	for _, n := range c.nodes {
		if n != c.middle && !n.boxed {
			r = max(r, n.height*float64(slots)/(2*math.Pi), 30)
			if n.detail != "" {
				r = max(r, spoke, 4*float64(slots))
			}
		}
	}
	for c.put(r, 0); c.crowded(); c.put(r, 0) {
		r += 4
	}
	for _, n := range c.nodes {
		c.radius = max(c.radius, n.reach()+boxGapY)
	}
}

// reach is how far from the middle of the cluster the node can come, however
// the circle is turned.
func (n *node) reach() float64 {
	if n.boxed {
		return math.Hypot(n.at.x, n.at.y) + math.Hypot(n.width, n.height)/2
	}
	return math.Hypot(n.at.x, n.at.y) + labelGap + n.width
}

// put places the nodes on a circle, turned by an angle.
func (c *cluster) put(r, turn float64) {
	c.circle = r
	for _, n := range c.nodes {
		if n != c.middle {
			n.angle += turn
			n.at = polar(r, n.angle)
		}
	}
}

// dense reports whether the dots stand so close on the circle that a link
// between neighbours hardly shows.
func (c *cluster) dense() bool {
	return c.middle == nil && !c.nodes[0].boxed && 2*math.Pi*c.circle/float64(len(c.nodes)) < 6*dotRadius
}

// crowded reports whether boxes are too near to each other.
func (c *cluster) crowded() bool {
	for i, a := range c.nodes {
		if !a.boxed {
			continue
		}
		for _, b := range c.nodes[:i] {
			if b.boxed &&
				math.Abs(a.at.x-b.at.x) < (a.width+b.width)/2+boxGapX &&
				math.Abs(a.at.y-b.at.y) < (a.height+b.height)/2+boxGapY {
				return true
			}
		}
	}
	return false
}

// frame moves everything to where it is drawn, below a header, and sizes
// the picture.
func (l *layout) frame(top, minWidth float64) {
	const margin = 16.0
	least, most := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	see := func(p point) {
		least = point{min(least.x, p.x), min(least.y, p.y)}
		most = point{max(most.x, p.x), max(most.y, p.y)}
	}
	for _, c := range l.clusters {
		for _, n := range c.nodes {
			n.at = n.at.plus(c.at)
			see(n.at)
			for _, corner := range n.corners() {
				see(corner)
			}
		}
		if c.site != "" {
			see(c.at.plus(point{-c.radius, -c.radius - 2*siteFont}))
			see(c.at.plus(point{c.radius, c.radius}))
		}
	}
	l.width = max(most.x-least.x+2*margin, minWidth)
	l.height = most.y - least.y + 2*margin + top
	move := point{(l.width - least.x - most.x) / 2, top + margin - least.y}
	for _, c := range l.clusters {
		c.at = c.at.plus(move)
		for _, n := range c.nodes {
			n.at = n.at.plus(move)
		}
	}
}
