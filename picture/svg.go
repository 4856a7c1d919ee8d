package picture

import (
	"bytes"
	_ "embed"
	"encoding/xml"
	"fmt"
	"io"
	"math"
)

//go:embed style.css
var style string

const (
	// header is the height of what is above the hosts.
	header = 76.0
	// minWidth is that of the legend.
	minWidth = 560.0
	// manyLinks is from where on links are drawn thin.
	manyLinks = 100
	// dashes is the length after which the style sheet's dashes repeat.
	dashes = 9
	// maxTitles is how many links say what they are when pointed at.
	maxTitles = 2000
)

// SVG writes a drawing that follows the reader's choice of light or dark
// colours (Media Queries Level 5, prefers-color-scheme) and needs nothing
// beside itself.
func (p *Picture) SVG(w io.Writer) error {
	heading := p.heading()
	d := drawing{Picture: p, layout: p.layout(header, max(minWidth, textWidth(heading, 16)+32))}
	d.open(heading)
	d.legend(heading)
	for _, c := range d.clusters {
		if c.site != "" {
			d.printf(`<circle class="site" cx="%.1f" cy="%.1f" r="%.1f"/>`+"\n", c.at.x, c.at.y, c.radius)
		}
	}
	d.links("blocked", false)
	d.links("tree", true)
	for _, c := range d.clusters {
		if c.site != "" {
			d.printf(`<text class="label sitename" x="%.1f" y="%.1f">%s</text>`+"\n", c.at.x, c.at.y-c.radius-8, escaped(c.site))
		}
		for _, n := range c.nodes {
			d.node(n)
		}
	}
	d.WriteString("</svg>\n")
	_, err := w.Write(d.Bytes())
	return err
}

func (p *Picture) heading() string {
	hosts := "hosts"
	if len(p.Hosts) == 1 {
		hosts = "host"
	}
	return fmt.Sprintf("%s: %d %s in %s, %s, depth %d", p.Fabric, len(p.Hosts), hosts, p.Network, p.Strategy, p.Depth)
}

// drawing is an SVG document on its way.
type drawing struct {
	bytes.Buffer
	*Picture
	*layout
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.Buffer, format, args...) }

// escaped is text as it can stand in XML.
func escaped(s string) string {
	var b bytes.Buffer
	_ = xml.EscapeText(&b, []byte(s)) // a buffer takes everything
	return b.String()
}

func (d *drawing) open(heading string) {
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n",
		d.width, d.height, d.width, d.height, escaped(heading))
	d.printf("<style>\n%s</style>\n", style)
	d.printf(`<rect class="paper" width="100%%" height="100%%"/>` + "\n")
}

func (d *drawing) legend(heading string) {
	d.printf(`<text class="heading" x="16" y="30">%s</text>`+"\n", escaped(heading))
	d.printf(`<g class="legend">` + "\n")
	d.printf(`<g class="tree"><path d="M16 54H52"/></g><text x="60" y="58">carries frames</text>` + "\n")
	d.printf(`<g class="blocked"><path d="M184 54H220"/></g><text x="228" y="58">blocked</text>` + "\n")
	d.printf(`<rect class="box root" x="304" y="46" width="24" height="16" rx="4"/><text x="336" y="58">root</text>` + "\n")
	d.printf(`<rect class="box backup" x="392" y="46" width="24" height="16" rx="4"/><text x="424" y="58">backup root</text>` + "\n")
	d.printf("</g>\n")
}

// links draws those of the tree or those that it blocks, fainter where they
// are so many that they would cover everything.
func (d *drawing) links(class string, tree bool) {
	n := 0
	for _, l := range d.Links {
		if l.Tree == tree {
			n++
		}
	}
	many := ""
	if n > manyLinks {
		many = " many"
	}
	opacity := 1.0
	if !tree {
		opacity = max(0.12, min(1, math.Sqrt(manyLinks/float64(max(n, 1)))))
	}
	d.printf(`<g class="%s%s" opacity="%.2f">`+"\n", class, many, opacity)
	for i, l := range d.Links {
		if l.Tree != tree {
			continue
		}
		d.link(d.nodes[l.A], d.nodes[l.B], tree)
		if len(d.Links) > maxTitles {
			d.printf("/>\n")
			continue
		}
		what := ""
		if !tree {
			what = ", blocked"
			d.printf(` stroke-dashoffset="%d"`, 4*i%dashes) // or the dashes of a fan make rings
		}
		d.printf("><title>%s–%s, cost %d%s</title></path>\n", escaped(l.A), escaped(l.B), l.Cost, what)
	}
	d.printf("</g>\n")
}

// link begins the path of a link. Those of a tree bend inwards where they
// would else be hidden between dots that stand close.
func (d *drawing) link(a, b *node, tree bool) {
	d.printf(`<path d="M%.1f %.1f`, a.at.x, a.at.y)
	if tree && a.in == b.in && a.in.dense() {
		half := point{(b.at.x - a.at.x) / 2, (b.at.y - a.at.y) / 2}
		middle := a.at.plus(half)
		inward := point{a.in.at.x - middle.x, a.in.at.y - middle.y}
		bend := min(1, (12+math.Hypot(half.x, half.y))/max(1, math.Hypot(inward.x, inward.y)))
		d.printf("Q%.1f %.1f ", middle.x+bend*inward.x, middle.y+bend*inward.y)
	} else {
		d.printf("L")
	}
	d.printf(`%.1f %.1f"`, b.at.x, b.at.y)
}

func (d *drawing) node(n *node) {
	class := ""
	switch {
	case n.host.Parent == "":
		class = " root"
	case n.host.Name == d.Backup:
		class = " backup"
	}
	d.printf(`<g class="host%s"><title>%s, %s, gateway %s, depth %d</title>`, class,
		escaped(d.title(n.host)), n.host.Range, n.host.Gateway, n.host.Depth)
	if n.boxed {
		d.box(n, class)
	} else {
		d.dot(n, class)
	}
	d.printf("</g>\n")
}

func (d *drawing) box(n *node, class string) {
	corner := n.corners()[0]
	d.printf(`<rect class="box%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>`, class, corner.x, corner.y, n.width, n.height)
	if n.detail == "" {
		d.printf(`<text class="name" x="%.1f" y="%.1f" font-size="%g">%s</text>`, n.at.x, n.at.y+0.35*n.font, n.font, escaped(n.name))
		return
	}
	d.printf(`<text class="name" x="%.1f" y="%.1f" font-size="%g">%s</text>`, n.at.x, n.at.y-3, n.font, escaped(n.name))
	d.printf(`<text class="detail" x="%.1f" y="%.1f" font-size="%g">%s</text>`, n.at.x, n.at.y+13, n.font-2, escaped(n.detail))
}

// dot draws a host of many, with a label that points away from the middle
// and never stands on its head.
func (d *drawing) dot(n *node, class string) {
	radius := dotRadius
	if class != "" {
		radius++
	}
	degrees, x, anchor := n.angle*180/math.Pi, labelGap, "start"
	text := escaped(n.name)
	detail := ""
	if n.detail != "" {
		detail = `<tspan class="detail">` + escaped(n.detail) + `</tspan>`
		text += "  " + detail
	}
	if math.Cos(n.angle) < -1e-9 {
		degrees, x, anchor = degrees+180, -labelGap, "end"
		if detail != "" {
			text = detail + "  " + escaped(n.name)
		}
	}
	d.printf(`<circle class="dot%s" cx="%.1f" cy="%.1f" r="%g"/>`, class, n.at.x, n.at.y, radius)
	d.printf(`<text class="label" transform="translate(%.1f %.1f) rotate(%.2f)" x="%g" y="%.1f" font-size="%g" text-anchor="%s" xml:space="preserve">%s</text>`,
		n.at.x, n.at.y, degrees, x, 0.35*n.font, n.font, anchor, text)
}
