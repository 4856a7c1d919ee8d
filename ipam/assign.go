package ipam

import (
	"cmp"
	"fmt"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"github.com/ovsfabric/fabric/internal/natural"
)

// Want is a host to have a range.
type Want struct {
	Name   string
	Was    string       // the name it had before, whose range and ID it keeps; empty: no other
	Weight int          // share of the network, 1 or more
	Pin    netip.Prefix // the range it must have; the zero Prefix leaves the choice to Assign
	Own    netip.Addr   // the address that a new host has already, kept if it is in Pin; the zero Addr: none
	SSH    string
}

// Conflict is what stands in the way of an assignment.
type Conflict struct {
	Path    string // the value of the fabric file that asks for it, as hosts.h3.range
	Message string
}

// Conflicts are all that stand in the way of an assignment.
type Conflicts []Conflict

// Error prints one conflict a line.
func (c Conflicts) Error() string {
	lines := make([]string, len(c))
	for i, conflict := range c {
		lines[i] = conflict.Path + ": " + conflict.Message
	}
	return strings.Join(lines, "\n")
}

// Assign gives each host a range inside network, an IPv4 prefix. Hosts in the lock, by their name or their former one, keep
// theirs, hosts of the lock that are no longer wanted become Removed and keep theirs reserved, and a fresh range leaves room for
// at least one more host while ranges can still be halved. The order of hosts does not matter. The error is of type Conflicts, but
// for a network that is none.
func Assign(network netip.Prefix, lock Lock, hosts []Want) (Lock, error) {
	if !network.IsValid() || !network.Addr().Is4() || network != network.Masked() || network.Bits() > minRange {
		return Lock{}, fmt.Errorf("network %v is not an IPv4 prefix of /%d or larger", network, minRange)
	}
	a := newAssignment(network, lock, hosts)
	a.keep()
	a.pin()
	if len(a.conflicts) == 0 {
		a.fill()
	}
	if len(a.conflicts) > 0 {
		return Lock{}, a.conflicts
	}
	a.identify()
	return a.result, nil
}

// Gateway is the address of the host itself inside its range r, the first after the range's own. The range that begins the
// network begins with the network's own address, which no host can have (RFC 1122 section 3.2.1.3); the same step in every
// range keeps gateways where they are when the network grows.
func Gateway(r netip.Prefix) netip.Addr { return r.Masked().Addr().Next() }

// hosts says whether a host can have the address in its range: not the first and the last, which may be the network's own
// and its broadcast address.
func hosts(r netip.Prefix, address netip.Addr) bool {
	return r.Contains(address) && address != r.Masked().Addr() && r.Contains(address.Next())
}

// assignment is the work of one Assign.
type assignment struct {
	network   netip.Prefix
	hosts     []Want // in natural order
	known     map[string]Entry
	result    Lock // result.Hosts runs parallel to hosts
	conflicts Conflicts
}

func newAssignment(network netip.Prefix, lock Lock, hosts []Want) *assignment {
	a := &assignment{
		network: network,
		hosts:   slices.SortedFunc(slices.Values(hosts), func(a, b Want) int { return natural.Compare(a.Name, b.Name) }),
		known:   make(map[string]Entry, len(lock.Hosts)+len(lock.Removed)),
		result:  Lock{Network: network, Hosts: make([]Entry, len(hosts))},
	}
	lock, a.conflicts = rename(lock, a.hosts)
	for _, e := range slices.Concat(lock.Hosts, lock.Removed) {
		a.known[e.Name] = e
	}
	wanted := make(map[string]bool, len(hosts))
	for i, h := range a.hosts {
		if wanted[h.Name] {
			a.find("hosts."+h.Name, "host %s is given twice", h.Name)
		}
		if strings.ContainsFunc(h.SSH, unicode.IsSpace) {
			a.find("hosts."+h.Name+".ssh", "the ssh destination %q has a space in it", h.SSH)
		}
		wanted[h.Name] = true
		a.result.Hosts[i] = Entry{Name: h.Name, SSH: h.SSH}
	}
	for _, e := range inOrder(slices.Concat(lock.Hosts, lock.Removed)) {
		if !wanted[e.Name] {
			a.result.Removed = append(a.result.Removed, e)
		}
		if !contains(network, e.Range) {
			a.find("network", "the network %s does not hold range %s of %s: a network can grow but not shrink under a range in use%s",
				network, e.Range, e.Name, a.releaseHint(e.Name, wanted[e.Name]))
		}
	}
	return a
}

func (a *assignment) releaseHint(name string, wanted bool) string {
	if wanted {
		return ""
	}
	return fmt.Sprintf("; %s is removed: \"fabric release %s\" frees its range", name, name)
}

func (a *assignment) find(path, format string, args ...any) {
	a.conflicts = append(a.conflicts, Conflict{path, fmt.Sprintf(format, args...)})
}

func rangeOf(host string) string { return "hosts." + host + ".range" }

// keep gives the hosts of the lock what they have.
func (a *assignment) keep() {
	for i, h := range a.hosts {
		e, ok := a.known[h.Name]
		if !ok {
			continue
		}
		a.result.Hosts[i].ID, a.result.Hosts[i].Range, a.result.Hosts[i].Address = e.ID, e.Range, e.Address
		if h.Pin.IsValid() && h.Pin != e.Range {
			a.find(rangeOf(h.Name), "host %s has range %s, and a host's range cannot move to %s: remove the host from the file, apply, run \"fabric release %s\", and add it with the new range",
				h.Name, e.Range, h.Pin, h.Name)
		}
	}
}

// pin gives new hosts the ranges that they must have.
func (a *assignment) pin() {
	for i, h := range a.hosts {
		if _, locked := a.known[h.Name]; locked || !h.Pin.IsValid() {
			continue
		}
		switch {
		case h.Pin != h.Pin.Masked() || !h.Pin.Addr().Is4() || h.Pin.Bits() > minRange:
			a.find(rangeOf(h.Name), "host %s: range %s is not an aligned IPv4 range of /%d or larger", h.Name, h.Pin, minRange)
		case !contains(a.network, h.Pin):
			a.find(rangeOf(h.Name), "host %s: range %s is not inside the network %s", h.Name, h.Pin, a.network)
		default:
			a.result.Hosts[i].Range = h.Pin
			if h.Own.IsValid() && h.Own != Gateway(h.Pin) && hosts(h.Pin, h.Own) {
				a.result.Hosts[i].Address = h.Own
			}
		}
	}
	a.checkOverlaps()
}

func (a *assignment) checkOverlaps() {
	type owned struct {
		Entry
		removed bool
	}
	var all []owned
	for _, e := range a.result.Hosts {
		if e.Range.IsValid() {
			all = append(all, owned{e, false})
		}
	}
	for _, e := range a.result.Removed {
		all = append(all, owned{e, true})
	}
	slices.SortStableFunc(all, func(x, y owned) int { return comparePrefix(x.Range, y.Range) })
	for i, last := 1, 0; i < len(all); i++ {
		x, y := all[last], all[i]
		if !x.Range.Overlaps(y.Range) {
			last = i
			continue
		}
		hint, asks := "", y.Name
		if _, locked := a.known[asks]; locked {
			asks = x.Name
		}
		for _, o := range []owned{x, y} {
			if o.removed {
				hint = a.releaseHint(o.Name, false)
			}
		}
		a.find(rangeOf(asks), "range %s of %s overlaps %s of %s%s", x.Range, x.Name, y.Range, y.Name, hint)
	}
}

// fill gives ranges to the hosts that have none. In a new fabric all get equal ranges, times their weight. A later host gets
// what a new fabric would give it, but no more than its share of what is free, counted as if every host had to have one of it,
// nor more than half of the largest free block: a fabric that grows host by host reaches some hundred hosts on a /16 so, where
// halves alone would use it up after a dozen.
func (a *assignment) fill() {
	var missing []int
	for i := range a.hosts {
		if !a.result.Hosts[i].Range.IsValid() {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return
	}
	if len(a.known) == 0 {
		a.divide(missing)
		return
	}
	free := newSpace(a.network, a.used())
	slot := a.slotBits()
	for _, i := range missing {
		largest, ok := free.largest()
		if !ok {
			a.full(a.hosts[i].Name)
			return
		}
		share := free.share(len(a.hosts))
		a.result.Hosts[i].Range, _ = free.take(min(max(rangeBits(slot, a.hosts[i]), share, largest+1), minRange))
	}
}

// divide gives equal ranges, as large as leave one more free; those with more weight first, so that nothing is lost to
// alignment.
func (a *assignment) divide(missing []int) {
	order := slices.SortedStableFunc(slices.Values(missing), func(i, j int) int {
		return cmp.Compare(units(a.hosts[j]), units(a.hosts[i]))
	})
	for slot := a.slotBits(); slot <= minRange; slot++ {
		free := newSpace(a.network, a.used())
		ranges := make([]netip.Prefix, 0, len(order))
		for _, i := range order {
			r, ok := free.take(rangeBits(slot, a.hosts[i]))
			if !ok {
				break
			}
			ranges = append(ranges, r)
		}
		_, spare := free.take(slot)
		if len(ranges) == len(order) && (spare || slot == minRange) {
			for n, i := range order {
				a.result.Hosts[i].Range = ranges[n]
			}
			return
		}
	}
	a.full("")
}

func (a *assignment) full(host string) {
	what := "the hosts"
	if host != "" {
		what = "host " + host
	}
	help := "take a larger network"
	if host == "" && slices.ContainsFunc(a.hosts, func(h Want) bool { return h.Weight > 1 }) {
		help += ", or smaller weights"
	}
	if slices.ContainsFunc(a.hosts, func(h Want) bool { return h.Pin.IsValid() }) {
		help += ", or smaller pinned ranges"
	}
	if len(a.result.Removed) > 0 {
		names := make([]string, len(a.result.Removed))
		for i, e := range a.result.Removed {
			names[i] = e.Name
		}
		help += `, or give up what is reserved for removed hosts ("fabric release NAME"): ` + strings.Join(names, ", ")
	}
	a.find("network", "the network %s has no room for %s in ranges of /%d or larger: %s", a.network, what, minRange, help)
}

func (a *assignment) used() []netip.Prefix {
	var used []netip.Prefix
	for _, e := range slices.Concat(a.result.Hosts, a.result.Removed) {
		if e.Range.IsValid() {
			used = append(used, e.Range)
		}
	}
	return used
}

// slotBits is the length of the range that a new fabric of these hosts gives to weight 1, with one slot to spare.
func (a *assignment) slotBits() int {
	slots := 1
	for _, h := range a.hosts {
		slots += units(h)
	}
	return min(a.network.Bits()+log2(slots), minRange)
}

// rangeBits is the length of a host's range where weight 1 gets a range of length slot.
func rangeBits(slot int, h Want) int { return max(slot-log2(max(h.Weight, 1)), 0) }

// units is how many slots a host takes: its weight rounded up to a power of two.
func units(h Want) int { return 1 << log2(max(h.Weight, 1)) }

// log2 rounds up; n is 1 or more, and what is beyond the IPv4 address space counts as the whole of it.
func log2(n int) int { return min(bits.Len(uint(n-1)), 32) }

// identify gives each new host an ID above all others, since among equals the host with the lowest is the root: a newcomer that
// took one that was released would move it. Past the last ID it takes the lowest that nobody has.
func (a *assignment) identify() {
	taken := make(map[int]bool, len(a.known))
	next := 1
	for _, e := range a.known {
		taken[e.ID] = true
		next = max(next, e.ID+1)
	}
	for i := range a.result.Hosts {
		if a.result.Hosts[i].ID != 0 {
			continue
		}
		if next > MaxID {
			next = 1
		}
		for taken[next] {
			next++
		}
		a.result.Hosts[i].ID, taken[next] = next, true
	}
}
