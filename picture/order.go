package picture

import "slices"

// hub is the index of the host from which more than half of the others
// hang, -1 for none or where so few are there that a circle shows it too.
func hub(hosts []*Host) int {
	children := make(map[string]int)
	for _, h := range hosts {
		children[h.Parent]++
	}
	if len(hosts) < 5 {
		return -1
	}
	return slices.IndexFunc(hosts, func(h *Host) bool { return 2*children[h.Name] > len(hosts)-1 })
}

// circular orders hosts so that those that hang together are together on a
// circle: a root in the middle of its tree, the others between their parent
// and what hangs from them. A tree that is a ring but for a link becomes
// that ring.
func circular(hosts []*Host) []*Host {
	in := make(map[string]bool, len(hosts))
	for _, h := range hosts {
		in[h.Name] = true
	}
	below := make(map[string][]*Host)
	var roots []*Host
	for _, h := range hosts {
		if in[h.Parent] {
			below[h.Parent] = append(below[h.Parent], h)
		} else {
			roots = append(roots, h)
		}
	}
	var size func(h *Host) int
	size = func(h *Host) int {
		n := 1
		for _, child := range below[h.Name] {
			n += size(child)
		}
		return n
	}
	var after, before func(h *Host) []*Host
	after = func(h *Host) []*Host {
		list := []*Host{h}
		for _, child := range below[h.Name] {
			list = append(list, after(child)...)
		}
		return list
	}
	before = func(h *Host) []*Host {
		var list []*Host
		for _, child := range below[h.Name] {
			list = append(list, before(child)...)
		}
		return append(list, h)
	}
	var order []*Host
	for _, root := range roots {
		var left []*Host
		half, seen := size(root)/2, 0
		order = append(order, root)
		for _, child := range below[root.Name] {
			if seen < half {
				order = append(order, after(child)...)
			} else {
				left = append(left, before(child)...)
			}
			seen += size(child)
		}
		order = append(order, left...)
	}
	return order
}
