//go:build privileged && peers

package scenarios_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/bits"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A way makes one network of hosts' containers. Its command is what an
// operator runs, whatever the hosts' state is.
type way struct {
	name    string
	command func(*contest, []member) *exec.Cmd
}

// ways are fabric, and what there is in bench to make the same network with.
var ways = []way{
	{"fabric", func(c *contest, members []member) *exec.Cmd {
		args := []string{"apply", "--yes"}
		if len(members) > crowd {
			args = append(args, crowded)
		}
		return c.command(args...)
	}},
	{"playbook", (*contest).playbook},
	{"script", (*contest).script},
}

// crowd is how many hosts a machine has time for.
const crowd = 4

// A member is a host of the network, and what all ways are to make of it.
type member struct {
	name     string
	underlay netip.Addr
	address  netip.Prefix // of the bridge that containers are on
	cidr     netip.Prefix
	priority int // in the tree
	peers    []member
}

// A contest is lab hosts that a way makes a network of.
type contest struct {
	*world
	way      way
	dir      string
	datapath string
	hosts    []string // in order of number: h1, h2, …
}

// peersMTU is that of VXLAN in the lab's underlay.
const peersMTU = 1450

// bootContest boots hosts of a Debian release that has the Python which
// Debian's Ansible can use there.
func bootContest(t *testing.T, way way, hosts int) *contest {
	t.Helper()
	names, lines := numbered(hosts, ", release: bookworm")
	allowHosts(t, hosts)
	c := &contest{
		way: way, dir: t.TempDir(), hosts: names,
		world: boot(t, scenario(t, "underlay: 192.0.2.0/24\nhosts:\n"+lines, ""), "peers-"+way.name),
	}
	c.datapath = "system"
	if c.try("h1", "ovs-vsctl get bridge br-ul datapath_type").exit == 0 { // see docs/architecture.md, Lab
		c.datapath = "netdev"
	}
	for _, h := range c.hosts {
		c.importImage(h)
	}
	return c
}

// members writes the fabric file of the first n hosts and returns the network
// it describes, with the ranges that fabric gives them.
func (c *contest) members(n int) []member {
	c.t.Helper()
	file := "version: 1\nname: demo\nnetwork: 172.17.0.0/16\nssh: {user: ops}\nhosts:\n"
	all := make(map[string]*member)
	length := 16 + bits.Len(uint(len(c.hosts)-1))
	for i, h := range c.hosts[:n] {
		m := &member{name: h, underlay: netip.AddrFrom4([4]byte{192, 0, 2, byte(11 + i)}), priority: 0x8000}
		base := i << (32 - length)
		m.cidr = netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 17, byte(base >> 8), byte(base)}), length)
		m.address = netip.PrefixFrom(m.cidr.Addr().Next(), 16)
		all[h] = m
		file += fmt.Sprintf("  %s: {address: %s}\n", h, m.underlay)
	}
	c.write(file)
	var graph struct {
		Root, Backup string
		Links        []struct{ A, B string }
	}
	if err := json.Unmarshal([]byte(c.must("graph", "--format", "json").stdout), &graph); err != nil {
		c.t.Fatal(err)
	}
	all[graph.Root].priority, all[graph.Backup].priority = 0x1000, 0x2000
	for _, l := range graph.Links {
		a, b := all[l.A], all[l.B]
		a.peers, b.peers = append(a.peers, *b), append(b.peers, *a)
	}
	var members []member
	for _, h := range c.hosts[:n] {
		members = append(members, *all[h])
	}
	return members
}

// playbook is ansible-playbook with an inventory of the members.
func (c *contest) playbook(members []member) *exec.Cmd {
	c.t.Helper()
	hosts := make(map[string]any)
	var tunnels [][2]string
	for _, m := range members {
		hosts[m.name] = map[string]any{
			"ansible_host": m.underlay, "bridge_address": m.address, "container_range": m.cidr, "rstp_priority": m.priority,
		}
		for _, p := range m.peers {
			if m.underlay.Less(p.underlay) {
				tunnels = append(tunnels, [2]string{m.name, p.name})
			}
		}
	}
	inventory, err := json.Marshal(map[string]any{"fabric": map[string]any{
		"hosts": hosts,
		"vars":  map[string]any{"ansible_user": "ops", "datapath": c.datapath, "container_mtu": peersMTU, "tunnels": tunnels},
	}})
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := c.lab.Ctl(c.t.Context(), "ansible-playbook", "--inventory", c.save("inventory.json", string(inventory)), "playbook.yml")
	cmd.Dir = "../bench/ansible"
	// Connections that it keeps belong to this lab, and end with it.
	cmd.Env = append(os.Environ(), "ANSIBLE_HOME="+c.dir, "ANSIBLE_SSH_CONTROL_PATH_DIR="+c.dir)
	return cmd
}

// script is the shell script with a file of the members.
func (c *contest) script(members []member) *exec.Cmd {
	c.t.Helper()
	var hosts strings.Builder
	for _, m := range members {
		fmt.Fprintf(&hosts, "ops@%s %s %d %d %s %s", m.underlay, c.datapath, peersMTU, m.priority, m.address, m.cidr)
		for _, p := range m.peers {
			fmt.Fprintf(&hosts, " %s=%s", p.name, p.underlay)
		}
		hosts.WriteByte('\n')
	}
	return c.lab.Ctl(c.t.Context(), "../bench/shell/network.sh", c.save("hosts", hosts.String()))
}

func (c *contest) save(name, content string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// apply makes the network of the members, and returns what that took.
func (c *contest) apply(members []member) cost {
	c.t.Helper()
	cmd := c.way.command(c, members)
	start := time.Now()
	r := runCommand(c.t, cmd)
	took := cost{time.Since(start), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
	if r.exit != 0 {
		c.t.Fatalf("%s: exit status %d\n%s%s", c.way.name, r.exit, r.stdout, r.stderr)
	}
	c.t.Logf("%d hosts: %.2f s, CPU time %.2f s", len(members), took.wall.Seconds(), took.cpu.Seconds())
	return took
}

// state is what a second apply may not change: the network's parts, and which
// dockerd runs.
func (c *contest) state(host string) string {
	c.t.Helper()
	return c.snapshot(host) + c.on(host, "systemctl show -p MainPID docker; stat -c %y /etc/docker/daemon.json")
}

// noop measures applies that have nothing to do, and bare ssh beside them.
func (c *contest) noop(f *figures, members []member, times int) {
	c.t.Helper()
	before := c.state("h1")
	for range times {
		f.add(noopApply, c.way, c.apply(members))
		start := time.Now()
		c.bareSSH(c.hosts[:len(members)]...)
		f.add(bareSSH, c.way, cost{wall: time.Since(start)})
	}
	if after := c.state("h1"); after != before {
		c.t.Errorf("%s with nothing to do has changed h1 from\n%s\nto\n%s", c.way.name, before, after)
	}
}

// reach waits until a container on h1 has an answer, at the full MTU, from one
// on another host.
func (c *contest) reach(host string) {
	c.t.Helper()
	c.container("h1", "c1")
	address := c.container(host, "c2")
	c.eventually("the container on "+host+" answers", time.Minute, func() bool { return c.reaches("h1", "c1", address, peersMTU) })
}

// TestPeersOnThreeHosts is fabric and its peers on hosts just booted.
func TestPeersOnThreeHosts(t *testing.T) {
	const rounds, noops = 3, 3
	f := &figures{}
	for round := range rounds {
		f.round(t, round, 4, func(c *contest) {
			members := c.members(3)
			start := time.Now()
			f.add(firstApply, c.way, c.apply(members))
			c.reach("h3")
			f.add(reached, c.way, cost{wall: time.Since(start)})
			c.noop(f, members, noops)
			members = c.members(4)
			f.add(fourth, c.way, c.apply(members))
			c.reach("h4")
		})
	}
	if !t.Failed() {
		t.Logf("medians of %d rounds, %d applies with nothing to do in each, on 3 hosts:\n%s", rounds, noops, f)
	}
}

// TestPeersOnManyHosts is what more hosts make of it, as many as PEERS_HOSTS
// says (20).
func TestPeersOnManyHosts(t *testing.T) {
	const rounds, noops = 1, 3
	hosts, err := strconv.Atoi(cmp.Or(os.Getenv("PEERS_HOSTS"), "20"))
	if err != nil || hosts < 2 || hosts > 200 {
		t.Fatalf("PEERS_HOSTS is %q: give it a number from 2 to 200", os.Getenv("PEERS_HOSTS"))
	}
	f := &figures{}
	for round := range rounds {
		f.round(t, round, hosts, func(c *contest) {
			members := c.members(hosts)
			f.add(firstApply, c.way, c.apply(members))
			c.reach(c.hosts[hosts-1])
			c.noop(f, members, noops)
		})
	}
	if !t.Failed() {
		t.Logf("medians of %d applies with nothing to do, and of %d first apply, on %d hosts:\n%s", rounds*noops, rounds, hosts, f)
	}
}

// What is measured.
const (
	firstApply = "first apply"
	reached    = "first apply, until containers reach each other"
	noopApply  = "apply with nothing to do"
	fourth     = "a fourth host joins"
	bareSSH    = "bare ssh beside the one with nothing to do"
)

// A cost is how long an operator waits, and the CPU time of what the operator
// runs: what else the machine does changes that little. It is 0 where it was
// not measured, and holds nothing of the hosts' work nor of connections kept.
type cost struct{ wall, cpu time.Duration }

// figures are what was measured, by what and way.
type figures struct {
	rows  []string
	costs map[string]map[string][]cost
}

// round has each way measured on hosts of its own, in an order that no other
// of len(ways) rounds has.
func (f *figures) round(t *testing.T, number, hosts int, measure func(*contest)) {
	for i := range ways {
		way := ways[(number+i)%len(ways)]
		t.Run(fmt.Sprintf("%s %d", way.name, number+1), func(t *testing.T) {
			measure(bootContest(t, way, hosts))
			load, err := os.ReadFile("/proc/loadavg")
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("load average of this machine: %s", load)
		})
	}
}

func (f *figures) add(what string, way way, took cost) {
	if f.costs == nil {
		f.costs = make(map[string]map[string][]cost)
	}
	if f.costs[what] == nil {
		f.rows = append(f.rows, what)
		f.costs[what] = make(map[string][]cost)
	}
	f.costs[what][way.name] = append(f.costs[what][way.name], took)
}

// median returns the middle one of what was measured, in seconds.
func (f *figures) median(what string, way way, of func(cost) time.Duration) float64 {
	var sorted []time.Duration
	for _, c := range f.costs[what][way.name] {
		sorted = append(sorted, of(c))
	}
	if len(sorted) == 0 { // go test -run has left it out
		return 0
	}
	slices.Sort(sorted)
	return sorted[len(sorted)/2].Seconds()
}

// String is a table of the medians, and of how many times fabric's they are.
func (f *figures) String() string {
	var table strings.Builder
	table.WriteString("| what | fabric | playbook | | script | |\n|---|---|---|---|---|---|\n")
	row := func(what, label string, of func(cost) time.Duration) {
		fabric, playbook, script := f.median(what, ways[0], of), f.median(what, ways[1], of), f.median(what, ways[2], of)
		if fabric == 0 {
			return
		}
		fmt.Fprintf(&table, "| %s%s | %.2f s | %.2f s | %.1fx | %.2f s | %.1fx |\n",
			what, label, fabric, playbook, playbook/fabric, script, script/fabric)
	}
	for _, what := range f.rows {
		row(what, "", func(c cost) time.Duration { return c.wall })
		row(what, ", CPU time of the operator's side", func(c cost) time.Duration { return c.cpu })
	}
	return table.String()
}
