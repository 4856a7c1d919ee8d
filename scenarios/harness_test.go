//go:build privileged

// Package scenarios_test runs the scenarios on real hosts.
package scenarios_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/lab"
)

// program is the fabric binary that the tests run, built once.
var program string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fabric-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "fabric")
	if err := build(".", program, "github.com/ovsfabric/fabric/cmd/fabric"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// world is a lab with a fabric file of the test's own.
type world struct {
	t       testing.TB
	lab     *lab.Lab
	file    string
	program string // the fabric that it runs
}

// boot is up, for a test that wants to know of the tunnels where it fails.
func boot(t testing.TB, scenario, name string, changes ...func(*lab.Spec) error) *world {
	t.Helper()
	w := up(t, scenario, name, changes...)
	t.Cleanup(func() {
		if t.Failed() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			tunnels(ctx, t, w.lab)
		}
	})
	return w
}

// up boots a scenario's hosts under a name of the test's own, after changes
// that the test makes to them.
func up(t testing.TB, scenario, name string, changes ...func(*lab.Spec) error) *world {
	t.Helper()
	spec, err := lab.Load(scenario)
	if err != nil {
		t.Fatal(err)
	}
	spec.Name = name
	for _, change := range changes {
		if err := change(&spec); err != nil {
			t.Fatal(err)
		}
	}
	l, err := lab.Up(t.Context(), spec, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := l.Down(ctx); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, lab: l, file: filepath.Join(t.TempDir(), "fabric.yaml"), program: program}
	w.noteVersions()
	data, err := os.ReadFile(filepath.Join(scenario, "fabric.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write(string(data))
	return w
}

// release has all hosts run a Debian release.
func release(name string) func(*lab.Spec) error {
	return func(spec *lab.Spec) error {
		for i := range spec.Hosts {
			spec.Hosts[i].Release = name
		}
		return nil
	}
}

// noteVersions writes what the hosts run into the file that VERSIONS names, a line
// for each kind of host, for whoever runs the tests.
func (w *world) noteVersions() {
	w.t.Helper()
	path := os.Getenv("VERSIONS")
	if path == "" {
		return
	}
	seen := make(map[string]string) // by release and driver
	for _, h := range w.lab.Spec.Hosts {
		kind := h.Release + ", " + h.Driver
		if seen[kind] == "" {
			seen[kind] = w.on(h.Name, `echo "$(ovs-vswitchd --version | sed -n 's/.*(Open vSwitch) //p') | $(dockerd --version | sed 's/Docker version //; s/[+,].*//') |`+
				` $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') | $(uname -r)"`)
		}
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		w.t.Fatal(err)
	}
	defer f.Close()
	for _, kind := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(f, "| %s | %s |\n", kind, seen[kind])
	}
}

// allowHosts lets this machine's kernel have what n hosts take until the test
// ends: inotify instances, some seven a host, of which it grants root 128; and
// neighbours, each other one on two networks, of which all hosts share 1024.
func allowHosts(t testing.TB, n int) {
	t.Helper()
	raise(t, "/proc/sys/fs/inotify/max_user_instances", 10*n)
	for _, threshold := range []string{"gc_thresh3", "gc_thresh2", "gc_thresh1"} { // arp(7)
		raise(t, "/proc/sys/net/ipv4/neigh/default/"+threshold, 4*n*n)
	}
}

// raise raises one of the kernel's limits until the test ends.
func raise(t testing.TB, limit string, least int) {
	t.Helper()
	was, err := os.ReadFile(limit)
	if err != nil {
		t.Fatal(err)
	}
	if have, err := strconv.Atoi(strings.TrimSpace(string(was))); err != nil || have >= least {
		return
	}
	if err := os.WriteFile(limit, []byte(strconv.Itoa(least)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(limit, was, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// scenario makes the folder of a scenario that is only for one test.
func scenario(t testing.TB, lab, fabric string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "scenario")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{"lab.yaml": lab, "fabric.yaml": fabric} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// crowded is for many hosts on one machine.
const crowded = "--timeout-multiplier=6"

// numbered are the hosts h1 to hN, as files list them: all have what more says.
func numbered(n int, more string) (names []string, lines string) {
	for i := range n {
		name := fmt.Sprintf("h%d", i+1)
		names = append(names, name)
		lines += fmt.Sprintf("  %s: {address: 192.0.2.%d%s}\n", name, i+11, more)
	}
	return names, lines
}

// tunnels logs what the switches of a failed test's hosts know of their
// tunnels.
func tunnels(ctx context.Context, t testing.TB, l *lab.Lab) {
	for _, h := range l.Spec.Hosts {
		out, err := l.Sh(ctx, h.Name, "sh", "-c", `
			for what in bfd/show tnl/neigh/show "tnl/ports/show -v" ovs/route/show "dpctl/dump-flows -m"; do
				echo "--- $what"; timeout 5 ovs-appctl $what
			done; ip neigh show dev br-ul; tail -n 40 /var/log/openvswitch/ovs-vswitchd.log`).CombinedOutput()
		t.Logf("%s: %v\n%s", h.Name, err, out)
	}
}

// at is the world as a subtest sees it.
func (w *world) at(t testing.TB) *world {
	other := *w
	other.t = t
	return &other
}

func (w *world) write(content string) {
	w.t.Helper()
	if err := os.WriteFile(w.file, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read() string {
	w.t.Helper()
	data, err := os.ReadFile(w.file)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

func (w *world) lockPath() string { return strings.TrimSuffix(w.file, ".yaml") + ".lock" }

func (w *world) lock() string {
	w.t.Helper()
	data, err := os.ReadFile(w.lockPath())
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// result is how a command ended.
type result struct {
	stdout, stderr string
	exit           int
}

func runCommand(t testing.TB, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// command is fabric on the controller, with the test's file.
func (w *world) command(args ...string) *exec.Cmd {
	argv := append([]string{w.program}, args...)
	return w.lab.Ctl(w.t.Context(), append(argv, "-f", w.file)...)
}

// fabric runs fabric on the controller.
func (w *world) fabric(args ...string) result {
	w.t.Helper()
	return runCommand(w.t, w.command(args...))
}

// background is a command that runs while the test goes on.
type background struct {
	w              *world
	cmd            *exec.Cmd
	ended          chan error
	stdout, stderr string // files
}

// start starts fabric on the controller.
func (w *world) start(args ...string) *background {
	w.t.Helper()
	return w.background(w.command(args...))
}

// background starts a command.
func (w *world) background(cmd *exec.Cmd) *background {
	w.t.Helper()
	dir := w.t.TempDir()
	b := &background{
		w: w, cmd: cmd, stdout: filepath.Join(dir, "stdout"), stderr: filepath.Join(dir, "stderr"),
		ended: make(chan error, 1),
	}
	open := func(path string) *os.File {
		f, err := os.Create(path)
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { f.Close() })
		return f
	}
	b.cmd.Stdout, b.cmd.Stderr = open(b.stdout), open(b.stderr)
	if err := b.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	go func() { b.ended <- b.cmd.Wait() }()
	return b
}

func (b *background) said(path string) string {
	b.w.t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		b.w.t.Fatal(err)
	}
	return string(data)
}

// until waits until the command, still at work, has said each of the words on
// stderr.
func (b *background) until(words ...string) {
	b.w.t.Helper()
	b.within(time.Minute, words...)
}

// within is until, for hosts that are slow.
func (b *background) within(patience time.Duration, words ...string) {
	b.w.t.Helper()
	b.hears(patience, words, strings.Contains)
}

// onceStopped is until, for what a host says in each step of an apply: meant
// is the one in which its dockerd has stopped.
func (b *background) onceStopped(words ...string) {
	b.w.t.Helper()
	b.hears(time.Minute, words, func(said, word string) bool {
		host, _, _ := strings.Cut(word, ":")
		_, after, _ := strings.Cut(said, host+": stop dockerd")
		return strings.Contains(after, word)
	})
}

func (b *background) hears(patience time.Duration, words []string, in func(said, word string) bool) {
	b.w.t.Helper()
	b.w.eventually(strings.Join(words, ", "), patience, func() bool {
		said := b.said(b.stderr)
		if len(b.ended) > 0 {
			b.w.t.Fatalf("it has ended:\n%s%s", b.said(b.stdout), said)
		}
		return !slices.ContainsFunc(words, func(word string) bool { return !in(said, word) })
	})
}

// signal sends a signal to fabric, which is what the command that entered the
// lab has become.
func (b *background) signal(s os.Signal) {
	b.w.t.Helper()
	if err := b.cmd.Process.Signal(s); err != nil {
		b.w.t.Fatal(err)
	}
}

// wait waits until the command has ended.
func (b *background) wait() result {
	b.w.t.Helper()
	var exit *exec.ExitError
	if err := <-b.ended; err != nil && !errors.As(err, &exit) {
		b.w.t.Fatal(err)
	}
	return result{b.said(b.stdout), b.said(b.stderr), b.cmd.ProcessState.ExitCode()}
}

// must runs fabric on the controller and fails the test unless it succeeds.
func (w *world) must(args ...string) result {
	w.t.Helper()
	r := w.fabric(args...)
	if r.exit != 0 {
		w.t.Fatalf("fabric %s: exit status %d\n%s%s", strings.Join(args, " "), r.exit, r.stdout, r.stderr)
	}
	return r
}

// bareSSH logs in to hosts, all at once, and does nothing there.
func (w *world) bareSSH(hosts ...string) {
	w.t.Helper()
	argv := append([]string{"sh", "-c", `for h; do ssh "ops@$h" true & done; wait`, "sh"}, hosts...)
	if r := runCommand(w.t, w.lab.Ctl(w.t.Context(), argv...)); r.exit != 0 {
		w.t.Fatal(r.stderr)
	}
}

// try runs a shell command on a host.
func (w *world) try(host, script string) result {
	w.t.Helper()
	return runCommand(w.t, w.lab.Sh(w.t.Context(), host, "sh", "-c", script))
}

// on runs a shell command on a host and fails the test unless it succeeds.
func (w *world) on(host, script string) string {
	w.t.Helper()
	r := w.try(host, script)
	if r.exit != 0 {
		w.t.Fatalf("%s: %s: exit status %d\n%s", host, script, r.exit, r.stderr)
	}
	return strings.TrimSpace(r.stdout)
}

// eventually waits until done reports true.
func (w *world) eventually(what string, within time.Duration, done func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			w.t.Fatalf("not within %s: %s", within, what)
		}
	}
}

// snapshot is everything on a host that fabric could touch, as text: the
// files, the switch's database, the links and what dockerd says of its
// default network.
func (w *world) snapshot(host string) string {
	w.t.Helper()
	return w.on(host, `
		# A fault may have mounted something on /etc/docker.
		files() { find /etc /etc/docker /usr/local /var/lib/fabric /var/tmp /tmp /dev/shm /root -xdev "$@" 2>/dev/null | grep -v -e /systemd-private- -e /etc/openvswitch/; }
		files -type f -printf '%p %m %u\n' | sort -u
		files -type l -printf '%p -> %l\n' | sort -u
		find /etc /etc/docker /usr/local /var/lib/fabric -xdev -type f -not -path '/etc/openvswitch/*' -exec sha256sum {} + 2>/dev/null | sort -u -k2
		for t in Bridge Port Interface; do
			ovs-vsctl --format=csv --columns=name,external_ids,other_config list $t | sort
		done
		ovs-vsctl --columns=datapath_type,stp_enable,rstp_enable list Bridge | sort
		ip -o link show | awk -F'[:@ ]+' '{print $2}' | grep -v ^veth | sort
		ip -o link show type bridge | sed 's/^[0-9]*: \([^:]*\):.* mtu \([0-9]*\) .*/\1 mtu \2/'
		ip -o -4 addr show | awk '{print $2, $4}' | sort
		docker network inspect bridge -f '{{json .IPAM.Config}} {{json .Options}}'
		systemctl list-unit-files --no-legend 'fabric*' || true
	`)
}

// snapshots takes the snapshot of each host.
func (w *world) snapshots(hosts []string) map[string]string {
	w.t.Helper()
	taken := make(map[string]string)
	for _, h := range hosts {
		taken[h] = w.snapshot(h)
	}
	return taken
}

// compare fails the test for every host that differs from its snapshot.
func (w *world) compare(want map[string]string) {
	w.t.Helper()
	for _, h := range slices.Sorted(maps.Keys(want)) {
		if diff := cmp.Diff(strings.Split(want[h], "\n"), strings.Split(w.snapshot(h), "\n")); diff != "" {
			w.t.Errorf("%s: %s", h, diff)
		}
	}
}

// importImage makes the image busybox known to dockerd on a host.
func (w *world) importImage(host string) {
	w.t.Helper()
	w.on(host, `docker image inspect busybox >/dev/null 2>&1 || docker import - busybox < /usr/share/lab/busybox.tar`)
}

// textFile is a file of this machine with a content.
func textFile(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// container starts a container on a host's default network and returns its
// address.
func (w *world) container(host, name string) string {
	w.t.Helper()
	w.importImage(host)
	w.on(host, `docker rm -f `+name+` >/dev/null 2>&1; docker run -d --stop-signal KILL --name `+name+` busybox /bin/busybox sleep 1d`)
	return w.on(host, `docker inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}}' `+name)
}

// reaches reports whether a container can ping an address with packets of
// size bytes, headers included, that must not be fragmented.
func (w *world) reaches(host, name, address string, size int) bool {
	w.t.Helper()
	return w.try(host, fmt.Sprintf(`docker exec %s /bin/busybox ping -c 1 -W 1 -s %d %s`, name, size-28, address)).exit == 0
}

// planned is what fabric plan --json prints, as far as the tests read it.
type planned struct {
	MTU struct {
		Value int `json:"value"`
	} `json:"mtu"`
	Hosts []struct {
		Name    string `json:"name"`
		Range   string `json:"range"`
		Gateway string `json:"gateway"`
		Changes []struct {
			Op     string `json:"op"`
			Object string `json:"object"`
		} `json:"changes"`
	} `json:"hosts"`
}

func (w *world) plan() planned {
	w.t.Helper()
	var p planned
	if err := json.Unmarshal([]byte(w.must("plan", "--json").stdout), &p); err != nil {
		w.t.Fatal(err)
	}
	return p
}
