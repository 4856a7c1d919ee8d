//go:build privileged && (faults || soak)

package scenarios_test

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A lane is a fabric with hosts of its own on which cases run one after the
// other. Faults strike its first host.
type lane struct {
	*world
	name    string
	hosts   []string
	base    string                       // op that a lane's hosts are at: "" before the fabric, or "first"
	seen    map[string]map[string]string // what the hosts look like before and after each op
	remains *remains
}

// remains is what is still to be done about a fault.
type remains struct {
	heals  []func() // end it
	afters []func() // take away what it needed
}

// An op is what an apply does: it brings hosts from one file to another.
type op struct {
	base   string // what the hosts are before it
	args   []string
	tunnel string // in the file
	older  bool   // by a build without access bridges
}

var ops = map[string]op{
	"first":   {"", []string{"apply", "--yes"}, "vxlan", false},
	"change":  {"first", []string{"apply", "--yes"}, "gre", false},
	"destroy": {"first", []string{"destroy", "--yes"}, "vxlan", false},
	"older":   {"", []string{"apply", "--yes"}, "vxlan", true},
	"migrate": {"older", []string{"apply", "--yes"}, "vxlan", false},
}

// content is the lane's fabric file.
func (l *lane) content(tunnel string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "version: 1\nname: %s\nnetwork: 10.30.0.0/16\nssh: {user: ops}\ntunnel: {type: %s}\nhosts:\n", l.name, tunnel)
	for _, h := range l.hosts {
		fmt.Fprintf(&b, "  %s: {address: 198.18.0.%s}\n", h, strings.TrimPrefix(h, "h"))
	}
	return b.String()
}

// laneHosts are the hosts of each lane: most faults of a first apply need no
// peers, those of its later steps and of a change strike a host with tunnels.
var laneHosts = []struct {
	base  string
	hosts []string
}{
	{"", []string{"h11"}}, {"", []string{"h12"}}, {"", []string{"h13", "h14"}},
	{"first", []string{"h21", "h22"}}, {"first", []string{"h31", "h32"}}, {"first", []string{"h41", "h42"}},
	{"older", []string{"h51", "h52"}},
}

// bootLanes boots the hosts of all lanes, and looks at what their ops make of
// them where nothing fails.
func bootLanes(t *testing.T, name string) []*lane {
	t.Helper()
	var spec strings.Builder
	spec.WriteString("underlay: 198.18.0.0/24\nhosts:\n")
	for _, lh := range laneHosts {
		for _, h := range lh.hosts {
			fmt.Fprintf(&spec, "  %s: {address: 198.18.0.%s}\n", h, strings.TrimPrefix(h, "h"))
		}
	}
	w := up(t, scenario(t, spec.String(), ""), name)
	lanes := make([]*lane, len(laneHosts))
	var wait sync.WaitGroup
	for i, lh := range laneHosts {
		own := *w
		own.file = filepath.Join(t.TempDir(), "fabric.yaml")
		lanes[i] = &lane{
			world: &own, name: fmt.Sprintf("lane%d", i), hosts: lh.hosts, base: lh.base,
			seen: make(map[string]map[string]string), remains: &remains{},
		}
		wait.Go(func() {
			t.Run("without a fault, "+strings.Join(lh.hosts, " and "), func(t *testing.T) { lanes[i].at(t).look() })
		})
	}
	wait.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return lanes
}

// lanesFor are the lanes on which a case can be had: a first apply has steps
// only with peers, and then leaves dockerd alone in its first one.
func lanesFor(lanes []*lane, c faultCase) []*lane {
	steps := strings.HasSuffix(c.at, andThen+atSwitch)
	return slices.DeleteFunc(slices.Clone(lanes), func(l *lane) bool {
		alone := len(l.hosts) == 1
		return l.base != ops[c.op].base || alone && steps || l.base == "" && !alone && c.fault == hangDocker
	})
}

// at is the lane as a subtest sees it.
func (l *lane) at(t testing.TB) *lane {
	other := *l
	other.world = l.world.at(t)
	return &other
}

// look notes what the hosts look like after each op from the lane's base.
func (l *lane) look() {
	for _, h := range l.hosts {
		l.importImage(h)
		l.on(h, `docker run -d --restart always --stop-signal KILL --name steady busybox /bin/busybox sleep 1d`)
	}
	l.seen[""] = l.pictures()
	if l.base != "" {
		l.do(l.base)
		l.seen[l.base] = l.pictures()
	}
	for _, name := range slices.Sorted(maps.Keys(ops)) {
		if ops[name].base != l.base || ops[name].older {
			continue
		}
		l.do(name)
		l.seen[name] = l.pictures()
		if !l.reset() {
			l.t.Fatalf("%s cannot be taken back", name)
		}
	}
}

// do carries out an op without a fault.
func (l *lane) do(name string) {
	l.t.Helper()
	l.write(l.content(ops[name].tunnel))
	w := l.world
	if ops[name].older {
		w = w.older()
	}
	w.must(ops[name].args...)
}

// reset brings the hosts to the lane's base, and says whether they look like it.
func (l *lane) reset() bool {
	l.t.Helper()
	name := l.base
	args := []string{"destroy", "--yes"}
	older := name != "" && ops[name].older // which knows nothing of what a newer one made
	if name != "" && !older {
		args = ops[name].args
	} else if name == "" {
		name = "first"
	}
	l.write(l.content(ops[name].tunnel))
	if r := l.fabric(args...); r.exit != 0 {
		l.t.Logf("fabric %s: %s%s", strings.Join(args, " "), r.stdout, r.stderr)
		return false
	}
	if older {
		l.do(name)
	}
	_, diffs := l.end(endTime, l.base)
	if diffs != "" {
		l.t.Log(diffs)
	}
	return diffs == ""
}

// pictures are of all hosts of the lane.
func (l *lane) pictures() map[string]string {
	l.t.Helper()
	taken := make(map[string]string)
	for _, h := range l.hosts {
		taken[h] = l.picture(h)
	}
	return taken
}

// picture is all of a host that a fabric has to do with, as text: what
// snapshot has, and what runs.
func (l *lane) picture(host string) string {
	return l.snapshot(host) + "\n" + l.try(host, `
		ovs-vsctl --format=csv --columns=name,type,options,bfd,mtu_request list Interface | sort
		for d in br0 fab-default; do ip -o link show dev $d 2>/dev/null | grep -o 'master [^ ]*'; done
		# Of a unit whose file is gone systemd may still know that it was killed.
		for u in docker.service docker.socket fabric-restore.service fabric-watch.service fabric-recover.service; do
			systemctl is-active --quiet $u && echo $u runs
		done
		docker ps --format '{{.Names}}'
	`).stdout
}

// end waits until the hosts look like one of the states wanted, as a whole,
// and nothing of fabric is at work on them. It returns that state, or what
// differs from each.
func (l *lane) end(within time.Duration, states ...string) (state, diffs string) {
	l.t.Helper()
	deadline := time.Now().Add(within)
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	for {
		busy, now := "", make(map[string]string)
		for _, h := range l.hosts {
			if at := l.try(h, "pgrep -a -f '/(fabric|recover) node'").stdout; at != "" {
				busy += h + " is at work: " + at
				continue
			}
			now[h] = l.picture(h)
		}
		diffs = busy
		for _, state := range states {
			if diff := difference(l.seen[state], now); busy == "" && diff == "" {
				return state, ""
			} else {
				diffs += fmt.Sprintf("not as after %q:\n%s", state, diff)
			}
		}
		if time.Now().After(deadline) || l.t.Context().Err() != nil {
			return "", diffs
		}
		<-tick.C
	}
}

// difference is what differs between pictures of hosts, as far as both have
// them.
func difference(want, got map[string]string) string {
	var all string
	for _, h := range slices.Sorted(maps.Keys(got)) {
		if diff := cmp.Diff(strings.Split(want[h], "\n"), strings.Split(got[h], "\n")); diff != "" {
			all += h + ": " + diff
		}
	}
	return all
}

// endTime is what hosts have to end in a state after a fault: fabric-watch
// tries again after 10, 20 and 40 s.
const endTime = 2 * time.Minute

// run carries out an op, has the fault strike at its moment, and looks how
// the hosts end.
func (l *lane) run(c faultCase) {
	began := time.Now()
	o, f := ops[c.op], faults[c.fault]
	l.write(l.content(o.tunnel))
	s := l.begin(append(slices.Clone(o.args), f.args...), c.at)
	defer func() {
		if l.t.Failed() {
			l.t.Log(s.said())
			l.t.Log(l.logs())
		}
	}()
	if !s.struck {
		l.t.Fatalf("the moment did not come: exit status %d", s.cmd.ProcessState.ExitCode())
	}
	defer func() { // where the strike itself fails
		s.goOn()
		l.heal()
		s.wait(endTime)
		l.after()
	}()
	f.strike(l, s)
	if s.late != "" && c.want != either { // where faults are random, there may have been too little to do
		l.t.Errorf("%s had ended before it could be struck", s.late)
	}
	s.resume()
	s.wait(f.lasts)
	l.heal()
	s.wait(endTime)
	states := map[outcome][]string{asBefore: {l.base}, asWanted: {c.op}, either: {l.base, c.op}}[c.want]
	state, diffs := l.end(endTime, states...)
	if diffs != "" {
		l.t.Errorf("the hosts are not %s:\n%s", c.want, diffs)
		return
	}
	l.t.Logf("exit status %d, hosts as after %q, in %.1f s", s.cmd.ProcessState.ExitCode(), state, time.Since(began).Seconds())
	l.after()
	if state != l.base && !l.reset() {
		l.t.Error("it cannot be taken back")
	}
}

// logs are what was said last on the lane's hosts.
func (l *lane) logs() string {
	var all strings.Builder
	for _, h := range l.hosts {
		said := l.try(h, "journalctl --no-pager -o short-precise -n 80 -t fabric -t recover -t dockerd -t systemd -t systemctl").stdout
		fmt.Fprintf(&all, "--- %s\n%s", h, said)
	}
	return all.String()
}

// heal ends the faults that still last.
func (l *lane) heal() { call(&l.remains.heals) }

// after takes away what faults need until the hosts have ended in a state.
func (l *lane) after() { call(&l.remains.afters) }

func call(all *[]func()) {
	for _, f := range slices.Backward(*all) {
		f()
	}
	*all = nil
}

// script runs a shell script on the first host now and others when the fault
// ends.
func (l *lane) script(now, heal string) {
	l.t.Helper()
	l.on(l.hosts[0], now)
	l.remains.heals = append(l.remains.heals, func() { l.on(l.hosts[0], heal) })
}

// mount mounts something over a path of the first host until the fault ends.
func (l *lane) mount(args, path string) {
	l.t.Helper()
	l.on(l.hosts[0], "mount "+args)
	l.remains.heals = append(l.remains.heals, func() { l.unmount(path) })
}

// unmount waits for those who have something open there.
func (l *lane) unmount(path string) {
	l.eventually(path+" is unmounted", time.Minute, func() bool { return l.try(l.hosts[0], "umount "+path).exit == 0 })
}
