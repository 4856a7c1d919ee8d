//go:build privileged

package scenarios_test

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A motion is a change of a fabric that runs: what the file says of its hosts and what else.
type motion struct {
	name   string
	hosts  string // numbers
	more   string
	moves  bool   // the tree
	range4 string // what the lock has for h4 from now on; "" as it was
}

const meshed = "graph: {strategy: mesh}\ntree: {root: h1, backup: h2}\n"

// motions go from one to the next, from a mesh of h1 to h4 whose root is h1.
var motions = []motion{
	{name: "another range of h4", hosts: "1234", more: meshed, range4: "10.19.192.0/19"},
	{name: "tunnels that carry nothing go", hosts: "1234", more: "graph: {strategy: hub}\ntree: {root: h1, backup: h2}\n"},
	{name: "tunnels come", hosts: "1234", more: meshed},
	{name: "another root", hosts: "1234", more: "graph: {strategy: mesh}\ntree: {root: h2, backup: h1}\n", moves: true},
	{name: "the root again", hosts: "1234", more: meshed, moves: true},
	{name: "cost", hosts: "1234", more: meshed + "links: [{between: [h1, h3], cost: 20000}]\n", moves: true},
	{name: "the cost again", hosts: "1234", more: meshed, moves: true},
	{name: "a tunnel of the tree goes", hosts: "1234", more: "graph: {strategy: ring}\ntree: {root: h1, backup: h2}\n", moves: true},
	{name: "a better tunnel comes", hosts: "1234", more: meshed, moves: true},
	{name: "another tunnel type", hosts: "1234", more: meshed + "tunnel: {type: geneve}\n", moves: true},
	{name: "another key", hosts: "1234", more: meshed + "tunnel: {type: geneve, key: 7}\n", moves: true},
	{name: "the root goes", hosts: "234", more: "graph: {strategy: mesh}\ntree: {root: h2, backup: h3}\ntunnel: {type: geneve, key: 7}\n", moves: true},
	{name: "a host comes", hosts: "1234", more: "graph: {strategy: mesh}\ntree: {root: h2, backup: h3}\ntunnel: {type: geneve, key: 7}\n"},
}

// set writes what the motion leads to.
func (w *world) set(m motion) {
	w.t.Helper()
	w.write(m.file())
	if m.range4 == "" {
		return
	}
	lock := lockedRange4.ReplaceAllString(w.lock(), "${1}"+m.range4)
	if err := os.WriteFile(w.lockPath(), []byte(lock), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

var lockedRange4 = regexp.MustCompile(`(?m)^(host h4 .*range=)\S+`)

func (m motion) file() string {
	text := "version: 1\nname: motion\nnetwork: 10.19.0.0/16\n" + m.more + "hosts:\n"
	for _, n := range m.hosts {
		text += fmt.Sprintf("  h%c: {address: 203.0.113.1%[1]c}\n", n)
	}
	return text
}

// outage is what a plan expects of its moves at most; 0 without any.
func (w *world) outage() time.Duration {
	w.t.Helper()
	var p struct {
		Moves []struct {
			OutageMS int `json:"outage_ms"`
		} `json:"moves"`
	}
	if err := json.Unmarshal([]byte(w.must("plan", "--json").stdout), &p); err != nil {
		w.t.Fatal(err)
	}
	var most int
	for _, m := range p.Moves {
		most = max(most, m.OutageMS)
	}
	return time.Duration(most) * time.Millisecond
}

// TestTheTreeMovesInSteps is about where the steps lead. How long traffic stops meanwhile is for BenchmarkMotion to tell: a test
// would fail on a machine that is short of time.
func TestTheTreeMovesInSteps(t *testing.T) {
	t.Parallel()
	w := boot(t, "four-hosts", "test-motion")
	w.write(motion{hosts: "1234", more: meshed}.file())
	w.must("apply", "--yes")
	step := steps(t, w)
	for _, m := range motions {
		step(m.name, func(t *testing.T, w *world) {
			w.set(m)
			if got := w.outage() > 0; got != m.moves {
				t.Errorf("the plan says that the tree moves: %v, want %v", got, m.moves)
			}
			w.must("apply", "--yes")
			w.must("verify", "--containers=false")
			if r := w.must("plan"); !strings.Contains(r.stdout, "Nothing to do") {
				t.Errorf("after it a plan says:\n%s", r.stdout)
			}
			for _, n := range m.hosts {
				if held := w.on("h"+string(n), "ovs-vsctl --columns=other_config list port | grep -c admin-port-state || true"); strings.TrimSpace(held) != "0" {
					t.Errorf("h%c: ports are still held", n)
				}
			}
		})
	}
}

// pingAll pings between all pairs of hosts until stop ends it, and returns the longest outage.
func (w *world) pingAll(hosts string) (stop func() (worst time.Duration, pair string)) {
	w.t.Helper()
	all := make(map[string]*pinging)
	for i, from := range hosts {
		for _, to := range hosts[i+1:] {
			address := w.on("h"+string(to), "ip -4 -o addr show docker0 | awk '{print $4}' | cut -d/ -f1")
			all[fmt.Sprintf("h%c–h%c", from, to)] = w.ping("h"+string(from), address, 10*time.Millisecond)
		}
	}
	return func() (worst time.Duration, pair string) {
		for between, p := range all {
			if out := p.end(); out > worst {
				worst, pair = out, between
			}
		}
		return worst, pair
	}
}

// BenchmarkMotion is how long hosts that stay do not reach each other while a change is applied, and for how long the plan said
// that they would not.
func BenchmarkMotion(b *testing.B) {
	w := boot(b, "four-hosts", "bench-motion")
	start := motion{hosts: "1234", more: meshed}
	w.write(start.file())
	w.must("apply", "--yes")
	before := start.hosts
	for _, m := range motions {
		b.Run(strings.ReplaceAll(m.name, " ", "-"), func(b *testing.B) {
			w := w.at(b)
			w.set(m)
			predicted := w.outage()
			stay := before
			switch {
			case len(m.hosts) < len(before):
				stay = m.hosts
			case m.range4 != "":
				stay = "123" // h4 gets another address
			}
			stop := w.pingAll(stay)
			w.must("apply", "--yes")
			out, pair := stop()
			b.Log(pair)
			b.ReportMetric(float64(out.Milliseconds()), "ms/outage")
			b.ReportMetric(float64(predicted.Milliseconds()), "ms/predicted")
			b.ReportMetric(0, "ns/op")
		})
		before = m.hosts
	}
}
