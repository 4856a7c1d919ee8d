package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

const (
	ethernetHeader = 14
	arpLength      = 28
	arpRequest     = 1
	arpReply       = 2

	// A probe is repeated in case it or its reply was lost.
	arpRepeats = 3
	// arpPoll is how long a read blocks before the context is looked at.
	arpPoll = 20 * time.Millisecond
	// arpBuffer, in bytes, holds the requests of many hosts that ask at once, which
	// the socket sees too. The kernel grants as much as it is allowed to.
	arpBuffer = 1 << 20
)

// ARP asks on an interface who has the addresses and returns one result for
// each, in their order. The probes have no sender address, so they change
// nobody's ARP cache (RFC 5227, 2.1.1). It needs CAP_NET_RAW.
func ARP(ctx context.Context, req wire.ARPRequest) ([]wire.ARPResult, error) {
	for _, address := range req.Addresses {
		if !address.Is4() {
			return nil, fmt.Errorf("arp: %v is not an IPv4 address", address)
		}
	}
	link, err := net.InterfaceByName(req.Interface)
	if err != nil {
		return nil, fmt.Errorf("arp: interface %s: %w", req.Interface, err)
	}
	if len(link.HardwareAddr) != 6 {
		return nil, fmt.Errorf("arp: interface %s is not an Ethernet interface", req.Interface)
	}
	fd, err := listenARP(link)
	if err != nil {
		return nil, fmt.Errorf("arp on %s: %w", req.Interface, err)
	}
	defer unix.Close(fd)

	replies := make(map[netip.Addr][]string, len(req.Addresses))
	for _, address := range req.Addresses {
		replies[address] = []string{}
	}
	for range arpRepeats {
		asked := req.Addresses
		if req.Enough { // not those again that have answered
			asked = slices.DeleteFunc(slices.Clone(asked), func(a netip.Addr) bool { return len(replies[a]) > 0 })
		}
		if err := sendARP(ctx, fd, link, asked, req.Spacing); err != nil {
			return nil, fmt.Errorf("arp on %s: %w", req.Interface, err)
		}
		if err := collectARP(ctx, fd, req.Wait/arpRepeats, req.Enough, replies); err != nil {
			return nil, fmt.Errorf("arp on %s: %w", req.Interface, err)
		}
		if req.Enough && answered(replies) {
			break
		}
	}
	results := make([]wire.ARPResult, len(req.Addresses))
	for i, address := range req.Addresses {
		macs := replies[address]
		slices.Sort(macs)
		results[i] = wire.ARPResult{Address: address, MACs: macs}
	}
	return results, nil
}

// listenARP opens a packet socket that sees the ARP frames of one
// interface; see packet(7).
func listenARP(link *net.Interface) (fd int, err error) {
	// Protocol 0 receives nothing until bind has chosen the interface.
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	poll := unix.NsecToTimeval(arpPoll.Nanoseconds())
	protocol := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, unix.ETH_P_ARP))
	err = errors.Join(
		os.NewSyscallError("setsockopt SO_RCVBUF", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, arpBuffer)),
		os.NewSyscallError("setsockopt SO_RCVTIMEO", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &poll)),
		os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Index})),
	)
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func sendARP(ctx context.Context, fd int, link *net.Interface, addresses []netip.Addr, spacing time.Duration) error {
	to := &unix.SockaddrLinklayer{Ifindex: link.Index}
	for i, address := range addresses {
		if i > 0 && spacing > 0 {
			if err := patience.Pause(ctx, spacing); err != nil {
				return err
			}
		}
		if err := unix.Sendto(fd, arpProbe(link.HardwareAddr, address), 0, to); err != nil {
			return os.NewSyscallError("sendto", err)
		}
	}
	return nil
}

// arpProbe builds an Ethernet frame with an ARP request (RFC 826) whose
// sender address is 0.0.0.0.
func arpProbe(sender net.HardwareAddr, target netip.Addr) []byte {
	frame := make([]byte, 0, ethernetHeader+arpLength)
	frame = append(frame, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
	frame = append(frame, sender...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = binary.BigEndian.AppendUint16(frame, unix.ARPHRD_ETHER)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
	frame = append(frame, 6, 4) // lengths of the hardware and the protocol address
	frame = binary.BigEndian.AppendUint16(frame, arpRequest)
	frame = append(frame, sender...)
	frame = append(frame, 0, 0, 0, 0)
	frame = append(frame, 0, 0, 0, 0, 0, 0)
	return append(frame, target.AsSlice()...)
}

// answered tells whether there is a reply for each address.
func answered(replies map[netip.Addr][]string) bool {
	for _, macs := range replies {
		if len(macs) == 0 {
			return false
		}
	}
	return true
}

// collectARP adds to the replies what arrives while it waits: with enough, no
// longer than until there is one for each address. It looks for no other addresses
// than those that are keys already.
func collectARP(ctx context.Context, fd int, wait time.Duration, enough bool, replies map[netip.Addr][]string) error {
	buffer := make([]byte, 2048)
	for deadline := time.Now().Add(wait); time.Now().Before(deadline); {
		if enough && answered(replies) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("recvfrom", err)
		}
		address, mac, ok := parseARPReply(buffer[:n])
		if !ok {
			continue
		}
		macs, asked := replies[address]
		if asked && !slices.Contains(macs, mac) {
			replies[address] = append(macs, mac)
		}
	}
	return nil
}

// parseARPReply gives the sender of an Ethernet frame with an ARP reply for
// IPv4.
func parseARPReply(frame []byte) (address netip.Addr, mac string, ok bool) {
	if len(frame) < ethernetHeader+arpLength || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_ARP {
		return netip.Addr{}, "", false
	}
	arp := frame[ethernetHeader:]
	if binary.BigEndian.Uint16(arp) != unix.ARPHRD_ETHER ||
		binary.BigEndian.Uint16(arp[2:]) != unix.ETH_P_IP ||
		binary.BigEndian.Uint16(arp[6:]) != arpReply {
		return netip.Addr{}, "", false
	}
	return netip.AddrFrom4([4]byte(arp[14:18])), net.HardwareAddr(arp[8:14]).String(), true
}
