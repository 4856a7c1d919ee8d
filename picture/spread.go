package picture

import (
	"math"
	"slices"
)

// spread puts the discs around a circle, on which no link between two
// sites passes over a third.
func (l *layout) spread() {
	if len(l.clusters) < 2 {
		return
	}
	r := l.clusters[0].radius
	for !l.place(r) {
		r *= 1.02
	}
}

// place tries a circle: neighbours as near as their discs allow, and all
// discs apart from each other.
func (l *layout) place(r float64) bool {
	apart := func(a, b *cluster) float64 { return a.radius + b.radius + siteGap }
	angle := math.Pi
	for i, c := range l.clusters {
		c.at = polar(r, angle)
		chord := apart(c, l.clusters[(i+1)%len(l.clusters)]) / (2 * r)
		if chord > 1 {
			return false
		}
		angle += 2 * math.Asin(chord)
	}
	if angle > 3*math.Pi+1e-6 {
		return false
	}
	for i, a := range l.clusters {
		for _, b := range l.clusters[:i] {
			if math.Hypot(a.at.x-b.at.x, a.at.y-b.at.y) < apart(a, b)-1e-6 {
				return false
			}
		}
	}
	return true
}

// turns is how many ways to turn a disc are tried.
const turns = 120

// turn turns each disc so that the links between sites pass over as few
// hosts as can be.
func (l *layout) turn(links []Link) {
	var between []Link
	for _, link := range links {
		if l.nodes[link.A].in != l.nodes[link.B].in {
			between = append(between, link)
		}
	}
	if len(between) == 0 || len(between) > maxBetween {
		return
	}
	for _, c := range l.clusters {
		if len(c.nodes) < 2 {
			continue
		}
		meeting := slices.DeleteFunc(slices.Clone(between), func(link Link) bool { return !l.meets(link, c) })
		best, least := 0, math.MaxInt
		for i := range turns {
			if !c.crowded() {
				if n := l.passes(c, meeting); n < least {
					best, least = i, n
				}
			}
			c.put(c.circle, 2*math.Pi/turns)
		}
		c.put(c.circle, 2*math.Pi/turns*float64(best))
	}
}

// maxBetween is how many links between sites the discs are turned for.
const maxBetween = 500

// ends are a link's ends before the picture is framed.
func (l *layout) ends(link Link) (from, to point) {
	a, b := l.nodes[link.A], l.nodes[link.B]
	return a.at.plus(a.in.at), b.at.plus(b.in.at)
}

// meets reports whether the line through a link's ends meets the disc.
func (l *layout) meets(link Link, c *cluster) bool {
	from, to := l.ends(link)
	return near(from, to, c.at, c.radius)
}

// near reports whether p is within a distance of the line through a and b.
func near(a, b, p point, distance float64) bool {
	along, out := b.minus(a), p.minus(a)
	return math.Abs(along.x*out.y-along.y*out.x) < distance*math.Hypot(along.x, along.y)
}

// passes counts where links pass over hosts of the cluster that are not
// their ends.
func (l *layout) passes(c *cluster, links []Link) int {
	passes := 0
	for _, link := range links {
		a, b := l.nodes[link.A], l.nodes[link.B]
		weight := 1
		if link.Tree {
			weight = 4 // a tree is what people look for
		}
		from, to := l.ends(link)
		for _, n := range c.nodes {
			if n != a && n != b && n.under(from, to, c.at) {
				passes += weight
			}
		}
	}
	return passes
}

// under reports whether the line from a to b passes over the node, whose
// place is from the middle given.
func (n *node) under(a, b, middle point) bool {
	if !near(a, b, n.at.plus(middle), labelGap+n.width+n.height) {
		return false
	}
	corners := n.corners()
	for i := range corners {
		if cross(a, b, corners[i].plus(middle), corners[(i+1)%len(corners)].plus(middle)) {
			return true
		}
	}
	return false
}

// cross reports whether the line from a to b crosses that from c to d.
func cross(a, b, c, d point) bool {
	side := func(p, q, r point) bool { return (q.x-p.x)*(r.y-p.y) > (q.y-p.y)*(r.x-p.x) }
	return side(a, b, c) != side(a, b, d) && side(c, d, a) != side(c, d, b)
}
