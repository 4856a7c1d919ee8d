package topology

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// minRange is the length of the smallest range that a host can have.
const minRange = 29

// minMTU is the smallest MTU to leave for containers: what every IPv4 host must be able to receive (RFC 791 section 3.1).
const minMTU = 576

// finding is a problem that shows between values, with the path of the value to blame.
type finding struct{ path, message, hint string }

// check finds what is wrong between values that are each right. Zero values stand for what was wrong already.
func (t *Topology) check() []finding {
	return slices.Concat(t.checkHosts(), t.checkFormerNames(), t.checkAddresses(), t.checkRanges(), t.checkTree(), t.checkLinks(), t.checkMTU())
}

func (t *Topology) checkHosts() []finding {
	if len(t.Hosts) == 0 {
		return []finding{{"hosts", "a fabric has at least one host", `as "hosts: {h1: {address: 192.0.2.11}}"`}}
	}
	if t.Network.IsValid() && t.Network.Bits() <= minRange && len(t.Hosts) > 1<<(minRange-t.Network.Bits()) {
		return []finding{{"network", fmt.Sprintf("%s has no room for %d hosts in ranges of /%d", t.Network, len(t.Hosts), minRange), "take a larger network"}}
	}
	return nil
}

// checkFormerNames has nobody take over what a host of the file, or two hosts, would have to keep.
func (t *Topology) checkFormerNames() []finding {
	var findings []finding
	names := t.names()
	now, was := map[string]string{}, map[string]string{}
	for _, h := range t.Hosts {
		was[h.Name] = h.Was
	}
	for _, h := range t.Hosts {
		if h.Was == "" {
			continue
		}
		path := "hosts." + h.Name + ".was"
		switch other := now[h.Was]; {
		case !label.MatchString(h.Was):
			findings = append(findings, finding{path, fmt.Sprintf("%q is not a host name: lower case letters, digits and dashes", h.Was), ""})
		case names[h.Was] && was[h.Was] != "":
			findings = append(findings, finding{path, fmt.Sprintf("there is a host %s still, which was %s", h.Was, was[h.Was]),
				"names that pass from host to host take a step each: rename to a name that is new, apply, and rename on from there"})
		case names[h.Was]:
			findings = append(findings, finding{path, "there is a host " + h.Was + " still", "a renamed host is in the file by its new name only"})
		case other != "":
			findings = append(findings, finding{path, "host " + other + " was " + h.Was + " too", "only one of them can keep its range"})
		default:
			now[h.Was] = h.Name
		}
	}
	return findings
}

// unusable says why a tunnel cannot end at an address; empty if it can.
func unusable(addr netip.Addr) string {
	switch {
	case addr.Zone() != "":
		return "has a zone, which another host cannot use"
	case addr.IsUnspecified(), addr.IsMulticast(), addr == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is not the address of one host"
	case addr.IsLoopback():
		return "is every host's own address, which others cannot reach"
	}
	return ""
}

func (t *Topology) checkAddresses() []finding {
	var findings []finding
	owner := make(map[string]string, len(t.Hosts))
	first := ""
	firstIs4 := false
	for _, h := range t.Hosts {
		path := "hosts." + h.Name + ".address"
		key := h.HostName
		if h.Address.IsValid() {
			key = h.Address.String()
			if t.Network.IsValid() && t.Network.Contains(h.Address) {
				findings = append(findings, finding{path, fmt.Sprintf("%s is inside the fabric's network %s, which runs over this address", h.Address, t.Network), "take another network"})
			}
			if t.Tunnel.Type == GRE && h.Address.Is6() {
				findings = append(findings, finding{path, fmt.Sprintf("%s is IPv6, over which Open vSwitch has no GRE tunnels of this kind", h.Address), "take tunnel.type vxlan or geneve"})
			}
			if first == "" {
				first, firstIs4 = h.Name, h.Address.Is4()
			} else if firstIs4 != h.Address.Is4() {
				findings = append(findings, finding{path, fmt.Sprintf("%s is not of the IP version of %s: a tunnel has the same at both ends", h.Address, first), ""})
			}
		}
		if key == "" {
			continue
		}
		if other, ok := owner[key]; ok {
			findings = append(findings, finding{path, fmt.Sprintf("%s is the address of host %s already", key, other), ""})
		} else {
			owner[key] = h.Name
		}
	}
	return findings
}

func (t *Topology) checkRanges() []finding {
	var findings []finding
	var pinned []Host
	for _, h := range t.Hosts {
		path := "hosts." + h.Name + ".range"
		switch {
		case !h.Range.IsValid():
			continue
		case h.Range.Bits() > minRange:
			findings = append(findings, finding{path, fmt.Sprintf("%s is too small: /%d is the smallest range", h.Range, minRange), ""})
			continue
		case t.Network.IsValid() && (!t.Network.Contains(h.Range.Addr()) || h.Range.Bits() < t.Network.Bits()):
			findings = append(findings, finding{path, fmt.Sprintf("%s is not inside the network %s", h.Range, t.Network), ""})
			continue
		}
		pinned = append(pinned, h)
	}
	slices.SortStableFunc(pinned, func(a, b Host) int {
		return cmp.Or(a.Range.Addr().Compare(b.Range.Addr()), cmp.Compare(a.Range.Bits(), b.Range.Bits()))
	})
	// Aligned ranges nest or are apart, so each needs to be compared only with the last that is not inside another.
	for i, last := 1, 0; i < len(pinned); i++ {
		if !pinned[last].Range.Overlaps(pinned[i].Range) {
			last = i
			continue
		}
		findings = append(findings, finding{"hosts." + pinned[i].Name + ".range",
			fmt.Sprintf("%s overlaps %s of host %s", pinned[i].Range, pinned[last].Range, pinned[last].Name), ""})
	}
	return findings
}

func (t *Topology) names() map[string]bool {
	names := make(map[string]bool, len(t.Hosts))
	for _, h := range t.Hosts {
		names[h.Name] = true
	}
	return names
}

func (t *Topology) checkTree() []finding {
	var findings []finding
	names := t.names()
	for _, pin := range []struct{ path, name string }{{"tree.root", t.Tree.Root}, {"tree.backup", t.Tree.Backup}} {
		if pin.name != "" && !names[pin.name] {
			findings = append(findings, finding{pin.path, fmt.Sprintf("there is no host %q", pin.name), ""})
		}
	}
	if t.Tree.Root != "" && t.Tree.Root == t.Tree.Backup {
		findings = append(findings, finding{"tree.backup", t.Tree.Backup + " is the root already: the backup root is another host", ""})
	}
	return findings
}

func (t *Topology) checkLinks() []finding {
	var findings []finding
	names := t.names()
	seen := make(map[[2]string]int, len(t.Links))
	for i, l := range t.Links {
		if l.A == "" || l.B == "" {
			continue
		}
		path := fmt.Sprintf("links[%d]", i)
		for _, end := range []string{l.A, l.B} {
			if !names[end] {
				findings = append(findings, finding{path + ".between", fmt.Sprintf("there is no host %q", end), ""})
			}
		}
		if l.A == l.B {
			findings = append(findings, finding{path + ".between", "a link from " + l.A + " to itself", ""})
			continue
		}
		if other, ok := seen[[2]string{l.A, l.B}]; ok {
			findings = append(findings, finding{path, fmt.Sprintf("%s and %s have a link already, links[%d]", l.A, l.B, other), ""})
			continue
		}
		seen[[2]string{l.A, l.B}] = i
	}
	return findings
}

func (t *Topology) checkMTU() []finding {
	if t.UnderlayMTU == 0 {
		return nil
	}
	overhead := t.Tunnel.Overhead(slices.ContainsFunc(t.Hosts, func(h Host) bool { return h.Address.Is6() }))
	if left := t.UnderlayMTU - overhead; left < minMTU {
		return []finding{{"underlay.mtu", fmt.Sprintf("%d leaves %d bytes beside the %d of %s, and containers need %d", t.UnderlayMTU, left, overhead, t.Tunnel.Type, minMTU),
			fmt.Sprintf("%d is the least", minMTU+overhead)}}
	}
	return nil
}

// WithAddresses returns a copy of the topology that has the addresses of the hosts that the file gives by name, from a map by
// host name. The error has every host without an address, with one that cannot be used or that another host has, and with one
// inside the fabric's network.
func (t *Topology) WithAddresses(resolved map[string]netip.Addr) (*Topology, error) {
	c := *t
	c.Hosts = slices.Clone(t.Hosts)
	var findings []finding
	for i := range c.Hosts {
		h := &c.Hosts[i]
		if h.Address.IsValid() {
			continue
		}
		path := "hosts." + h.Name + ".address"
		addr, ok := resolved[h.Name]
		if !ok {
			findings = append(findings, finding{path, fmt.Sprintf("the name %s has no address", h.HostName), ""})
			continue
		}
		addr = addr.Unmap()
		if why := unusable(addr); why != "" {
			findings = append(findings, finding{path, fmt.Sprintf("%s of %s %s", addr, h.HostName, why), ""})
			continue
		}
		h.Address = addr
	}
	if err := joined(slices.Concat(findings, c.checkAddresses(), c.checkMTU())); err != nil {
		return nil, err
	}
	return &c, nil
}

// joined makes an error of findings, nil of none.
func joined(findings []finding) error {
	errs := make([]error, len(findings))
	for i, f := range findings {
		errs[i] = errors.New(Problem{Path: f.path, Message: f.message, Hint: f.hint}.String())
	}
	return errors.Join(errs...)
}
