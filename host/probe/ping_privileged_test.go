//go:build privileged

package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/vishvananda/netlink"

	"github.com/ovsfabric/fabric/host/wire"
)

// ignoreTimes leaves out of a comparison what differs from run to run.
var ignoreTimes = cmp.Options{
	cmpopts.IgnoreFields(wire.PingResult{}, "Min", "Avg", "Max"),
	cmpopts.EquateComparable(netip.Addr{}),
}

// segment makes two hosts, 192.0.2.1 and .2, whose links have an MTU, and a
// bridge between them with an MTU of its own. The test is on the first.
func segment(t *testing.T, hostMTU, bridgeMTU int) (near, far *namespace) {
	middle := newNamespace(t)
	far = newNamespace(t)
	near = newNamespace(t)
	near.veth("eth0", hostMTU, middle, "near", bridgeMTU)
	far.veth("eth0", hostMTU, middle, "far", bridgeMTU)
	middle.bridge("br", bridgeMTU, "near", "far")
	near.address("eth0", "192.0.2.1/24")
	far.address("eth0", "192.0.2.2/24")
	return near, far
}

func request(size int, df bool, targets ...string) wire.PingRequest {
	return wire.PingRequest{
		Targets: addrs(targets...), Size: size, DF: df, Count: 3,
		Interval: 5 * time.Millisecond, Timeout: 300 * time.Millisecond,
	}
}

func ping(t *testing.T, req wire.PingRequest) []wire.PingResult {
	t.Helper()
	results, err := Ping(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func TestPingCountsRepliesOfEachTarget(t *testing.T) {
	segment(t, 1500, 1500)
	results := ping(t, request(84, false, "192.0.2.2", "192.0.2.77", "192.0.2.1"))
	want := []wire.PingResult{
		{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3, Received: 3},
		{Target: netip.MustParseAddr("192.0.2.77"), Sent: 3},
		{Target: netip.MustParseAddr("192.0.2.1"), Sent: 3, Received: 3},
	}
	if diff := cmp.Diff(want, results, ignoreTimes); diff != "" {
		t.Error(diff)
	}
	if r := results[0]; r.Min <= 0 || r.Min > r.Avg || r.Avg > r.Max {
		t.Errorf("round-trip times: min %v, avg %v, max %v", r.Min, r.Avg, r.Max)
	}
}

func TestPingPassesAtTheMTUAndIsRefusedOneByteOver(t *testing.T) {
	segment(t, 1450, 1500)
	got := append(
		ping(t, request(1450, true, "192.0.2.2")),
		ping(t, request(1451, true, "192.0.2.2"))...)
	want := []wire.PingResult{
		{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3, Received: 3},
		{Target: netip.MustParseAddr("192.0.2.2"), MTU: 1450, Error: "message too long, mtu=1450"},
	}
	if diff := cmp.Diff(want, got, ignoreTimes); diff != "" {
		t.Error(diff)
	}
}

func TestPingWithoutDFIsFragmented(t *testing.T) {
	segment(t, 1450, 1500)
	want := []wire.PingResult{{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3, Received: 3}}
	if diff := cmp.Diff(want, ping(t, request(4000, false, "192.0.2.2")), ignoreTimes); diff != "" {
		t.Error(diff)
	}
}

func TestPingIsLostWhereTheSegmentCarriesLessThanTheHosts(t *testing.T) {
	segment(t, 1500, 1450)
	got := append(
		ping(t, request(1450, true, "192.0.2.2")),
		ping(t, request(1500, true, "192.0.2.2"))...)
	want := []wire.PingResult{
		{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3, Received: 3},
		{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3},
	}
	if diff := cmp.Diff(want, got, ignoreTimes); diff != "" {
		t.Error(diff)
	}
}

func TestPingGivesTheReasonThatARouterSends(t *testing.T) {
	near, middle, far := newNamespace(t), newNamespace(t), newNamespace(t)
	near.veth("eth0", 1500, middle, "near", 1500)
	far.veth("eth0", 1400, middle, "far", 1400)
	near.address("eth0", "192.0.2.1/24")
	middle.address("near", "192.0.2.254/24")
	middle.address("far", "198.51.100.254/24")
	far.address("eth0", "198.51.100.1/24")
	near.must(near.handle.RouteAdd(&netlink.Route{Gw: net.ParseIP("192.0.2.254")}))
	far.must(far.handle.RouteAdd(&netlink.Route{Gw: net.ParseIP("198.51.100.254")}))
	middle.enter()
	middle.must(os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))
	near.enter()

	got := ping(t, request(1500, true, "198.51.100.1", "203.0.113.1"))
	want := []wire.PingResult{
		{Target: netip.MustParseAddr("198.51.100.1"), Sent: 3, MTU: 1400, Error: "message too long, mtu=1400"},
		{Target: netip.MustParseAddr("203.0.113.1"), Sent: 3, Error: "network unreachable"},
	}
	if diff := cmp.Diff(want, got, ignoreTimes); diff != "" {
		t.Error(diff)
	}
}

func TestPingReportsATargetWithoutARoute(t *testing.T) {
	segment(t, 1500, 1500)
	want := []wire.PingResult{{Target: netip.MustParseAddr("203.0.113.1"), Error: "network is unreachable"}}
	if diff := cmp.Diff(want, ping(t, request(84, false, "203.0.113.1")), ignoreTimes); diff != "" {
		t.Error(diff)
	}
}

func TestPingKeepsUpWithManyTargets(t *testing.T) {
	_, far := segment(t, 1500, 1500)
	var targets []string
	for i := 10; i < 210; i++ {
		address := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}).String()
		far.address("eth0", address+"/24")
		targets = append(targets, address)
	}
	for _, result := range ping(t, request(1500, true, targets...)) {
		if result.Received != 3 {
			t.Errorf("%v: %d of 3 received", result.Target, result.Received)
		}
	}
}

func TestPingEndsWithItsContext(t *testing.T) {
	segment(t, 1500, 1500)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req := request(84, false, "192.0.2.77")
	req.Timeout = time.Hour
	if _, err := Ping(ctx, req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestServePingWritesTheResultsAsJSON(t *testing.T) {
	segment(t, 1500, 1500)
	in, err := json.Marshal(request(84, true, "192.0.2.2"))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := ServePing(t.Context(), bytes.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	var got []wire.PingResult
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := []wire.PingResult{{Target: netip.MustParseAddr("192.0.2.2"), Sent: 3, Received: 3}}
	if diff := cmp.Diff(want, got, ignoreTimes); diff != "" {
		t.Error(diff)
	}
}
