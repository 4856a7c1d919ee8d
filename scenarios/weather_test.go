//go:build privileged

package scenarios_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const weatherLab = `
underlay: 203.0.113.0/24
hosts:
  h1: {address: 203.0.113.11, release: trixie}
  h2: {address: 203.0.113.12, release: bookworm}
  h3: {address: 203.0.113.13, release: trixie}
  h4: {address: 203.0.113.14, release: trixie}
`

const weatherFile = `version: 1
name: weather
network: 10.30.0.0/16
ssh: {user: ops}
hosts:
  h1: {address: 203.0.113.11}
  h2: {address: 203.0.113.12}
  h3: {address: 203.0.113.13}
`

// restartDocker is not kept from it by systemd's limit of starts.
const restartDocker = "systemctl reset-failed docker && systemctl restart docker"

const fourthHost = "  h4: {address: 203.0.113.14}\n"

// weather is a lab with what its hosts were at first.
type weather struct {
	*world
	hosts    []string
	pristine map[string]string
}

func (w *weather) at(t testing.TB) *weather {
	other := *w
	other.world = w.world.at(t)
	return &other
}

// same fails the test where a host is not what it was, or something of the
// fabric's still runs.
func (w *weather) same(want map[string]string) {
	w.t.Helper()
	w.compare(want)
	for _, h := range w.hosts {
		if running := w.nodes(h); running != "" {
			w.t.Errorf("%s: still running: %s", h, running)
		}
	}
	// Other tests' labs have the same addresses, in network namespaces of their own.
	const running = `pgrep -a --ns $$ --nslist net -f "^ssh -T .* ops -- 203[.]0[.]113[.]"`
	if out := runCommand(w.t, w.lab.Ctl(w.t.Context(), "sh", "-c", running)).stdout; out != "" {
		for line := range strings.Lines(out) {
			w.t.Errorf("still running on the controller: %.100s", line)
		}
	}
}

// nodes lists the host's sides of fabric that run on a host.
func (w *weather) nodes(host string) string {
	w.t.Helper()
	return strings.TrimSpace(w.try(host, "pgrep -a -f 'fabric [n]ode --serve'").stdout)
}

// refused runs plan and apply, which both must fail with exactly these lines,
// and then looks whether the hosts are what they were.
func (w *weather) refused(lines ...string) {
	w.t.Helper()
	before := w.snapshots(w.hosts)
	w.fails(lines...)
	w.same(before)
}

// said is what a command printed to stderr, but for the progress that it
// prints where hosts keep it waiting.
func said(r result) string {
	var lines []string
	for line := range strings.Lines(r.stderr) {
		if !strings.HasPrefix(line, "waiting for ") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

func (w *weather) fails(lines ...string) {
	w.t.Helper()
	for _, args := range [][]string{{"plan"}, {"apply", "--yes"}} {
		r := w.fabric(args...)
		if r.exit != 1 {
			w.t.Errorf("fabric %s: exit status %d, want 1", args[0], r.exit)
		}
		var got []string
		for line := range strings.Lines(said(r)) {
			got = append(got, strings.TrimPrefix(strings.TrimSpace(line), "fabric: "))
		}
		if diff := cmp.Diff(lines, got); diff != "" {
			w.t.Errorf("fabric %s says: %s", args[0], diff)
		}
	}
}

// TestBadWeather is hosts that are not what the fabric needs, and applies that
// are cut off. Every step leaves the hosts as it found them.
func TestBadWeather(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "weather")
	for name, content := range map[string]string{"lab.yaml": weatherLab, "fabric.yaml": weatherFile} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w := &weather{world: boot(t, dir, "weather-test"), hosts: []string{"h1", "h2", "h3", "h4"}}
	for _, h := range w.hosts { // Docker 20.10 names the gateway of docker0 from its second start on
		w.on(h, restartDocker)
	}
	w.pristine = w.snapshots(w.hosts)

	step := func(name string, do func(w *weather)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { do(w.at(t)) }) {
			t.FailNow() // the hosts are not what the next step expects
		}
	}
	step("hosts that cannot be worked with are all named at once", func(w *weather) { w.broken() })
	step("what is there already and not the fabric's is named and kept", func(w *weather) { w.occupied() })
	step("a network that leads elsewhere on a host is named", func(w *weather) { w.overlapping() })
	step("a host's name is resolved once, and said", func(w *weather) { w.named() })
	step("live-restore beside running containers is in the way", func(w *weather) { w.liveRestore() })
	step("Ctrl-C while connecting ends at once", func(w *weather) { w.interruptedConnecting() })
	for _, moment := range []struct {
		name string
		once string // dockerd has stopped
	}{
		{"while dockerd is stopped", "h1: apply Open vSwitch"},
		{"while links are made", "h2: apply links"},
		{"while dockerd is started", "h3: apply Docker"},
	} {
		step("Ctrl-C "+moment.name+" leaves every host as it was", func(w *weather) {
			w.interrupted(func(apply *background) { apply.onceStopped(moment.once) })
		})
	}
	step("Ctrl-C while the tree settles leaves every host as it was", func(w *weather) {
		w.interrupted(func(apply *background) {
			apply.onceStopped("h2: apply links")
			w.on("h2", "ovs-appctl bfd/set-forwarding false") // or the tree would have settled at once
			apply.until("fabric: tree: not yet as planned")
		})
	})
	step("hosts whose operator has died go back by themselves", func(w *weather) { w.abandoned() })
	step("hosts whose operator is silent for too long go back", func(w *weather) { w.unconfirmed() })
	step("a host whose side of fabric was killed goes back by itself", func(w *weather) { w.killed() })
	step("a second apply is told that the hosts are taken", func(w *weather) { w.twice() })
	step("destroy refuses a host whose bridge it cannot see", func(w *weather) { w.blind() })
	step("destroy refuses a daemon.json that it cannot read", func(w *weather) { w.unreadable() })
	step("a host without Docker is told how to get it", func(w *weather) { w.withoutDocker() })
}

func (w *weather) broken() {
	config := filepath.Join(w.t.TempDir(), "ssh_config")
	if err := os.WriteFile(config, []byte("Host *\n  UserKnownHostsFile /dev/null\n"), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.write(`version: 1
name: weather
network: 10.30.0.0/16
ssh: {user: ops}
hosts:
  h1: {address: 203.0.113.11}
  h2: {address: 203.0.113.12}
  h3: {address: 203.0.113.13, ssh: {user: nosudo}}
` + fourthHost + `
  nobody:   {address: 203.0.113.55}
  refusing: {address: 203.0.113.56, ssh: {address: h1, user: stranger}}
  unknown:  {address: 203.0.113.57, ssh: {address: h3, config: ` + config + `}}
  closed:   {address: 203.0.113.58, ssh: {address: h3, port: 2222}}
  nameless: {address: 203.0.113.59, ssh: {address: h9.invalid}}
`)
	// Open vSwitch carries the lab's underlay: it has to run on.
	w.on("h1", "mv /run/openvswitch/db.sock /run/openvswitch/db.away")
	w.on("h2", "systemctl mask --now docker.service docker.socket")
	if err := w.lab.PowerOff(w.t.Context(), "h4"); err != nil {
		w.t.Fatal(err)
	}
	w.fails(
		"closed: nothing listens on its ssh port: start sshd there, or say which port: hosts.closed.ssh.port in the file",
		"h1: Open vSwitch is not there: no socket /var/run/openvswitch/db.sock: install the package openvswitch-switch, or start it: systemctl start openvswitch-switch",
		"h2: dockerd does not run: docker.service is masked: systemctl unmask docker.service docker.socket && systemctl start docker.service",
		`h3: sudo asks for a password there: let nosudo use it without: a line "nosudo ALL=(root) NOPASSWD: ALL" in /etc/sudoers.d on the host, or log in as root (ssh.user: root)`,
		"h4: it does not answer: see that it runs and can be reached: ssh ops@203.0.113.14",
		"nameless: the name h9.invalid cannot be resolved: correct it, or write an IP address: hosts.nameless.ssh.address in the file",
		"nobody: it does not answer: see that it runs and can be reached: ssh ops@203.0.113.55",
		"refusing: it refuses the login: see that this works without a password: ssh stranger@h1 (user and key are hosts.refusing.ssh.user and ssh.identity in the file, or ssh's own)",
		"unknown: its host key is not known: connect once by hand and compare the fingerprint: ssh -F "+config+" ops@h3",
	)
	w.on("h1", "mv /run/openvswitch/db.away /run/openvswitch/db.sock")
	w.on("h2", "systemctl unmask docker.service docker.socket && systemctl start docker")
	if err := w.lab.Start(w.t.Context(), "h4"); err != nil {
		w.t.Fatal(err)
	}
	w.same(w.pristine)
}

func (w *weather) occupied() {
	w.write(weatherFile + fourthHost)
	w.on("h1", "ip tuntap add t0 mode tap && ip link set t0 master docker0 && ip address add 10.9.9.1/24 dev docker0")
	w.on("h1", "mkdir -p /etc/docker && printf '{\"mtu\": 1400,' > /etc/docker/daemon.json")
	w.on("h2", "cp /etc/default/docker /root/docker.default && echo 'DOCKER_OPTS=\"--fixed-cidr=172.17.5.0/24\"' >> /etc/default/docker && "+restartDocker)
	w.on("h3", `mkdir -p /etc/docker && printf '{"bip": "172.30.0.1/16", "fixed-cidr": "172.30.5.0/24", "mtu": 1400}' > /etc/docker/daemon.json && `+restartDocker)
	// This kernel has no datapath of Open vSwitch; a userspace one does too.
	w.on("h4", "ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev -- add-port br0 theirs -- set interface theirs type=internal")
	w.refused(
		"h1: docker0 has the member t0, a tuntap link that is no container's: take it out with `ip link set t0 nomaster`, or choose another bridge with docker.bridge",
		"h1: docker0 has a second address, 10.9.9.1/24: remove it with `ip address del 10.9.9.1/24 dev docker0`, and from what sets it",
		"h1: /etc/docker/daemon.json: line 1, column 13: unexpected end of JSON input; the file is not touched: mend the file; dockerd --validate says whether dockerd takes it (Docker 23 and later)",
		`h2: dockerd is started with --fixed-cidr 172.17.5.0/24, which the fabric has to set in /etc/docker/daemon.json as "fixed-cidr": take it out and restart dockerd: it comes from DOCKER_OPTS in /etc/default/docker, from docker.service, or from a drop-in (systemctl cat docker.service shows both)`,
		`h3: /etc/docker/daemon.json sets "bip" to "172.30.0.1/16", which the fabric has to set itself: take "bip" out of /etc/docker/daemon.json and restart dockerd; or take it over: fabric apply --adopt`,
		`h3: /etc/docker/daemon.json sets "fixed-cidr" to "172.30.5.0/24", which the fabric has to set itself: take "fixed-cidr" out of /etc/docker/daemon.json and restart dockerd; or take it over: fabric apply --adopt`,
		`h3: /etc/docker/daemon.json sets "mtu" to 1400, which the fabric has to set itself: take "mtu" out of /etc/docker/daemon.json and restart dockerd; or take it over: fabric apply --adopt`,
		"h4: bridge br0 exists and is not the fabric's (ports theirs): move its ports to a bridge of another name, then ovs-vsctl del-br br0",
	)
	w.on("h1", "ip link del t0; ip address del 10.9.9.1/24 dev docker0; rm /etc/docker/daemon.json")
	w.on("h2", "mv /root/docker.default /etc/default/docker && "+restartDocker)
	// dockerd remembers the address of docker0: only bip moves it back.
	w.on("h3", `printf '{"bip": "172.17.0.1/16"}' > /etc/docker/daemon.json && `+restartDocker+` && rm /etc/docker/daemon.json && `+restartDocker)
	w.on("h4", "ovs-vsctl del-br br0")
	w.same(w.pristine)
}

func (w *weather) overlapping() {
	w.write(weatherFile)
	w.on("h1", "docker network create --subnet 10.30.5.0/24 -o com.docker.network.bridge.name=br-theirs theirs")
	w.on("h2", "ip route add 10.30.9.0/24 via 203.0.113.254")
	w.refused(
		"h1: the route to 10.30.5.0/24 by br-theirs overlaps the fabric's network 10.30.0.0/16: choose another network: in the fabric's file, or renumber what is there",
		`h1: Docker's network "theirs" has the subnet 10.30.5.0/24, which overlaps the fabric's network 10.30.0.0/16: make it anew with another subnet (docker network rm theirs), or give the fabric another network`,
		"h2: the route to 10.30.9.0/24 by br-ul overlaps the fabric's network 10.30.0.0/16: choose another network: in the fabric's file, or renumber what is there",
	)
	w.on("h1", "docker network rm theirs")
	w.on("h2", "ip route del 10.30.9.0/24 via 203.0.113.254")
	w.write(strings.Replace(weatherFile, "10.30.0.0/16", "203.0.112.0/20", 1))
	if r := w.fabric("plan"); r.exit != 1 || !strings.Contains(r.stderr, "is inside the fabric's network 203.0.112.0/20") {
		w.t.Errorf("a network around the underlay: exit status %d\n%s", r.exit, r.stderr)
	}
	w.same(w.pristine)
}

func (w *weather) named() {
	w.write(strings.NewReplacer("203.0.113.11", "h1", "203.0.113.12", "h2").Replace(weatherFile))
	r := w.must("plan")
	if diff := cmp.Diff("hosts.h1.address: h1 is 203.0.113.11\nhosts.h2.address: h2 is 203.0.113.12\n", said(r)); diff != "" {
		w.t.Error(diff)
	}
	w.write(strings.Replace(weatherFile, "203.0.113.11", "h9.invalid", 1))
	r = w.fabric("plan")
	if r.exit != 1 || !strings.Contains(r.stderr, "hosts.h1.address: h9.invalid cannot be resolved") {
		w.t.Errorf("exit status %d\n%s", r.exit, r.stderr)
	}
	w.t.Log(r.stderr)
	w.same(w.pristine)
}

func (w *weather) liveRestore() {
	w.write(weatherFile)
	w.on("h1", `mkdir -p /etc/docker && printf '{"live-restore": true}' > /etc/docker/daemon.json && systemctl reload docker`)
	w.container("h1", "alive")
	w.refused(`h1: Docker runs with live-restore beside running containers (alive), so dockerd would ignore a new network configuration: ` +
		`stop the containers; or set "live-restore": false in daemon.json, run systemctl reload docker, and set it back afterwards`)
	w.on("h1", "docker rm -f alive && rm /etc/docker/daemon.json && "+restartDocker)
	w.same(w.pristine)
}

func (w *weather) interruptedConnecting() {
	// Packets to a station that is not there get lost without a word.
	const silent = "203.0.113.77"
	neighbour := func(do string) {
		runCommand(w.t, w.lab.Ctl(w.t.Context(), "ip", "neigh", do, silent, "lladdr", "02:00:00:00:00:77", "dev", "ul0"))
	}
	neighbour("replace")
	defer neighbour("del")
	w.write(weatherFile + "  h5: {address: " + silent + "}\n")
	apply := w.start("apply", "--yes")
	w.eventually("fabric connects", 10*time.Second, func() bool {
		return runCommand(w.t, w.lab.Ctl(w.t.Context(), "pgrep", "-f", "^ssh -T .*"+silent)).exit == 0
	})
	apply.signal(syscall.SIGINT)
	asked := time.Now()
	r := apply.wait()
	if took := time.Since(asked); took > 9*time.Second { // ssh itself gives up after 10 s
		w.t.Errorf("it took %v to end", took)
	}
	if r.exit != 1 || said(r) != "fabric: interrupted\n" {
		w.t.Errorf("exit status %d\n%s", r.exit, r.stderr)
	}
	w.same(w.pristine)
}

// interrupted sends an apply a Ctrl-C once it has come to a moment.
func (w *weather) interrupted(moment func(apply *background)) {
	w.write(weatherFile)
	apply := w.start("apply", "--yes")
	moment(apply)
	apply.signal(syscall.SIGINT)
	r := apply.wait()
	if r.exit != 1 || !strings.HasSuffix(r.stderr, "fabric: interrupted\nfabric: no host was changed for good\n") {
		w.t.Errorf("exit status %d\n%s\n%s", r.exit, r.stdout, r.stderr)
	}
	w.same(w.pristine)
}

func (w *weather) abandoned() {
	w.write(weatherFile)
	apply := w.start("apply", "--yes")
	apply.onceStopped("h2: apply Docker")
	apply.signal(syscall.SIGKILL)
	apply.wait()
	w.eventually("all hosts are through", 90*time.Second, func() bool {
		return w.nodes("h1")+w.nodes("h2")+w.nodes("h3") == ""
	})
	w.same(w.pristine)
}

func (w *weather) unconfirmed() {
	w.write(weatherFile)
	apply := w.start("apply", "--yes", "--parallel", "1", "--confirm-within", "2s")
	apply.onceStopped("h1: apply Docker") // later it might be confirmed
	apply.signal(syscall.SIGSTOP)         // its ssh goes on
	w.eventually("h1 has gone back", time.Minute, func() bool { return w.try("h1", "ovs-vsctl br-exists br0").exit == 2 })
	apply.signal(syscall.SIGCONT)
	r := apply.wait()
	if r.exit != 1 || !strings.Contains(r.stderr, "the operator was silent for too long") || !strings.HasSuffix(r.stderr, "fabric: no host was changed for good\n") {
		w.t.Errorf("exit status %d\n%s\n%s", r.exit, r.stdout, r.stderr)
	}
	w.t.Log(r.stderr)
	w.same(w.pristine)
}

func (w *weather) killed() {
	w.write(weatherFile)
	apply := w.start("apply", "--yes")
	apply.onceStopped("h2: apply Docker")
	w.on("h2", "kill -KILL $(pgrep -f 'fabric [n]ode --serve' | tail -1)")
	r := apply.wait()
	if r.exit != 1 || !strings.Contains(r.stderr, "fabric: h2: ") || !strings.Contains(r.stderr, "run fabric plan") {
		w.t.Errorf("exit status %d\n%s\n%s", r.exit, r.stdout, r.stderr)
	}
	w.t.Log(r.stdout, r.stderr)
	w.eventually("fabric-watch is through on h2", 90*time.Second, func() bool {
		return w.try("h2", "systemctl is-active fabric-watch").exit != 0
	})
	w.same(w.pristine)
	if why := w.on("h2", "journalctl -u fabric-watch -o cat"); !strings.Contains(why, "an apply was cut off: going back") {
		w.t.Errorf("its log does not say why:\n%s", why)
	}
}

func (w *weather) twice() {
	w.write(weatherFile)
	first := w.start("apply", "--yes")
	first.until("h1: stop dockerd", "h2: stop dockerd", "h3: stop dockerd")
	second := w.fabric("apply", "--yes")
	want := regexp.MustCompile(`^(fabric: h[123]: another fabric apply by [^ ]+@[^ ]+ has been at work on this host since \d\d:\d\d:\d\d UTC: try again when it has ended\n){3}$`)
	if !want.MatchString(said(second)) || second.exit != 1 {
		w.t.Errorf("exit status %d: %s", second.exit, said(second))
	}
	if r := first.wait(); r.exit != 0 {
		w.t.Errorf("the first: exit status %d\n%s", r.exit, r.stderr)
	}
}

// blind finds the fabric applied, and leaves it so.
func (w *weather) blind() {
	before := w.snapshots(w.hosts)
	w.on("h1", "kill -STOP $(pidof ovsdb-server)")
	r := w.fabric("destroy", "--yes")
	w.on("h1", "kill -CONT $(pidof ovsdb-server)")
	want := "fabric: h1: ovsdb-server takes connections on /var/run/openvswitch/db.sock and does not answer within 5s: systemctl restart openvswitch-switch\n"
	if r.exit != 1 || !strings.HasSuffix(r.stderr, want) {
		w.t.Errorf("exit status %d\n%s", r.exit, r.stderr)
	}
	w.same(before)
}

// unreadable finds the fabric applied, and takes it away.
func (w *weather) unreadable() {
	w.on("h1", "cp /etc/docker/daemon.json /root/daemon.json && echo , >> /etc/docker/daemon.json")
	before := w.snapshots(w.hosts)
	r := w.fabric("destroy", "--yes")
	if r.exit != 1 || !strings.HasPrefix(said(r), "fabric: h1: /etc/docker/daemon.json: line ") || strings.Count(said(r), "\n") != 1 {
		w.t.Errorf("exit status %d\n%s", r.exit, r.stderr)
	}
	w.same(before)
	w.on("h1", "mv /root/daemon.json /etc/docker/daemon.json")
	w.must("destroy", "--yes")
	w.same(w.pristine)
}

func (w *weather) withoutDocker() {
	w.write(weatherFile + fourthHost)
	w.on("h4", "dpkg --force-depends --remove docker.io")
	w.fails("h4: Docker is not installed: there is no docker.service: install it with apt-get install docker.io")
}
