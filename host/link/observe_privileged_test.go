//go:build privileged

package link

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/plan"
)

func TestUnderlay(t *testing.T) {
	namespace(t)
	addVeth(t, "ul0", "ul1")
	must(t, netlink.LinkSetMTU(get(t, "ul0"), 1400))
	addAddress(t, "ul0", "192.0.2.11/24")
	gateway := net.ParseIP("192.0.2.1")
	addRoute(t, netlink.Route{Gw: gateway}, "198.51.100.0/24", "ul0")
	addRoute(t, netlink.Route{Gw: gateway, MTU: 1300}, "203.0.113.0/24", "ul0")
	addRoute(t, netlink.Route{Gw: gateway, MTU: 9000}, "203.0.113.128/25", "ul0")

	q := query()
	for _, peer := range []string{"203.0.113.200", "203.0.113.1", "198.51.100.1", "192.0.2.12", "192.0.2.11", "10.9.9.9"} {
		q.Peers = append(q.Peers, netip.MustParseAddr(peer))
	}
	o := observe(t, q)
	source := netip.MustParseAddr("192.0.2.11")
	want := []plan.Path{
		{Peer: netip.MustParseAddr("10.9.9.9")},
		{Peer: netip.MustParseAddr("192.0.2.11"), Device: "lo", Source: source, MTU: 65536},
		{Peer: netip.MustParseAddr("192.0.2.12"), Device: "ul0", Source: source, MTU: 1400},
		{Peer: netip.MustParseAddr("198.51.100.1"), Device: "ul0", Source: source, MTU: 1400},
		{Peer: netip.MustParseAddr("203.0.113.1"), Device: "ul0", Source: source, MTU: 1300},
		{Peer: netip.MustParseAddr("203.0.113.200"), Device: "ul0", Source: source, MTU: 1400},
	}
	if diff := cmp.Diff(want, o.Facts.Underlay, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var what []string
	for _, ob := range o.Obstacles {
		what = append(what, ob.What)
	}
	if diff := cmp.Diff([]string{"no route to 10.9.9.9", "192.0.2.11, a peer's address, is this host's own"}, what); diff != "" {
		t.Errorf("obstacles (-want +got):\n%s", diff)
	}
}

func TestRoutesAreThoseOfOthers(t *testing.T) {
	namespace(t)
	addTAP(t, member)
	links := demo()
	apply(t, &links)
	addVeth(t, "ul0", "ul1")
	addAddress(t, "ul0", "192.0.2.11/24")
	addAddress(t, "ul0", "169.254.1.1/16")
	addRoute(t, netlink.Route{Gw: net.ParseIP("192.0.2.1")}, "0.0.0.0/0", "ul0")
	addRoute(t, netlink.Route{Gw: net.ParseIP("192.0.2.1")}, "10.0.0.0/8", "ul0")
	addRoute(t, netlink.Route{Gw: net.ParseIP("172.17.0.9")}, "10.99.0.0/16", "docker0")
	addRoute(t, netlink.Route{Gw: net.ParseIP("192.0.2.1"), Table: 100}, "10.98.0.0/16", "ul0")
	want := []plan.Route{
		{Prefix: netip.MustParsePrefix("10.0.0.0/8"), Device: "ul0"},
		{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Device: "ul0"},
	}
	if diff := cmp.Diff(want, observe(t, query()).Facts.Routes, cmpopts.EquateComparable(netip.Prefix{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestObstacles(t *testing.T) {
	for _, tt := range []struct {
		name  string
		build func(t *testing.T)
		want  string // in What; "" for no obstacle
	}{
		{"nothing there", func(*testing.T) {}, ""},
		{"Docker's bridge with a container", func(t *testing.T) {
			bridge := addBridge(t, "docker0")
			addAddress(t, "docker0", "172.17.0.1/16")
			must(t, netlink.LinkSetMaster(addVeth(t, "veth1", "container"), bridge))
		}, ""},
		{"docker0 is no bridge", func(t *testing.T) { addVeth(t, "docker0", "peer") }, "docker0 is a veth link"},
		{"br0 is a Linux bridge", func(t *testing.T) { addBridge(t, "br0") }, "br0 is a bridge link"},
		{"br0 is elsewhere", func(t *testing.T) {
			must(t, netlink.LinkSetMaster(addTAP(t, "br0"), addBridge(t, "lan")))
		}, "br0 is a member of lan"},
		{"fab-default is a Linux bridge", func(t *testing.T) { addBridge(t, member) }, "fab-default is a bridge link"},
		{"fab-default is elsewhere", func(t *testing.T) {
			must(t, netlink.LinkSetMaster(addTAP(t, member), addBridge(t, "lan")))
		}, "fab-default is a member of lan"},
		{"docker0 has a foreign member", func(t *testing.T) {
			must(t, netlink.LinkSetMaster(addTAP(t, "vm1"), addBridge(t, "docker0")))
		}, "member vm1"},
		{"docker0 has two addresses", func(t *testing.T) {
			addBridge(t, "docker0")
			addAddress(t, "docker0", "172.17.0.1/16")
			addAddress(t, "docker0", "192.168.5.1/24")
		}, "second address, 192.168.5.1/24"},
		{"the fabric's docker0 has a second address", func(t *testing.T) {
			must(t, netlink.LinkSetAlias(addBridge(t, "docker0"), "fabric=demo 172.17.64.1/16"))
			addAddress(t, "docker0", "192.168.5.1/24")
			addAddress(t, "docker0", "172.17.64.1/16")
		}, ""},
		{"docker0 is another fabric's", func(t *testing.T) {
			must(t, netlink.LinkSetAlias(addBridge(t, "docker0"), "fabric=other 172.17.64.1/16"))
		}, "docker0 belongs to fabric other"},
		{"the fabric has another bridge", func(t *testing.T) {
			must(t, netlink.LinkSetAlias(addBridge(t, "old0"), "fabric=demo"))
		}, "old0, not docker0"},
		{"a route overlaps", func(t *testing.T) {
			addVeth(t, "ul0", "ul1")
			addAddress(t, "ul0", "172.16.0.1/12")
		}, "route to 172.16.0.0/12 by ul0"},
		{"an address is inside", func(t *testing.T) { addAddress(t, "lo", "172.17.9.9/32") }, "lo has the address 172.17.9.9/32"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			namespace(t)
			tt.build(t)
			expect(t, observe(t, query()).Obstacles, tt.want)
		})
	}
}

func TestWhoHoldsThePortInThisNamespace(t *testing.T) {
	namespace(t)
	// By hand: package net may do it on another thread, in another
	// namespace.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	must(t, unix.Bind(fd, &unix.SockaddrInet4{Port: 4789}))
	add(t, &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vxlan_sys_4790"}, FlowBased: true, Port: 4790}) // as Open vSwitch makes it
	add(t, &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "flannel.1"}, VxlanId: 1, Port: 4793})
	swarms := add(t, &netlink.Vxlan{LinkAttrs: netlink.LinkAttrs{Name: "vx-swarm"}, VxlanId: 4097, Port: 4794})
	elsewhere(t, swarms)

	var got []string
	for _, held := range observe(t, query()).Facts.UDP {
		got = append(got, fmt.Sprintf("%d: %s", held.Port, held.By))
	}
	want := []string{fmt.Sprintf("4789: link.test (process %d)", os.Getpid()), "4793: flannel.1, a vxlan link,", "4794: "}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestObserveWithoutPrivilege(t *testing.T) {
	namespace(t)
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	must(t, unix.Capset(&header, &none[0])) // of this thread only, which ends with the test
	expect(t, observe(t, query()).Obstacles, "no permission")
}
