package picture

import (
	"fmt"
	"math"
	"net/netip"
	"testing"
)

// star is a picture in which everybody hangs from the first, chain one in
// which each hangs from the one before. Some names are as long as can be.
func star(n, sites int) *Picture  { return tree(n, sites, func(int) int { return 0 }) }
func chain(n, sites int) *Picture { return tree(n, sites, func(i int) int { return i - 1 }) }
func heap(n, sites int) *Picture  { return tree(n, sites, func(i int) int { return (i - 1) / 3 }) }

func tree(n, sites int, parent func(int) int) *Picture {
	p := &Picture{Fabric: "demo", Root: "h0", Backup: "h1"}
	for i := range n {
		h := Host{Name: fmt.Sprintf("h%d", i), Range: netip.MustParsePrefix("172.17.128.0/24")}
		if i%7 == 5 {
			h.Name = fmt.Sprintf("a-name-of-sixty-three-characters-as-long-as-dns-allows-it-%06d", i)
		}
		if sites > 0 {
			h.Site = fmt.Sprintf("site%d", i*sites/n)
		}
		if i > 0 {
			h.Parent = p.Hosts[parent(i)].Name
			h.Depth = p.Hosts[parent(i)].Depth + 1
			p.Links = append(p.Links, Link{A: h.Parent, B: h.Name, Cost: 1, Tree: true})
		}
		p.Hosts = append(p.Hosts, h)
	}
	return p
}

func TestNoTwoLabelsOverlap(t *testing.T) {
	for shape, draw := range map[string]func(n, sites int) *Picture{"star": star, "chain": chain, "heap": heap} {
		for _, n := range []int{1, 2, 3, 4, 5, 10, 30, 100, 101, 300} {
			for _, sites := range []int{0, 1, 2, 3, 10} {
				l := draw(n, sites).layout(header, minWidth)
				var nodes []*node
				for _, c := range l.clusters {
					nodes = append(nodes, c.nodes...)
				}
				if len(nodes) != n {
					t.Fatalf("%s of %d hosts in %d sites: %d are drawn", shape, n, sites, len(nodes))
				}
				for i, a := range nodes {
					for _, b := range nodes[:i] {
						if overlap(a.corners(), b.corners()) {
							t.Errorf("%s of %d hosts in %d sites: %s and %s overlap", shape, n, sites, a.name, b.name)
						}
					}
				}
			}
		}
	}
}

func TestEverythingIsInThePicture(t *testing.T) {
	for _, n := range []int{1, 3, 30, 300} {
		for _, sites := range []int{0, 3} {
			l := star(n, sites).layout(header, minWidth)
			for _, c := range l.clusters {
				for _, node := range c.nodes {
					for _, p := range node.corners() {
						if p.x < 0 || p.x > l.width || p.y < header || p.y > l.height {
							t.Errorf("%d hosts in %d sites: %s reaches out of the picture, to %v", n, sites, node.name, p)
						}
					}
				}
			}
		}
	}
}

func TestARingIsDrawnAsOne(t *testing.T) {
	// The tree of a ring whose blocked link is between h2 and h3.
	hosts := []*Host{{Name: "h0"}, {Name: "h1", Parent: "h0"}, {Name: "h2", Parent: "h1"}, {Name: "h3", Parent: "h4"}, {Name: "h4", Parent: "h0"}}
	var got string
	for _, h := range circular(hosts) {
		got += h.Name
	}
	if got != "h0h1h2h3h4" {
		t.Errorf("the order around the circle is %s", got)
	}
}

// overlap reports whether two rectangles have a point in common: they have
// none if they lie apart along a side of one of them.
func overlap(a, b [4]point) bool {
	for _, quad := range [][4]point{a, b} {
		for i := range 2 {
			axis := point{quad[i+1].x - quad[i].x, quad[i+1].y - quad[i].y}
			leastA, mostA := shadow(a, axis)
			leastB, mostB := shadow(b, axis)
			if mostA <= leastB || mostB <= leastA {
				return false
			}
		}
	}
	return true
}

func shadow(quad [4]point, axis point) (least, most float64) {
	least, most = math.Inf(1), math.Inf(-1)
	for _, p := range quad {
		along := p.x*axis.x + p.y*axis.y
		least, most = min(least, along), max(most, along)
	}
	return least, most
}
