package ipam_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ipam"
)

func TestAHostKeepsTheAddressThatItHadInItsRange(t *testing.T) {
	network, pin := netip.MustParsePrefix("172.17.0.0/16"), netip.MustParsePrefix("172.17.64.0/18")
	for own, want := range map[string]string{
		"172.17.64.9": "172.17.64.9", "172.17.64.1": "172.17.64.1", "172.17.0.9": "172.17.64.1", "172.17.64.0": "172.17.64.1", "172.17.127.255": "172.17.64.1",
	} {
		lock, err := ipam.Assign(network, ipam.Lock{}, []ipam.Want{{Name: "h1", Pin: pin, Own: netip.MustParseAddr(own)}})
		if err != nil {
			t.Fatal(err)
		}
		read, err := ipam.ParseLock("fabric.lock", lock.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(lock, read, prefixes); diff != "" {
			t.Errorf("%s, read back: %s", own, diff)
		}
		later, err := ipam.Assign(network, read, []ipam.Want{{Name: "h1"}})
		if err != nil {
			t.Fatal(err)
		}
		if got := later.Hosts[0].Gateway().String(); got != want {
			t.Errorf("%s becomes %s, want %s", own, got, want)
		}
	}
}

func TestAnAddressThatNoHostOfTheRangeCanHaveIsRefused(t *testing.T) {
	for _, address := range []string{"172.17.64.1", "172.17.0.0", "172.17.63.255", "::1", "x"} {
		_, err := ipam.ParseLock("fabric.lock", []byte("version 1\nnetwork 172.17.0.0/16\nhost h1 id=1 range=172.17.0.0/18 address="+address+"\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "fabric.lock:3: h1: ") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
