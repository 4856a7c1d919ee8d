package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

const (
	ipHeader   = 20 // bytes, without options
	icmpHeader = 8  // bytes, of an echo
	maxPacket  = 65535
	maxEchoes  = 1 << 16 // the ICMP sequence number tells those of a request apart

	protocolICMP = 1

	// Replies wait in one socket buffer, which holds about ninety packets
	// of a full Ethernet frame at the kernel's default size. A pause after
	// this many echoes lets the reader keep up.
	burst      = 32
	burstPause = 2 * time.Millisecond
)

// Ping sends echoes to all targets at once and returns one result for each,
// in the order of the targets. It needs CAP_NET_RAW.
func Ping(ctx context.Context, req wire.PingRequest) ([]wire.PingResult, error) {
	if err := checkPing(req); err != nil {
		return nil, err
	}
	conn, err := listenICMP(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	p := &pinger{
		req:    req,
		conn:   conn,
		id:     uint16(rand.Uint32()),
		echoes: make([]echo, len(req.Targets)*req.Count),
		fails:  make([]failure, len(req.Targets)),
	}
	received := make(chan error, 1)
	go func() { received <- p.receive() }()
	sendErr := p.send(ctx)
	recvErr := <-received
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	if err := errors.Join(sendErr, recvErr); err != nil {
		return nil, fmt.Errorf("ping: %w", err)
	}
	return p.results(), nil
}

func checkPing(req wire.PingRequest) error {
	if req.Size < ipHeader+icmpHeader || req.Size > maxPacket {
		return fmt.Errorf("ping: size %d is not from %d to %d", req.Size, ipHeader+icmpHeader, maxPacket)
	}
	if req.Count < 1 || req.Count > maxEchoes || len(req.Targets) > maxEchoes/req.Count {
		return fmt.Errorf("ping: %d echoes to %d targets are not from 1 to %d in all", req.Count, len(req.Targets), maxEchoes)
	}
	for _, target := range req.Targets {
		if !target.Is4() {
			return fmt.Errorf("ping: target %v is not an IPv4 address", target)
		}
	}
	return nil
}

func listenICMP(ctx context.Context, req wire.PingRequest) (net.PacketConn, error) {
	// PROBE sets DF and does not look at the path MTU that earlier traffic
	// has left in the cache (ip(7)): each probe asks the path anew.
	discover := unix.IP_PMTUDISC_DONT
	if req.DF {
		discover = unix.IP_PMTUDISC_PROBE
	}
	var config net.ListenConfig
	config.Control = func(_, _ string, raw syscall.RawConn) error {
		var optErr error
		err := raw.Control(func(fd uintptr) {
			optErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, discover)
		})
		return errors.Join(err, os.NewSyscallError("setsockopt IP_MTU_DISCOVER", optErr))
	}
	source := "0.0.0.0"
	if req.Source.IsValid() {
		source = req.Source.String()
	}
	return config.ListenPacket(ctx, "ip4:icmp", source)
}

// pinger is one request under way. An echo's index is its ICMP sequence
// number.
type pinger struct {
	req  wire.PingRequest
	conn net.PacketConn
	id   uint16

	mu      sync.Mutex // guards what follows; the sender and the receiver share it
	echoes  []echo
	fails   []failure // by target
	waiting int       // echoes sent, neither answered nor known to be lost
	allSent bool
}

type echo struct {
	sent     time.Time // zero: not sent
	rtt      time.Duration
	answered bool
	lost     bool // an ICMP error came back
}

// failure is the last reason why an echo to a target was not sent or did
// not arrive.
type failure struct {
	reason string
	mtu    int
}

// target gives the index of the target of an echo: the first echo goes to
// all targets, then the second, and so on.
func (p *pinger) target(seq int) int { return seq % len(p.req.Targets) }

func (p *pinger) send(ctx context.Context) error {
	payload := make([]byte, p.req.Size-ipHeader-icmpHeader)
	var err error
	for seq := range p.echoes {
		switch {
		case seq > 0 && p.target(seq) == 0:
			err = patience.Pause(ctx, max(p.req.Interval, p.req.Spacing))
		case seq > 0 && p.req.Spacing > 0:
			err = patience.Pause(ctx, p.req.Spacing)
		case seq > 0 && seq%burst == 0:
			err = patience.Pause(ctx, burstPause)
		}
		if err == nil {
			err = p.sendEcho(seq, payload)
		}
		if err != nil {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allSent = true
	deadline := time.Now()
	if p.waiting > 0 && err == nil {
		deadline = deadline.Add(p.req.Timeout)
	}
	return errors.Join(err, p.conn.SetReadDeadline(deadline))
}

func (p *pinger) sendEcho(seq int, payload []byte) error {
	target := p.target(seq)
	message := icmp.Message{
		Type: ipv4.ICMPTypeEcho,
		Body: &icmp.Echo{ID: int(p.id), Seq: seq, Data: payload},
	}
	packet, err := message.Marshal(nil)
	if err != nil {
		return err
	}
	// The reply may be there before WriteTo returns.
	p.mu.Lock()
	p.echoes[seq].sent = time.Now()
	p.waiting++
	p.mu.Unlock()

	_, err = p.conn.WriteTo(packet, &net.IPAddr{IP: p.req.Targets[target].AsSlice()})
	if err == nil {
		return nil
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	fail := failure{reason: errno.Error()}
	if errno == unix.EMSGSIZE {
		fail.mtu = pathMTU(p.req.Targets[target])
		fail.reason = tooLong(fail.mtu)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.echoes[seq].sent = time.Time{}
	p.waiting--
	p.fails[target] = fail
	return nil
}

// receive takes replies until none is missing or the read deadline passes.
func (p *pinger) receive() error {
	buffer := make([]byte, maxPacket)
	for {
		n, from, err := p.conn.ReadFrom(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		now := time.Now()
		source, ok := from.(*net.IPAddr)
		if !ok {
			continue
		}
		addr, _ := netip.AddrFromSlice(source.IP)
		if p.handle(addr.Unmap(), buffer[:n], now) {
			return nil
		}
	}
}

// handle takes one ICMP message and reports whether it was the last one
// that is waited for. Raw sockets see every ICMP message of the host, so
// most of the checks are for what belongs to others.
func (p *pinger) handle(from netip.Addr, packet []byte, now time.Time) bool {
	message, err := icmp.ParseMessage(protocolICMP, packet)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch body := message.Body.(type) {
	case *icmp.Echo:
		if message.Type == ipv4.ICMPTypeEchoReply && body.ID == int(p.id) {
			p.answer(from, body.Seq, now)
		}
	case *icmp.DstUnreach:
		p.refuse(message.Code, packet, body.Data)
	}
	return p.allSent && p.waiting == 0
}

func (p *pinger) answer(from netip.Addr, seq int, now time.Time) {
	if seq >= len(p.echoes) || p.req.Targets[p.target(seq)] != from {
		return
	}
	e := &p.echoes[seq]
	if e.sent.IsZero() || e.answered {
		return
	}
	if !e.lost {
		p.waiting--
	}
	e.answered, e.rtt = true, now.Sub(e.sent)
}

// ICMP codes of "destination unreachable" (RFC 792, RFC 1122 3.2.2.1).
const (
	codeNet       = 0
	codeHost      = 1
	codeFragments = 4
)

// refuse takes an ICMP error. It quotes the echo that it is about: the IP
// header and 8 bytes.
func (p *pinger) refuse(code int, packet, quoted []byte) {
	if len(quoted) < ipHeader {
		return
	}
	header := int(quoted[0]&0x0f) * 4
	if header < ipHeader || len(quoted) < header+icmpHeader || quoted[9] != protocolICMP {
		return
	}
	if binary.BigEndian.Uint16(quoted[header+4:]) != p.id {
		return
	}
	seq := int(binary.BigEndian.Uint16(quoted[header+6:]))
	if seq >= len(p.echoes) || p.echoes[seq].answered || p.echoes[seq].lost || p.echoes[seq].sent.IsZero() {
		return
	}
	var fail failure
	switch code {
	case codeNet:
		fail.reason = "network unreachable"
	case codeHost:
		fail.reason = "host unreachable"
	case codeFragments:
		fail.mtu = int(binary.BigEndian.Uint16(packet[6:])) // RFC 1191, 4
		fail.reason = tooLong(fail.mtu)
	default:
		fail.reason = fmt.Sprintf("refused, ICMP destination unreachable code %d", code)
	}
	p.echoes[seq].lost = true
	p.waiting--
	p.fails[p.target(seq)] = fail
}

func (p *pinger) results() []wire.PingResult {
	results := make([]wire.PingResult, len(p.req.Targets))
	for i, target := range p.req.Targets {
		results[i] = wire.PingResult{Target: target, MTU: p.fails[i].mtu, Error: p.fails[i].reason}
	}
	for seq, e := range p.echoes {
		r := &results[p.target(seq)]
		if !e.sent.IsZero() {
			r.Sent++
		}
		if !e.answered {
			continue
		}
		if r.Received == 0 || e.rtt < r.Min {
			r.Min = e.rtt
		}
		r.Max = max(r.Max, e.rtt)
		r.Avg += e.rtt // the sum, until all are in
		r.Received++
	}
	for i := range results {
		if r := &results[i]; r.Received > 0 {
			r.Avg /= time.Duration(r.Received)
		}
	}
	return results
}

func tooLong(mtu int) string {
	if mtu == 0 {
		return "message too long"
	}
	return fmt.Sprintf("message too long, mtu=%d", mtu)
}

// pathMTU asks the kernel what fits to a target, in bytes; 0 if it does not
// know. Connecting a UDP socket sends nothing.
func pathMTU(target netip.Addr) int {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	const discard = 9
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: discard, Addr: target.As4()}); err != nil {
		return 0
	}
	mtu, err := unix.GetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_MTU)
	if err != nil {
		return 0
	}
	return mtu
}
