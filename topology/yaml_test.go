package topology_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/topology"
)

// manyHosts writes a file with as many ways to write a host as YAML has. A quoted key has it parsed as a whole.
func manyHosts(n int, lastKey, lastHost string) string {
	var b strings.Builder
	b.WriteString("---\n# a comment\nversion: 1\nname: demo\nhosts: # all of them\n")
	for i := range n {
		address := fmt.Sprintf("192.0.%d.%d", i/200, i%200+1)
		switch i % 5 {
		case 0:
			fmt.Fprintf(&b, "  h%d: {address: %s, ssh: {\n  user: root}}\n", i, address)
		case 1:
			fmt.Fprintf(&b, "  h%d:\n    address: %q # its own\n    ssh: &s%d\n      user: ops\n", i, address, i)
		case 2:
			fmt.Fprintf(&b, "\n  # the next one\n  h%d:\n    ssh: *s%d\n    address: %s\n", i, i-1, address)
		case 3:
			fmt.Fprintf(&b, "  h%d: &h%d\n      address: %s\n", i, i, address)
		case 4:
			fmt.Fprintf(&b, "  h%d:\n    <<: *h%d\n    address: >-\n      %s\n", i, i-1, address)
		}
	}
	fmt.Fprintf(&b, "  %s: %s\nnetwork: 10.0.0.0/8\n", lastKey, lastHost)
	return b.String()
}

func TestParseInPartsChangesNothing(t *testing.T) {
	for _, n := range []int{126, 127, 128, 129, 192, 1000} {
		whole, _, err := topology.Parse("f", []byte(manyHosts(n, `"last"`, "{address: 203.0.113.1}")), nil)
		if err != nil {
			t.Fatal(err)
		}
		inParts, _, err := topology.Parse("f", []byte(manyHosts(n, "last", "{address: 203.0.113.1}")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(inParts.Hosts) != n+1 {
			t.Fatalf("%d hosts, want %d", len(inParts.Hosts), n+1)
		}
		if diff := cmp.Diff(whole, inParts, cmpopts.EquateComparable(whole.Network, whole.Hosts[0].Address)); diff != "" {
			t.Errorf("%d hosts (-whole +in parts):\n%s", n, diff)
		}
	}
}

func TestParseInPartsNamesTheSamePlaces(t *testing.T) {
	for _, host := range []string{"{address: 203.0.113.1, colour: red}", "{address: 203.0.113.1", "[}", "{address: *nobody}"} {
		_, _, want := topology.Parse("f", []byte(manyHosts(300, `h7`, host)), nil)
		if want == nil {
			t.Fatalf("%s is no error", host)
		}
		_, _, whole := topology.Parse("f", []byte(strings.Replace(manyHosts(300, "h7", host), "  h8:", "  'h8':", 1)), nil)
		places := func(err error) string { return strings.ReplaceAll(err.Error(), "f:", "") }
		if diff := cmp.Diff(places(whole), places(want)); diff != "" {
			t.Errorf("%s (-whole +in parts):\n%s", host, diff)
		}
	}
}
