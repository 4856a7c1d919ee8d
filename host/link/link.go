// Package link is the Linux bridge that containers are on: its address, MTU
// and members, by netlink.
//
// The bridge's alias (ip-link(8)) tells whose it is: "fabric=NAME", and after
// it the addresses that the fabric put there. While an address is replaced
// both are named, so that a host that crashes in between still knows which
// addresses may go. IPv6 is left alone.
package link

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Resource is the links part of a host.
type Resource struct {
	// Moved is called when the bridge has got another member than it had: the
	// switch still knows the addresses behind it at the former one. It may be nil.
	Moved func(context.Context) error
}

// Name is the word for this part in messages.
func (*Resource) Name() string { return "links" }

// rtnl is one rtnetlink(7) socket.
type rtnl struct{ *netlink.Handle }

// open dials rtnetlink. The answers come from the kernel at once, so the
// socket's own time-out only guards against its bugs.
func open(ctx context.Context) (rtnl, error) {
	if err := ctx.Err(); err != nil {
		return rtnl{}, err
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return rtnl{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	if err := h.SetSocketTimeout(10 * time.Second); err != nil {
		h.Close()
		return rtnl{}, fmt.Errorf("open rtnetlink: %w", err)
	}
	return rtnl{h}, nil
}

// find returns the link of that name, nil if there is none.
func (h rtnl) find(name string) (netlink.Link, error) {
	l, err := h.LinkByName(name)
	if _, ok := errors.AsType[netlink.LinkNotFoundError](err); ok {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look up link %s: %w", name, err)
	}
	return l, nil
}

func (h rtnl) links() ([]netlink.Link, error) {
	links, err := dump(h.LinkList)
	if err != nil {
		return nil, fmt.Errorf("list links: %w", err)
	}
	return links, nil
}

// addresses returns the IPv4 addresses of l in the kernel's order, those of
// every link if l is nil.
func (h rtnl) addresses(l netlink.Link) ([]address, error) {
	list, err := dump(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	addresses := make([]address, 0, len(list))
	for _, a := range list {
		if p, ok := prefix(a.IPNet); ok {
			addresses = append(addresses, address{link: a.LinkIndex, prefix: p})
		}
	}
	return addresses, nil
}

// dump lists something again when it changed meanwhile, which leaves the list
// inconsistent (NLM_F_DUMP_INTR).
func dump[T any](list func() ([]T, error)) ([]T, error) {
	const tries = 10
	var values []T
	var err error
	for range tries {
		values, err = list()
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	return values, err
}

// address is an IPv4 address with its network's length, on a link.
type address struct {
	link   int // index
	prefix netip.Prefix
}

// prefix converts an IPv4 network; the host bits stay.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	ip, ok := netip.AddrFromSlice(n.IP.To4())
	ones, bits := n.Mask.Size()
	if !ok || bits != 32 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(ip, ones), true
}
