package probe

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/ovsfabric/fabric/host/wire"
)

func TestARequestHasExactlyOneMember(t *testing.T) {
	for _, req := range []wire.ProbeRequest{
		{},
		{Ping: &wire.PingRequest{}, Tree: &wire.TreeRequest{}},
	} {
		if _, err := new(Prober).Do(t.Context(), req); !errors.Is(err, wire.ErrNotOne) {
			t.Errorf("error %v, want %v", err, wire.ErrNotOne)
		}
	}
}

func TestPingRefusesWhatCannotBeSent(t *testing.T) {
	good := wire.PingRequest{Targets: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Size: 84, Count: 1}
	tests := []struct {
		name   string
		change func(*wire.PingRequest)
		want   string
	}{
		{"too short", func(r *wire.PingRequest) { r.Size = 27 }, "size 27 is not from 28 to 65535"},
		{"too long", func(r *wire.PingRequest) { r.Size = 65536 }, "size 65536 is not from 28 to 65535"},
		{"no echoes", func(r *wire.PingRequest) { r.Count = 0 }, "0 echoes to 1 targets"},
		{"more than sequence numbers", func(r *wire.PingRequest) { r.Count = 65537 }, "65537 echoes to 1 targets"},
		{"IPv6", func(r *wire.PingRequest) { r.Targets = []netip.Addr{netip.MustParseAddr("2001:db8::1")} }, "2001:db8::1 is not an IPv4 address"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := good
			test.change(&req)
			_, err := Ping(t.Context(), req)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func FuzzARPRepliesFromOutsideAreHarmless(f *testing.F) {
	f.Add(arpProbe(make([]byte, 6), netip.MustParseAddr("192.0.2.1")))
	f.Fuzz(func(_ *testing.T, frame []byte) { parseARPReply(frame) })
}

func FuzzICMPFromOutsideIsHarmless(f *testing.F) {
	f.Add([]byte{3, 4, 0, 0, 0, 0, 5, 0x78, 0x45, 0, 0, 0})
	f.Fuzz(func(_ *testing.T, packet []byte) {
		p := &pinger{
			req:    wire.PingRequest{Targets: make([]netip.Addr, 1), Count: 1},
			echoes: make([]echo, 1), fails: make([]failure, 1),
		}
		p.handle(netip.Addr{}, packet, p.echoes[0].sent)
	})
}
