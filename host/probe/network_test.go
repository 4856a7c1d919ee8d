//go:build privileged

package probe

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// namespace is a network namespace of its own. It goes away with the test.
type namespace struct {
	t      *testing.T
	ns     netns.NsHandle
	handle *netlink.Handle
}

// newNamespace makes a namespace and moves the test's thread into it, for
// good: the thread ends with the test.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	runtime.LockOSThread()
	ns, err := netns.New()
	if err != nil {
		t.Fatalf("make a network namespace (as root?): %v", err)
	}
	handle, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { handle.Close(); ns.Close() })
	n := &namespace{t: t, ns: ns, handle: handle}
	n.up("lo")
	return n
}

func (n *namespace) enter() {
	n.t.Helper()
	n.must(netns.Set(n.ns))
}

func (n *namespace) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *namespace) link(name string) netlink.Link {
	n.t.Helper()
	link, err := n.handle.LinkByName(name)
	n.must(err)
	return link
}

func (n *namespace) up(name string) {
	n.t.Helper()
	n.must(n.handle.LinkSetUp(n.link(name)))
}

// address puts an address, "192.0.2.1/24", on a link.
func (n *namespace) address(link, prefix string) {
	n.t.Helper()
	address, err := netlink.ParseAddr(prefix)
	n.must(err)
	n.must(n.handle.AddrAdd(n.link(link), address))
}

// veth joins this namespace to another by a pair of links.
func (n *namespace) veth(name string, mtu int, other *namespace, otherName string, otherMTU int) {
	n.t.Helper()
	n.must(n.handle.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: name},
		PeerName:      otherName,
		PeerNamespace: netlink.NsFd(other.ns),
	}))
	n.must(n.handle.LinkSetMTU(n.link(name), mtu))
	n.must(other.handle.LinkSetMTU(other.link(otherName), otherMTU))
	n.up(name)
	other.up(otherName)
}

// bridge makes a Linux bridge of links.
func (n *namespace) bridge(name string, mtu int, members ...string) {
	n.t.Helper()
	n.must(n.handle.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}))
	for _, member := range members {
		n.must(n.handle.LinkSetMaster(n.link(member), n.link(name)))
	}
	n.must(n.handle.LinkSetMTU(n.link(name), mtu))
	n.up(name)
}

func (n *namespace) mac(link string) string {
	n.t.Helper()
	return n.link(link).Attrs().HardwareAddr.String()
}

func addrs(addresses ...string) []netip.Addr {
	parsed := make([]netip.Addr, len(addresses))
	for i, address := range addresses {
		parsed[i] = netip.MustParseAddr(address)
	}
	return parsed
}
