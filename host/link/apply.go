package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

// Apply makes the bridge what want.Links says, and touches nothing that is
// right already. If want.Links has a member it waits for it until ctx ends:
// Open vSwitch makes it, perhaps only just now. Links of others and addresses
// of others stay on the bridge.
//
// Without want.Links it lets go of the fabric's bridge: the member, the
// addresses and the alias go, and so does the bridge if then nothing is left
// on it.
func (r *Resource) Apply(ctx context.Context, want plan.HostState) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	if want.Links == nil {
		return h.release()
	}
	moved, err := h.form(ctx, *want.Links)
	if err == nil && moved && r.Moved != nil {
		_ = r.Moved(ctx) // or it learns from the next frame of each
	}
	return err
}

// form brings about want. The bridge has its MAC and its address before the
// switch joins: until then nobody in the fabric can see a wrong one. It reports
// whether another member of Open vSwitch's had to leave for the wanted one.
func (h rtnl) form(ctx context.Context, want plan.Links) (moved bool, err error) {
	mac, err := parseMAC(want.MAC)
	if err != nil {
		return false, err
	}
	bridge, err := h.makeBridge(want.Name, mac)
	if err != nil {
		return false, err
	}
	if err := h.setMAC(bridge, mac); err != nil {
		return false, err
	}
	if err := h.setMTU(bridge, want.MTU); err != nil {
		return false, err
	}
	if err := h.setAddress(bridge, want.Owner, want.Address); err != nil {
		return false, err
	}
	// A bridge stays up when only its member is down: containers reach the
	// host by it.
	if err := h.setUp(bridge, want.Up || want.Member != ""); err != nil {
		return false, err
	}
	if want.Member == "" {
		_, err := h.detach(bridge, "")
		return false, err
	}
	member, err := h.await(ctx, want.Member)
	if err != nil {
		return false, err
	}
	return h.attach(member, bridge, want.MTU, want.Up)
}

func parseMAC(s string) (net.HardwareAddr, error) {
	if s == "" {
		return nil, nil
	}
	return net.ParseMAC(s)
}

// makeBridge returns the Linux bridge of that name and makes it if there is
// none, without STP, which is the kernel's default.
func (h rtnl) makeBridge(name string, mac net.HardwareAddr) (netlink.Link, error) {
	l, err := h.find(name)
	if err != nil {
		return nil, err
	}
	if l == nil {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.HardwareAddr = name, mac
		if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
			return nil, fmt.Errorf("make bridge %s: %w", name, err)
		}
		if l, err = h.LinkByName(name); err != nil {
			return nil, fmt.Errorf("look up bridge %s after making it: %w", name, err)
		}
	}
	if l.Type() != "bridge" {
		return nil, fmt.Errorf("%s is a %s link, not a Linux bridge: rename or delete it, or choose another bridge", name, l.Type())
	}
	return l, nil
}

// setMAC gives the bridge another MAC, if it has another than that, and has
// the kernel tell its neighbours and containers: they would send to the former
// one until they ask again.
func (h rtnl) setMAC(bridge netlink.Link, mac net.HardwareAddr) error {
	attrs := bridge.Attrs()
	if mac == nil || attrs.HardwareAddr.String() == mac.String() {
		return nil
	}
	notify := "/proc/sys/net/ipv4/conf/" + attrs.Name + "/arp_notify"
	if was, err := os.ReadFile(notify); err == nil { // where it cannot be had they ask again
		_ = os.WriteFile(notify, []byte("1"), 0)
		defer func() { _ = os.WriteFile(notify, was, 0) }()
	}
	if err := h.LinkSetHardwareAddr(bridge, mac); err != nil {
		return fmt.Errorf("set the MAC of %s to %s: %w", attrs.Name, mac, err)
	}
	return nil
}

// setAddress replaces the fabric's address on the bridge. On a bridge that
// was not marked as a fabric's yet, the address replaced is the one that
// dockerd gave it. Any other address in the same network goes too: only the
// fabric gives those out. No other address goes.
func (h rtnl) setAddress(bridge netlink.Link, owner string, want netip.Prefix) error {
	list, err := h.addresses(bridge)
	if err != nil {
		return err
	}
	var had []netip.Prefix
	for _, a := range list {
		had = append(had, a.prefix)
	}
	m, marked := parseMark(bridge.Attrs().Alias)
	former := m.addresses
	if !marked && len(had) > 0 {
		former = []netip.Prefix{choose(had, nil, want.Masked())}
	}
	var goes, stays []netip.Prefix
	for _, p := range had {
		if p != want && (slices.Contains(former, p) || want.IsValid() && want.Masked().Contains(p.Addr())) {
			goes = append(goes, p)
		} else {
			stays = append(stays, p)
		}
	}
	final := mark{owner: owner}
	if want.IsValid() {
		final.addresses = []netip.Prefix{want}
		if !slices.Contains(stays, want) {
			stays = append(stays, want)
		}
	}
	claims := marked || owner != ""
	if claims && len(goes) > 0 {
		both := mark{owner: owner, addresses: slices.Concat(final.addresses, goes)}
		if err := h.setAlias(bridge, both.String()); err != nil {
			return err
		}
	} else if owner != "" {
		if err := h.setAlias(bridge, final.String()); err != nil {
			return err
		}
	}
	if err := h.swap(bridge, had, goes, stays); err != nil {
		return err
	}
	if !claims {
		return nil
	}
	if owner == "" {
		return h.setAlias(bridge, "")
	}
	return h.setAlias(bridge, final.String())
}

// Claim adds an address of docker0 to those that its alias tells as the
// fabric's, if docker0 is the fabric's bridge.
func (*Resource) Claim(ctx context.Context, claimed netip.Prefix) error {
	h, err := open(ctx)
	if err != nil {
		return err
	}
	defer h.Close()
	bridge, err := h.find("docker0")
	if bridge == nil || err != nil {
		return err
	}
	m, marked := parseMark(bridge.Attrs().Alias)
	if !marked || slices.Contains(m.addresses, claimed) {
		return nil
	}
	list, err := h.addresses(bridge)
	if err != nil || !slices.ContainsFunc(list, func(a address) bool { return a.prefix == claimed }) {
		return err
	}
	m.addresses = append(m.addresses, claimed)
	return h.setAlias(bridge, m.String())
}

// swap adds what is missing of stays and then removes goes. Removing a
// primary address takes the secondary ones of its network with it unless
// promote_secondaries is set (ip-sysctl), so what stays is looked at again.
func (h rtnl) swap(bridge netlink.Link, had, goes, stays []netip.Prefix) error {
	name := bridge.Attrs().Name
	add := func(had []netip.Prefix) error {
		for _, p := range stays {
			if slices.Contains(had, p) {
				continue
			}
			if err := h.AddrAdd(bridge, netlinkAddress(p)); err != nil && !errors.Is(err, unix.EEXIST) {
				return fmt.Errorf("add address %s to %s: %w", p, name, err)
			}
		}
		return nil
	}
	if err := add(had); err != nil {
		return err
	}
	for _, p := range goes {
		if err := h.AddrDel(bridge, netlinkAddress(p)); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("remove address %s from %s: %w", p, name, err)
		}
	}
	if len(goes) == 0 {
		return nil
	}
	list, err := h.addresses(bridge)
	if err != nil {
		return err
	}
	var left []netip.Prefix
	for _, a := range list {
		left = append(left, a.prefix)
	}
	return add(left)
}

func netlinkAddress(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{
		IP:   p.Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}}
}

func (h rtnl) setAlias(l netlink.Link, alias string) error {
	now, err := h.LinkByIndex(l.Attrs().Index)
	if err != nil {
		return fmt.Errorf("look up %s: %w", l.Attrs().Name, err)
	}
	if now.Attrs().Alias == alias {
		return nil
	}
	if err := h.LinkSetAlias(l, alias); err != nil {
		return fmt.Errorf("set the alias of %s to %q: %w", l.Attrs().Name, alias, err)
	}
	return nil
}

func (h rtnl) setMTU(l netlink.Link, mtu int) error {
	if l.Attrs().MTU == mtu {
		return nil
	}
	if err := h.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set the MTU of %s to %d: %w", l.Attrs().Name, mtu, err)
	}
	return nil
}

func (h rtnl) setUp(l netlink.Link, up bool) error {
	if isUp(l) == up {
		return nil
	}
	set, word := h.LinkSetUp, "up"
	if !up {
		set, word = h.LinkSetDown, "down"
	}
	if err := set(l); err != nil {
		return fmt.Errorf("set %s %s: %w", l.Attrs().Name, word, err)
	}
	return nil
}

// await returns the link of that name as soon as it is there.
func (h rtnl) await(ctx context.Context, name string) (netlink.Link, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := h.find(name)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s has not appeared: look whether Open vSwitch runs, and at its log: %w", name, ctx.Err())
		}
	}
}

// attach makes member the one port of the bridge that is Open vSwitch's. All that
// takes time is done before another one leaves for it: meanwhile nothing passes.
// It reports whether one had to leave.
func (h rtnl) attach(member, bridge netlink.Link, mtu int, up bool) (moved bool, err error) {
	if err := h.setMTU(member, mtu); err != nil {
		return false, err
	}
	if err := h.setUp(member, up); err != nil {
		return false, err
	}
	if moved, err = h.detach(bridge, member.Attrs().Name); err != nil {
		return false, err
	}
	if member.Attrs().MasterIndex != bridge.Attrs().Index {
		if err := h.LinkSetMaster(member, bridge); err != nil {
			return false, fmt.Errorf("make %s a member of %s: %w", member.Attrs().Name, bridge.Attrs().Name, err)
		}
	}
	return moved, nil
}

// detach takes Open vSwitch's links out of the bridge, but for the one to keep.
// One that has left is down: nothing of the host's own leaves by it.
func (h rtnl) detach(bridge netlink.Link, keep string) (detached bool, err error) {
	for _, name := range plan.Members() {
		l, err := h.find(name)
		if err != nil {
			return detached, err
		}
		if name == keep || l == nil || l.Attrs().MasterIndex != bridge.Attrs().Index {
			continue
		}
		if err := h.LinkSetNoMaster(l); err != nil {
			return detached, fmt.Errorf("take %s out of %s: %w", name, bridge.Attrs().Name, err)
		}
		detached = true
		if err := h.setUp(l, false); err != nil {
			return detached, err
		}
	}
	return detached, nil
}

// release lets go of every bridge that carries a fabric's mark. The alias
// goes last: a release cut short is done again from the start.
func (h rtnl) release() error {
	links, err := h.links()
	if err != nil {
		return err
	}
	for _, bridge := range links {
		m, marked := parseMark(bridge.Attrs().Alias)
		if !marked || bridge.Type() != "bridge" {
			continue
		}
		if _, err := h.detach(bridge, ""); err != nil {
			return err
		}
		list, err := h.addresses(bridge)
		if err != nil {
			return err
		}
		var had, stays []netip.Prefix
		for _, a := range list {
			had = append(had, a.prefix)
			if !slices.Contains(m.addresses, a.prefix) {
				stays = append(stays, a.prefix)
			}
		}
		used6, err := h.hasIPv6(bridge)
		if err != nil {
			return err
		}
		if len(stays) == 0 && !used6 && !hasMembers(bridge, links) {
			if err := h.LinkDel(bridge); err != nil {
				return fmt.Errorf("delete bridge %s: %w", bridge.Attrs().Name, err)
			}
			continue
		}
		goes := slices.DeleteFunc(slices.Clone(had), func(p netip.Prefix) bool { return slices.Contains(stays, p) })
		if err := h.swap(bridge, had, goes, stays); err != nil {
			return err
		}
		if err := h.setAlias(bridge, ""); err != nil {
			return err
		}
	}
	return nil
}

// hasIPv6 tells whether somebody has given the link an IPv6 address; the
// link-local one is the kernel's.
func (h rtnl) hasIPv6(l netlink.Link) (bool, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V6) })
	if err != nil {
		return false, fmt.Errorf("list addresses of %s: %w", l.Attrs().Name, err)
	}
	return slices.ContainsFunc(list, func(a netlink.Addr) bool { return !a.IP.IsLinkLocalUnicast() }), nil
}

// hasMembers tells whether links hold a member of the bridge other than the
// switch.
func hasMembers(bridge netlink.Link, links []netlink.Link) bool {
	return slices.ContainsFunc(links, func(l netlink.Link) bool {
		return l.Attrs().MasterIndex == bridge.Attrs().Index && !isMember(l.Attrs().Name)
	})
}

// isMember tells the links of Open vSwitch that the fabric makes members of a
// bridge.
func isMember(name string) bool { return slices.Contains(plan.Members(), name) }
