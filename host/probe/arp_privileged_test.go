//go:build privileged

package probe

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/host/wire"
)

func TestARPReportsEveryMACThatAnswersForAnAddress(t *testing.T) {
	middle, one, two, near := newNamespace(t), newNamespace(t), newNamespace(t), newNamespace(t)
	near.veth("eth0", 1500, middle, "near", 1500)
	one.veth("eth0", 1500, middle, "one", 1500)
	two.veth("eth0", 1500, middle, "two", 1500)
	middle.bridge("br", 1500, "near", "one", "two")
	near.address("eth0", "192.0.2.1/24")
	one.address("eth0", "192.0.2.2/24")
	one.address("eth0", "192.0.2.3/24")
	two.address("eth0", "192.0.2.3/24")
	two.address("eth0", "192.0.2.1/24")

	both := []string{one.mac("eth0"), two.mac("eth0")}
	slices.Sort(both)
	want := []wire.ARPResult{
		{Address: netip.MustParseAddr("192.0.2.1"), MACs: []string{two.mac("eth0")}},
		{Address: netip.MustParseAddr("192.0.2.2"), MACs: []string{one.mac("eth0")}},
		{Address: netip.MustParseAddr("192.0.2.3"), MACs: both},
		{Address: netip.MustParseAddr("192.0.2.4"), MACs: []string{}},
	}
	got, err := ARP(t.Context(), wire.ARPRequest{
		Interface: "eth0",
		Addresses: addrs("192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"),
		Wait:      300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
}

func TestARPNeedsAnEthernetInterface(t *testing.T) {
	newNamespace(t)
	for _, name := range []string{"lo", "docker7"} {
		if _, err := ARP(t.Context(), wire.ARPRequest{Interface: name}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
