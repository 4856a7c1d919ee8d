package ipam_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/ovsfabric/fabric/internal/natural"
	"github.com/ovsfabric/fabric/ipam"
)

var network = netip.MustParsePrefix("172.17.0.0/16")

// hosts makes wants from words such as "h1", "h2*4" (weight 4), "h3=172.17.64.0/18" (pinned) and "h4<h9" (h9 before).
func hosts(t testing.TB, words ...string) []ipam.Want {
	t.Helper()
	var wants []ipam.Want
	for _, word := range words {
		w := ipam.Want{Weight: 1}
		name, pin, pinned := strings.Cut(word, "=")
		name, weight, weighted := strings.Cut(name, "*")
		w.Name, w.Was, _ = strings.Cut(name, "<")
		if pinned {
			w.Pin = netip.MustParsePrefix(pin)
		}
		if weighted {
			if _, err := fmt.Sscan(weight, &w.Weight); err != nil {
				t.Fatal(err)
			}
		}
		wants = append(wants, w)
	}
	return wants
}

// ranges prints a lock as "h1#1 172.17.0.0/18", removed hosts with a dash before them.
func ranges(l ipam.Lock) []string {
	var lines []string
	for _, e := range l.Hosts {
		lines = append(lines, fmt.Sprintf("%s#%d %s", e.Name, e.ID, e.Range))
	}
	for _, e := range l.Removed {
		lines = append(lines, fmt.Sprintf("-%s#%d %s", e.Name, e.ID, e.Range))
	}
	return lines
}

func assign(t testing.TB, network netip.Prefix, lock ipam.Lock, words ...string) ipam.Lock {
	t.Helper()
	l, err := ipam.Assign(network, lock, hosts(t, words...))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestAssignNewFabric(t *testing.T) {
	tests := []struct {
		name  string
		hosts []string
		want  []string
	}{
		{"one host leaves half", []string{"h1"}, []string{"h1#1 172.17.0.0/17"}},
		{"three hosts leave a quarter", []string{"h3", "h1", "h2"},
			[]string{"h1#1 172.17.0.0/18", "h2#2 172.17.64.0/18", "h3#3 172.17.128.0/18"}},
		{"four hosts leave half", []string{"h1", "h2", "h3", "h4"},
			[]string{"h1#1 172.17.0.0/19", "h2#2 172.17.32.0/19", "h3#3 172.17.64.0/19", "h4#4 172.17.96.0/19"}},
		{"natural order", []string{"h10", "h2"}, []string{"h2#1 172.17.0.0/18", "h10#2 172.17.64.0/18"}},
		{"weight rounds up to a power of two", []string{"h1", "h2*3"}, []string{"h1#1 172.17.128.0/19", "h2#2 172.17.0.0/17"}},
		{"around a pin", []string{"h1", "h2=172.17.0.0/18", "h3"},
			[]string{"h1#1 172.17.64.0/18", "h2#2 172.17.0.0/18", "h3#3 172.17.128.0/18"}},
		{"a large pin makes the others smaller", []string{"h1", "h2=172.17.0.0/17", "h3"},
			[]string{"h1#1 172.17.128.0/19", "h2#2 172.17.0.0/17", "h3#3 172.17.160.0/19"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ranges(assign(t, network, ipam.Lock{}, tt.hosts...))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ranges (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAssignAddsHostToSmallestHole(t *testing.T) {
	three := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	got := ranges(assign(t, network, three, "a1", "h1", "h2", "h3", "h4"))
	want := []string{
		"a1#4 172.17.192.0/21", "h1#1 172.17.0.0/18", "h2#2 172.17.64.0/18", "h3#3 172.17.128.0/18", "h4#5 172.17.200.0/21",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestAssignReservesForRemovedHost(t *testing.T) {
	three := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	two := assign(t, network, three, "h1", "h3")
	want := []string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "-h2#2 172.17.64.0/18"}
	if diff := cmp.Diff(want, ranges(two)); diff != "" {
		t.Errorf("after the removal (-want +got):\n%s", diff)
	}
	two.Removed[0].TornDown = true
	if diff := cmp.Diff(three, assign(t, network, two, "h1", "h2", "h3"), prefixes); diff != "" {
		t.Errorf("after the return (-want +got):\n%s", diff)
	}
}

func TestReleaseGivesRangeToTheNext(t *testing.T) {
	lock := assign(t, network, assign(t, network, ipam.Lock{}, "h1", "h2", "h3"), "h1", "h3")
	released, err := lock.Release("h2")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"h1#1 172.17.0.0/18", "h3#3 172.17.128.0/18", "h4#4 172.17.64.0/19"}
	if diff := cmp.Diff(want, ranges(assign(t, network, released, "h1", "h3", "h4"))); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
	if _, err := lock.Release("h1"); err == nil {
		t.Error("a host of the fabric was released")
	}
}

// TestNewHostComesAfterOthersInIdentity has a released ID not go to a newcomer, who would be preferred as root by it.
func TestNewHostComesAfterOthersInIdentity(t *testing.T) {
	for _, tt := range []struct {
		name  string
		taken int
		want  int
	}{{"the next", 7, 8}, {"the lowest that is free once the last is taken", ipam.MaxID, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			lock := ipam.Lock{Network: network, Hosts: []ipam.Entry{{Name: "h9", ID: tt.taken, Range: netip.MustParsePrefix("172.17.0.0/18")}}}
			if e, _ := assign(t, network, lock, "h9", "h1").Entry("h1"); e.ID != tt.want {
				t.Errorf("ID %d, want %d", e.ID, tt.want)
			}
		})
	}
}

func TestAssignKeepsRangesWhenNetworkGrows(t *testing.T) {
	small := netip.MustParsePrefix("172.17.0.0/24")
	lock := assign(t, small, ipam.Lock{}, "h1", "h2")
	got := ranges(assign(t, netip.MustParsePrefix("172.16.0.0/12"), lock, "h1", "h2", "h3"))
	want := []string{"h1#1 172.17.0.0/26", "h2#2 172.17.0.64/26", "h3#3 172.17.0.128/26"}
	want[2] = got[2] // where the new host goes is not this test's matter
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ranges (-want +got):\n%s", diff)
	}
}

func TestAssignErrors(t *testing.T) {
	three := assign(t, network, ipam.Lock{}, "h1", "h2", "h3")
	tests := []struct {
		name    string
		network string
		lock    ipam.Lock
		hosts   []string
		want    []string // each must be in the error
	}{
		{"shrinking under hosts", "172.17.0.0/18", three, []string{"h1", "h2", "h3"}, []string{"does not hold range 172.17.64.0/18 of h2", "does not hold range 172.17.128.0/18 of h3"}},
		{"shrinking under a removed host", "172.17.0.0/17", three, []string{"h1", "h2"}, []string{"172.17.128.0/18 of h3", "fabric release h3"}},
		{"network elsewhere", "10.0.0.0/16", three, []string{"h1", "h2", "h3"}, []string{"of h1", "of h2", "of h3"}},
		{"host moves by pin", "172.17.0.0/16", three, []string{"h1=172.17.192.0/18"}, []string{"h1 has range 172.17.0.0/18", "cannot move", "fabric release h1"}},
		{"pin over a locked range", "172.17.0.0/16", three, []string{"h1", "h2", "h3", "h4=172.17.64.0/19"}, []string{"172.17.64.0/18 of h2 overlaps 172.17.64.0/19 of h4"}},
		{"pin over a removed host", "172.17.0.0/16", three, []string{"h1", "h3", "h4=172.17.64.0/19"}, []string{"of h2 overlaps", "fabric release h2"}},
		{"two pins overlap", "172.17.0.0/16", ipam.Lock{}, []string{"h1=172.17.0.0/17", "h2=172.17.64.0/18"}, []string{"172.17.0.0/17 of h1 overlaps 172.17.64.0/18 of h2"}},
		{"pin outside", "172.17.0.0/16", ipam.Lock{}, []string{"h1=10.0.0.0/17"}, []string{"not inside the network"}},
		{"pin misaligned", "172.17.0.0/16", ipam.Lock{}, []string{"h1=172.17.1.0/17"}, []string{"aligned"}},
		{"twice", "172.17.0.0/16", ipam.Lock{}, []string{"h1", "h1"}, []string{"h1 is given twice"}},
		{"too many", "172.17.0.0/28", ipam.Lock{}, []string{"h1", "h2", "h3"}, []string{"172.17.0.0/28 has no room", "larger network"}},
		{"full later", "172.17.0.0/28", assign(t, netip.MustParsePrefix("172.17.0.0/28"), ipam.Lock{}, "h1", "h2"),
			[]string{"h1", "h3"}, []string{"no room for host h3", "h2"}},
		{"network not masked", "172.17.0.1/16", ipam.Lock{}, nil, []string{"not an IPv4 prefix"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ipam.Assign(netip.MustParsePrefix(tt.network), tt.lock, hosts(t, tt.hosts...))
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q:\n%v", want, err)
				}
			}
		})
	}
}

func TestGatewayIsFirstAfterRangeStart(t *testing.T) {
	for r, want := range map[string]string{"172.17.0.0/18": "172.17.0.1", "172.17.64.0/18": "172.17.64.1"} {
		if got := ipam.Gateway(netip.MustParsePrefix(r)).String(); got != want {
			t.Errorf("Gateway(%s) = %s, want %s", r, got, want)
		}
	}
}

var wantGen = rapid.Custom(func(t *rapid.T) ipam.Want {
	return ipam.Want{
		Name:   rapid.StringMatching(`[a-c][0-9]{0,2}`).Draw(t, "name"),
		Weight: rapid.IntRange(1, 9).Draw(t, "weight"),
	}
})

var wantsGen = rapid.SliceOfNDistinct(wantGen, 0, 60, func(w ipam.Want) string { return w.Name })

// TestAssignLaws walks a fabric through random memberships and checks after each step what must hold of any lock.
func TestAssignLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lock ipam.Lock
		before := map[string]ipam.Entry{}
		for range rapid.IntRange(1, 5).Draw(t, "steps") {
			wants := wantsGen.Draw(t, "hosts")
			next, err := ipam.Assign(network, lock, wants)
			if err != nil {
				t.Fatal(err)
			}
			shuffled := append([]ipam.Want(nil), wants...)
			rand.New(rand.NewPCG(1, uint64(len(wants)))).Shuffle(len(wants), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			if again, err := ipam.Assign(network, lock, shuffled); err != nil || !cmp.Equal(next, again, prefixes) {
				t.Fatalf("depends on the order: %v\n%s", err, cmp.Diff(next, again, prefixes))
			}
			if again, err := ipam.Assign(network, next, wants); err != nil || !cmp.Equal(next, again, prefixes) {
				t.Fatalf("not idempotent: %v\n%s", err, cmp.Diff(next, again, prefixes))
			}
			if parsed, err := ipam.ParseLock("fabric.lock", next.Bytes()); err != nil || !cmp.Equal(next, parsed, prefixes) {
				t.Fatalf("does not survive the file: %v\n%s", err, cmp.Diff(next, parsed, prefixes))
			}
			checkLock(t, next)
			for name, old := range before {
				if e, ok := next.Entry(name); !ok || e.Range != old.Range || e.ID != old.ID {
					t.Fatalf("%s moved from %v to %v", name, old, e)
				}
			}
			for _, e := range append(append([]ipam.Entry(nil), next.Hosts...), next.Removed...) {
				before[e.Name] = e
			}
			lock = next
		}
	})
}

var prefixes = cmp.Options{cmpopts.EquateComparable(netip.Prefix{}, netip.Addr{}), cmpopts.EquateEmpty()}

func checkLock(t *rapid.T, l ipam.Lock) {
	all := append(append([]ipam.Entry(nil), l.Hosts...), l.Removed...)
	ids := map[int]bool{}
	for i, e := range all {
		if ids[e.ID] || e.ID < 1 {
			t.Fatalf("id %d of %s", e.ID, e.Name)
		}
		ids[e.ID] = true
		if e.Range != e.Range.Masked() || e.Range.Bits() > 29 || e.Range.Bits() < network.Bits() || !network.Contains(e.Range.Addr()) {
			t.Fatalf("range %s of %s", e.Range, e.Name)
		}
		for _, other := range all[:i] {
			if other.Range.Overlaps(e.Range) {
				t.Fatalf("%v overlaps %v", other, e)
			}
		}
	}
	for i := 1; i < len(l.Hosts); i++ {
		if natural.Compare(l.Hosts[i-1].Name, l.Hosts[i].Name) >= 0 {
			t.Fatalf("%s comes before %s", l.Hosts[i-1].Name, l.Hosts[i].Name)
		}
	}
}

func TestAssignRoomForFabricGrowingHostByHost(t *testing.T) {
	lock := assign(t, network, ipam.Lock{}, "h1")
	words := []string{"h1"}
	for i := range 63 {
		words = append(words, fmt.Sprint("h", i+2))
		lock = assign(t, network, lock, words...)
	}
	if last := lock.Hosts[63].Range.Bits(); last > 28 {
		t.Errorf("the last host gets only a /%d", last)
	}
}
