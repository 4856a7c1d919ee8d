//go:build privileged

package link

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

// namespace puts the test into a network namespace of its own, with lo up.
// The thread is never unlocked, so it ends with the test, and the namespace
// with it.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("make a network namespace (this test needs root): %v", err)
	}
	must(t, netlink.LinkSetUp(get(t, "lo")))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatalf("link %s: %v", name, err)
	}
	return l
}

func exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := netlink.LinkByName(name)
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return false
	}
	must(t, err)
	return true
}

// add makes l, sets it up, and returns it as the kernel has it.
func add(t *testing.T, l netlink.Link) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(l))
	l = get(t, l.Attrs().Name)
	must(t, netlink.LinkSetUp(l))
	return l
}

// addTAP makes what Open vSwitch's userspace datapath makes for a bridge.
func addTAP(t *testing.T, name string) netlink.Link {
	t.Helper()
	return add(t, &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: name}, Mode: netlink.TUNTAP_MODE_TAP})
}

func addBridge(t *testing.T, name string) netlink.Link {
	t.Helper()
	return add(t, &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}})
}

// addVeth makes a pair, both up.
func addVeth(t *testing.T, name, peer string) netlink.Link {
	t.Helper()
	l := add(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name, MTU: 1500}, PeerName: peer})
	must(t, netlink.LinkSetUp(get(t, peer)))
	return l
}

// elsewhere moves a link to another network namespace, where it is up.
func elsewhere(t *testing.T, l netlink.Link) {
	t.Helper()
	here, err := netns.Get()
	must(t, err)
	t.Cleanup(func() { here.Close() })
	other, err := netns.New()
	must(t, err)
	t.Cleanup(func() { other.Close() })
	must(t, netns.Set(here))
	must(t, netlink.LinkSetNsFd(l, int(other)))
	must(t, netns.Set(other))
	must(t, netlink.LinkSetUp(get(t, l.Attrs().Name)))
	must(t, netns.Set(here))
}

func addAddress(t *testing.T, device, address string) {
	t.Helper()
	must(t, netlink.AddrAdd(get(t, device), netlinkAddress(netip.MustParsePrefix(address))))
}

func addRoute(t *testing.T, r netlink.Route, dst, device string) {
	t.Helper()
	var err error
	_, r.Dst, err = net.ParseCIDR(dst)
	must(t, err)
	r.LinkIndex = get(t, device).Attrs().Index
	must(t, netlink.RouteAdd(&r))
}

func addresses(t *testing.T, device string) []string {
	t.Helper()
	list, err := netlink.AddrList(get(t, device), netlink.FAMILY_V4)
	must(t, err)
	var words []string
	for _, a := range list {
		words = append(words, a.IPNet.String())
	}
	slices.Sort(words)
	return words
}

func demo() plan.Links {
	return plan.Links{
		Name: "docker0", Owner: "demo", MAC: "02:42:ac:11:40:01", MTU: 1450,
		Address: netip.MustParsePrefix("172.17.64.1/16"), Member: member, Up: true,
	}
}

func query() plan.Query {
	return plan.Query{Fabric: "demo", DockerBridge: "docker0", Network: netip.MustParsePrefix("172.17.0.0/16"), TunnelPort: 4789}
}

func apply(t *testing.T, want *plan.Links) {
	t.Helper()
	must(t, new(Resource).Apply(deadline(t), plan.HostState{Links: want}))
}

func observe(t *testing.T, q plan.Query) plan.Observation {
	t.Helper()
	var o plan.Observation
	must(t, new(Resource).Observe(deadline(t), q, &o))
	return o
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// check observes the links and compares them with want.
func check(t *testing.T, want *plan.Links) {
	t.Helper()
	if diff := cmp.Diff(want, observe(t, query()).State.Links, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("links (-want +got):\n%s", diff)
	}
}

func checkAddresses(t *testing.T, device string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, addresses(t, device)); diff != "" {
		t.Errorf("addresses of %s (-want +got):\n%s", device, diff)
	}
}
