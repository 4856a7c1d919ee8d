//go:build privileged

package ovsdb

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/topology"
)

const (
	drawnGraphs = 24
	// settleTime is what all trees of a protocol have to settle, twice what
	// STP takes to forget a bridge and to let ports forward (max age and two
	// forward delays, 802.1D-1998 table 8-3).
	settleTime = 100 * time.Second
	// steadyTime is how long a tree has to stay as predicted to count as
	// settled: two hellos, so that no old news are under way.
	steadyTime = 4 * time.Second
)

// All graphs of a protocol live in one switch, joined by veth pairs, and
// settle side by side. A bridge dies without its neighbours' losing carrier,
// as a host at the far end of a tunnel does.
func TestLiveTreeIsThePredictedOne(t *testing.T) {
	for _, protocol := range []topology.Protocol{topology.RSTP, topology.STP} {
		t.Run(string(protocol), func(t *testing.T) {
			t.Parallel()
			s := ovsdbtest.Start(t)
			s.Exec("sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1") // no packets but the tree's
			var graphs []*drawn
			for seed := range uint64(drawnGraphs) {
				g := draw(seed, protocol)
				g.build(t, s)
				graphs = append(graphs, g)
			}
			awaitPredicted(t, s, graphs)
			if t.Failed() {
				return
			}
			var kill []string
			for _, g := range graphs {
				kill = append(kill, "--", "del-br", g.kill())
			}
			s.Vsctl(kill[1:]...)
			awaitPredicted(t, s, graphs)
		})
	}
}

// drawn is a random graph. The bridges' names are of equal length and say
// which graph they are of.
type drawn struct {
	seed     uint64
	protocol topology.Protocol
	random   *rand.Rand
	bridges  []topology.Bridge
	edges    []topology.Edge
	killed   string
}

// draw makes a connected graph of 3 to 12 bridges. Priorities and costs are
// of few values, so that each rule that decides between equals has its turn.
func draw(seed uint64, protocol topology.Protocol) *drawn {
	g := &drawn{seed: seed, protocol: protocol, random: rand.New(rand.NewPCG(seed, 0))}
	n := 3 + g.random.IntN(10)
	macs := g.random.Perm(n)
	for i := range n {
		g.bridges = append(g.bridges, topology.Bridge{
			Name:     fmt.Sprintf("g%02db%02d", seed, i),
			Priority: uint16(4096 * g.random.IntN(3)),
			MAC:      [6]byte{0x02, 0xfa, 0, 0, byte(seed), byte(macs[i])},
		})
	}
	numbers := make([][]int, n)
	for i := range numbers {
		numbers[i] = g.random.Perm(protocol.MaxPorts())
	}
	for b := 1; b < n; b++ {
		tree := g.random.IntN(b)
		for a := range b {
			if a != tree && g.random.IntN(n) > 2 {
				continue
			}
			g.edges = append(g.edges, topology.Edge{
				A: g.bridges[a].Name, CostA: g.cost(), PortA: uint16(numbers[a][b] + 1),
				B: g.bridges[b].Name, CostB: g.cost(), PortB: uint16(numbers[b][a] + 1),
			})
		}
	}
	return g
}

func (g *drawn) cost() uint32 { return 1000 * uint32(1+g.random.IntN(3)) }

func portTo(bridge, peer string) string { return bridge + strings.TrimLeft(peer, "g0123456789") }

// build makes the bridges and the links, with all that decides set.
func (g *drawn) build(t *testing.T, s *ovsdbtest.Switch) {
	t.Helper()
	var links strings.Builder
	var config []string
	set := func(table, name string, values ...string) {
		config = append(append(config, "--", "set", table, name), values...)
	}
	for _, b := range g.bridges {
		config = append(config, "--", "add-br", b.Name)
		mac := net.HardwareAddr(b.MAC[:]).String()
		priority := strconv.Itoa(int(b.Priority))
		set("Bridge", b.Name, "datapath_type=netdev", string(g.protocol)+"_enable=true",
			`other_config:rstp-address="`+mac+`"`, "other_config:rstp-priority="+priority,
			`other_config:stp-system-id="`+mac+`"`, "other_config:stp-priority="+priority)
	}
	addPort := func(bridge, port string, number uint16, cost uint32) {
		config = append(config, "--", "add-port", bridge, port)
		set("Port", port,
			fmt.Sprintf("other_config:%s-port-num=%d", g.protocol, number),
			fmt.Sprintf("other_config:%s-path-cost=%d", g.protocol, cost))
		fmt.Fprintf(&links, "link set %s up\n", port)
	}
	for _, e := range g.edges {
		a, b := portTo(e.A, e.B), portTo(e.B, e.A)
		fmt.Fprintf(&links, "link add %s type veth peer name %s\n", a, b)
		addPort(e.A, a, e.PortA, e.CostA)
		addPort(e.B, b, e.PortB, e.CostB)
	}
	batch := filepath.Join(s.Dir, "links")
	if err := os.WriteFile(batch, []byte(links.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Exec("ip", "-batch", batch)
	s.Vsctl(config[1:]...)
}

// kill takes a random bridge out of the graph and returns its name. Its
// links remain, since Simulate leaves them out.
func (g *drawn) kill() string {
	i := g.random.IntN(len(g.bridges))
	g.killed = g.bridges[i].Name
	g.bridges = slices.Delete(g.bridges, i, i+1)
	return g.killed
}

func (g *drawn) String() string {
	return fmt.Sprintf("seed %d, %d bridges, %d links, killed %q", g.seed, len(g.bridges), len(g.edges), g.killed)
}

// seat is a bridge's place in a tree and what its ports do, as text:
// "PORT ROLE STATE".
type seat struct {
	Bridge, Root string
	Cost         int
	Ports        []string
}

func (g *drawn) predicted() []seat {
	tree := topology.Simulate(g.bridges, g.edges)
	mac := make(map[string]string)
	for _, b := range g.bridges {
		mac[b.Name] = net.HardwareAddr(b.MAC[:]).String()
	}
	var seats []seat
	for _, n := range tree.Nodes {
		place := seat{Bridge: n.Name, Root: mac[n.Root], Cost: int(n.RootPathCost)}
		for _, p := range tree.Ports {
			if p.Bridge == n.Name {
				place.Ports = append(place.Ports, fmt.Sprint(portTo(p.Bridge, p.Peer), " ", p.Role, " ", p.State))
			}
		}
		slices.Sort(place.Ports)
		seats = append(seats, place)
	}
	return seats
}

// live reads what Open vSwitch says of the graph's bridges, without the
// ports to the dead one.
func (g *drawn) live(t *testing.T, have *snapshot) []seat {
	t.Helper()
	var seats []seat
	for i, b := range have.bridges {
		if !slices.ContainsFunc(g.bridges, func(known topology.Bridge) bool { return known.Name == b.Name }) {
			continue
		}
		status, err := treeAt(have, &have.bridges[i], "")
		if err != nil {
			t.Fatal(err)
		}
		place := seat{Bridge: b.Name, Root: status.Root.MAC, Cost: status.RootPathCost}
		for _, p := range status.Ports {
			if g.killed == "" || p.Name != portTo(b.Name, g.killed) {
				place.Ports = append(place.Ports, p.Name+" "+p.Role+" "+p.State)
			}
		}
		seats = append(seats, place)
	}
	return seats
}

// awaitPredicted returns when all trees have been as predicted for a while,
// and fails the test for those that do not become so.
func awaitPredicted(t *testing.T, s *ovsdbtest.Switch, graphs []*drawn) {
	t.Helper()
	start := time.Now()
	want := make([][]seat, len(graphs))
	for i, g := range graphs {
		want[i] = g.predicted()
	}
	asPredicted := make([]time.Time, len(graphs)) // since when
	deadline := time.After(settleTime)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		have := readAll(t, s)
		now := time.Now()
		settled := 0
		for i, g := range graphs {
			switch {
			case cmp.Diff(want[i], g.live(t, have)) != "":
				asPredicted[i] = time.Time{}
			case asPredicted[i].IsZero():
				asPredicted[i] = now
			case now.Sub(asPredicted[i]) >= steadyTime:
				settled++
			}
		}
		if settled == len(graphs) {
			for i, g := range graphs {
				t.Logf("%s %v: as predicted after %s", g.protocol, g, asPredicted[i].Sub(start).Round(time.Second))
			}
			return
		}
		select {
		case <-deadline:
			for i, g := range graphs {
				if diff := cmp.Diff(want[i], g.live(t, have)); diff != "" {
					t.Errorf("%s %v: tree (-predicted +live):\n%s", g.protocol, g, diff)
				}
			}
			return
		case <-tick.C:
		}
	}
}

func readAll(t *testing.T, s *ovsdbtest.Switch) *snapshot {
	t.Helper()
	session, err := dial(t.Context(), s.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer session.close()
	have, err := session.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return have
}
