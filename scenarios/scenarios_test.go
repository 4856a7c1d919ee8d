//go:build privileged

package scenarios_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestThreeHosts is the whole way on three hosts of Debian trixie, by VXLAN
// and RSTP. Each step stands on the one before.
func TestThreeHosts(t *testing.T) {
	t.Parallel()
	w := boot(t, "three-hosts", "test-three")
	hosts := []string{"h1", "h2", "h3"}
	const foreign = "{\n  \"labels\": [\"rack=7\"],\n\n  \"log-opts\": {\"max-size\":  \"10m\"}\n}\n"
	for _, h := range hosts {
		w.on(h, fmt.Sprintf("mkdir -p /etc/docker && printf %%s '%s' > /etc/docker/daemon.json && systemctl restart docker", foreign))
		w.on(h, "ovs-vsctl add-br theirs -- set bridge theirs external_ids:owner=somebody other_config:theirs=1")
	}
	pristine := w.snapshots(hosts)
	step := steps(t, w)

	step("plan shows what would change and writes nothing", func(t *testing.T, w *world) {
		out := w.must("plan").stdout
		for _, want := range []string{
			"MTU     1450 = 1500 (br-ul on h1 towards h2) less 50 for VXLAN over IPv4",
			"172.17.64.0/18", "172.17.64.1", "+ bridge br0", "+ port vx-h2",
			"~ link docker0", "address 172.17.0.1/16 → 172.17.64.1/16", "! dockerd restarts",
			"blocked: h2–h3", "3 of 3 hosts would change",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("the plan does not contain %q", want)
			}
		}
		if t.Failed() {
			t.Log(out)
		}
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 2 {
			t.Errorf("--detailed-exitcode: exit status %d, want 2", r.exit)
		}
		w.compare(pristine)
	})

	step("apply asks before it writes", func(t *testing.T, w *world) {
		r := w.fabric("apply")
		if r.exit != 1 || !strings.Contains(r.stderr, "--yes") {
			t.Errorf("exit status %d: %s", r.exit, r.stderr)
		}
		w.compare(pristine)
	})

	step("apply makes one network of the hosts", func(t *testing.T, w *world) {
		t.Log(w.must("apply", "--yes").stderr)
		w.container("h1", "c1")
		address := w.container("h3", "c3")
		if !strings.HasPrefix(address, "172.17.128.") {
			t.Errorf("the container on h3 has %s, which is not of h3's range", address)
		}
		if !w.reaches("h1", "c1", address, 1450) {
			t.Error("a packet of the fabric's MTU does not get from a container on h1 to one on h3")
		}
	})

	step("other keys of daemon.json keep their bytes", func(t *testing.T, w *world) {
		got := w.on("h2", "cat /etc/docker/daemon.json")
		for _, want := range []string{`"labels": ["rack=7"]`, `"log-opts": {"max-size":  "10m"}`, `"fixed-cidr": "172.17.64.0/18"`} {
			if !strings.Contains(got, want) {
				t.Errorf("daemon.json lost %q:\n%s", want, got)
			}
		}
	})

	step("a second apply changes nothing and says so", func(t *testing.T, w *world) {
		before := make(map[string]string)
		const look = "systemctl show -p MainPID docker; ovs-vsctl get Open_vSwitch . next_cfg; ls -l --time-style=full-iso /etc/docker /etc/fabric /usr/local/lib/fabric"
		for _, h := range hosts {
			before[h] = w.on(h, look)
		}
		out := w.must("apply", "--yes").stdout
		if !strings.Contains(out, "Nothing to do: 3 hosts are as the file wants it.") {
			t.Errorf("apply says:\n%s", out)
		}
		for _, h := range hosts {
			if diff := cmp.Diff(before[h], w.on(h, look)); diff != "" {
				t.Errorf("%s: %s", h, diff)
			}
		}
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 0 {
			t.Errorf("plan --detailed-exitcode: exit status %d, want 0", r.exit)
		}
	})

	step("verify passes, with throughput and containers", func(t *testing.T, w *world) {
		t.Log(w.must("verify", "--iperf").stdout)
	})

	step("verify prints JSON for machines", func(t *testing.T, w *world) {
		var report struct {
			Passed bool `json:"passed"`
			Checks []struct {
				Name   string `json:"name"`
				Status string `json:"status"`
			} `json:"checks"`
		}
		if err := json.Unmarshal([]byte(w.must("verify", "--json").stdout), &report); err != nil {
			t.Fatal(err)
		}
		seen := make(map[string]bool)
		for _, c := range report.Checks {
			seen[c.Name] = true
		}
		for _, name := range []string{"tree", "ping", "broadcast", "mtu", "oversize", "addresses", "containers"} {
			if !seen[name] {
				t.Errorf("no check %q in the report", name)
			}
		}
		if !report.Passed {
			t.Error("not passed")
		}
	})

	step("a container cannot speak to the tree, nor send frames with a tag", cannotHarm)

	step("status shows the live tree", func(t *testing.T, w *world) {
		out := w.must("status").stdout
		for _, want := range []string{"vx-h3", "alternate", "discarding", "designated", "root"} {
			if !strings.Contains(out, want) {
				t.Errorf("status does not show %q:\n%s", want, out)
			}
		}
	})

	step("one ssh session a host is enough for an apply", func(t *testing.T, w *world) {
		w.write(strings.Replace(w.read(), "hosts:", "tunnel: {key: 7}\nhosts:", 1))
		logins := func(h string) int {
			n, err := strconv.Atoi(w.on(h, "journalctl -u ssh -o cat | grep -c 'Accepted publickey'"))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		before := make(map[string]int)
		for _, h := range hosts {
			before[h] = logins(h)
		}
		w.must("apply", "--yes")
		for _, h := range hosts {
			if now := logins(h); now-before[h] != 1 {
				t.Errorf("%s: %d logins in one apply", h, now-before[h])
			}
		}
	})

	step("verify finds what was broken behind its back", func(t *testing.T, w *world) {
		w.on("h3", "ip link set fab-default nomaster")
		r := w.fabric("verify", "--containers=false")
		if r.exit != 1 || !strings.Contains(r.stdout, "h3") {
			t.Errorf("exit status %d\n%s", r.exit, r.stdout)
		}
		w.must("apply", "--yes")
		w.must("verify", "--containers=false")
	})

	step("a host that reboots comes back by itself, dockerd after its bridge", func(t *testing.T, w *world) {
		if err := w.lab.Reboot(t.Context(), "h2"); err != nil {
			t.Fatal(err)
		}
		w.must("verify")
		times := w.on("h2", "systemctl show -p ActiveEnterTimestampMonotonic --value fabric-restore; systemctl show -p ExecMainStartTimestampMonotonic --value docker")
		var restored, started int64
		if _, err := fmt.Sscan(times, &restored, &started); err != nil {
			t.Fatal(err)
		}
		if restored == 0 || started < restored {
			t.Errorf("dockerd started at %d µs, docker0 stood at %d µs", started, restored)
		}
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 0 {
			t.Errorf("after the reboot a plan has changes:\n%s", r.stdout)
		}
	})

	step("a restarted switch rejoins without dockerd being restarted", func(t *testing.T, w *world) {
		pid := w.on("h1", "systemctl show -p MainPID docker")
		w.on("h1", "systemctl restart ovs-vswitchd")
		w.must("verify", "--containers=false")
		if diff := cmp.Diff(pid, w.on("h1", "systemctl show -p MainPID docker")); diff != "" {
			t.Error(diff)
		}
	})

	step("a fabric whose bridges were deleted is made whole by an apply", func(t *testing.T, w *world) {
		w.on("h1", "ovs-vsctl del-br br0 -- del-br fab-default")
		w.on("h2", "ovs-vsctl del-br br0")
		w.on("h3", "ovs-vsctl del-br fab-default")
		w.must("apply", "--yes")
		w.must("verify", "--containers=false")
	})

	step("vxlan becomes gre and nothing stale is left", func(t *testing.T, w *world) {
		before := w.lock()
		w.write(strings.Replace(w.read(), "tunnel: {key: 7}", "tunnel: {type: gre}", 1))
		w.must("apply", "--yes")
		w.must("verify", "--containers=false")
		if ports := w.on("h1", "ovs-vsctl list-ports br0"); ports != "gre-h2\ngre-h3\npatch-default" {
			t.Errorf("ports of br0: %q", ports)
		}
		if mtu := w.on("h1", "cat /sys/class/net/docker0/mtu"); mtu != "1462" {
			t.Errorf("MTU %s, want 1462", mtu)
		}
		if diff := cmp.Diff(before, w.lock()); diff != "" {
			t.Error(diff)
		}
	})

	step("the root moves where the file says", func(t *testing.T, w *world) {
		w.write(strings.Replace(w.read(), "hosts:", "tree: {root: h3, backup: h2}\nhosts:", 1))
		w.must("apply", "--yes")
		w.must("verify", "--containers=false")
	})

	step("a host that is removed loses what the fabric made, the others keep their ranges", func(t *testing.T, w *world) {
		all := w.read()
		before := w.plan()
		w.write(strings.Replace(all, "  h1: {address: 192.0.2.11}\n", "", 1))
		w.must("apply", "--yes")
		w.compare(map[string]string{"h1": pristine["h1"]})
		if ports := w.on("h2", "ovs-vsctl list-ports br0"); ports != "gre-h3\npatch-default" {
			t.Errorf("ports of br0 on h2: %q", ports)
		}
		w.must("verify", "--containers=false")
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 0 {
			t.Errorf("a plan still has changes:\n%s", r.stdout)
		}
		w.write(all)
		w.must("apply", "--yes")
		w.must("verify", "--containers=false")
		after := w.plan()
		for i, h := range before.Hosts {
			if after.Hosts[i].Range != h.Range {
				t.Errorf("%s moved from %s to %s", h.Name, h.Range, after.Hosts[i].Range)
			}
		}
	})

	step("Ctrl-C in the middle leaves every host as it was", func(t *testing.T, w *world) {
		before := w.snapshots(hosts)
		file := w.read()
		w.write(strings.Replace(file, "tunnel: {type: gre}", "tunnel: {type: geneve}", 1))
		apply := w.start("apply", "--yes")
		apply.until("apply links") // a host stands half way, its dockerd stopped
		apply.signal(syscall.SIGINT)
		if r := apply.wait(); r.exit == 0 || !strings.Contains(r.stderr, "no host was changed for good") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.compare(before)
		w.write(file)
	})

	step("destroy leaves the hosts as they were before the fabric", func(t *testing.T, w *world) {
		starts := func(h string) string {
			return w.on(h, "journalctl -u docker -o cat | grep -c '^Starting docker.service'")
		}
		before := make(map[string]string)
		for _, h := range hosts {
			before[h] = starts(h)
		}
		w.must("destroy", "--yes")
		w.compare(pristine)
		for _, h := range hosts {
			was, _ := strconv.Atoi(before[h])
			if now, err := strconv.Atoi(starts(h)); err != nil || now != was+1 {
				t.Errorf("%s: dockerd was started %d times, want once (%v)", h, now-was, err)
			}
		}
		if r := w.must("destroy", "--yes"); !strings.Contains(r.stdout, "Nothing to do") {
			t.Errorf("a second destroy says:\n%s", r.stdout)
		}
	})
}

// steps runs parts of a test that stand on each other: none is begun after
// one that failed.
func steps(t *testing.T, w *world) func(name string, do func(t *testing.T, w *world)) {
	return func(name string, do func(t *testing.T, w *world)) {
		t.Helper()
		if !t.Run(name, func(t *testing.T) { do(t, w.at(t)) }) {
			t.FailNow()
		}
	}
}

// TestMixedDebian is the whole way on hosts of bookworm, trixie and forky: by GRE
// and STP, as the original recipe has it, and then by the other tunnels with
// RSTP.
func TestMixedDebian(t *testing.T) {
	t.Parallel()
	w := boot(t, "mixed-debian", "test-mixed")
	step := steps(t, w)

	step("gre and stp", func(t *testing.T, w *world) {
		w.must("apply", "--yes")
		w.must("verify")
		if mtu := w.plan().MTU.Value; mtu != 1462 {
			t.Errorf("MTU %d, want 1462", mtu)
		}
	})

	step("a host of bookworm that reboots comes back by itself", func(t *testing.T, w *world) {
		if err := w.lab.Reboot(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.must("verify")
	})

	for _, tunnel := range []struct {
		name string
		mtu  int
	}{{"vxlan", 1450}, {"geneve", 1450}} {
		step(tunnel.name+" and rstp", func(t *testing.T, w *world) {
			w.write(fmt.Sprintf(`
version: 1
name: mixed
network: 10.17.0.0/16
tunnel: {type: %s}
hosts:
  h1: {address: 198.51.100.11}
  h2: {address: 198.51.100.12}
  h3: {address: 198.51.100.13}
`, tunnel.name))
			w.must("apply", "--yes")
			w.must("verify")
			if mtu := w.plan().MTU.Value; mtu != tunnel.mtu {
				t.Errorf("MTU %d, want %d", mtu, tunnel.mtu)
			}
		})
	}

	step("destroy takes everything away", func(t *testing.T, w *world) {
		w.must("destroy", "--yes")
		for _, h := range []string{"h1", "h2", "h3"} {
			if bridges := w.on(h, "ovs-vsctl list-br"); bridges != "br-ul" {
				t.Errorf("%s: bridges %q", h, bridges)
			}
		}
	})
}

// TestFourHosts is a ring of four hosts with containers on a bridge that is
// not docker0.
func TestFourHosts(t *testing.T) {
	t.Parallel()
	w := boot(t, "four-hosts", "test-four")
	w.write(w.read() + "docker: {bridge: fabric0}\ntree: {root: h1, backup: h3}\n")
	hosts := []string{"h1", "h2", "h3", "h4"}
	pristine := w.snapshots(hosts)
	step := steps(t, w)

	step("containers go to a bridge of the file's name", func(t *testing.T, w *world) {
		w.must("apply", "--yes")
		w.must("verify")
		if r := w.must("apply", "--yes"); !strings.Contains(r.stdout, "Nothing to do") {
			t.Errorf("a second apply says:\n%s", r.stdout)
		}
	})

	step("a verification times the underlay between all hosts, and a plan goes by that", func(t *testing.T, w *world) {
		report := w.must("verify", "--json", "--containers=false").stdout
		var times struct {
			Pairs []struct {
				Average time.Duration `json:"avg_ns"`
			} `json:"underlay_rtts"`
		}
		if err := json.Unmarshal([]byte(report), &times); err != nil {
			t.Fatal(err)
		}
		if len(times.Pairs) != 12 {
			t.Errorf("%d pairs are timed, want those of h1–h3 and h2–h4, which are no neighbours, too: 12", len(times.Pairs))
		}
		for _, pair := range times.Pairs {
			if pair.Average <= 0 {
				t.Errorf("a round-trip time of %s", pair.Average)
			}
		}
		if err := os.WriteFile(filepath.Join(filepath.Dir(w.file), "report.json"), []byte(report), 0o644); err != nil {
			t.Fatal(err)
		}
		file := w.read()
		w.write(strings.Replace(file, "strategy: ring", "strategy: ring, rtt: report.json", 1))
		w.must("plan", "--offline")
		w.write(file)
	})

	step("the others stay connected when the root dies", func(t *testing.T, w *world) {
		w.container("h2", "c2")
		address := w.container("h4", "c4")
		if err := w.lab.PowerOff(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("h2 reaches h4 around the dead root", 30*time.Second, func() bool { return w.reaches("h2", "c2", address, 1450) })
	})

	step("a dead host is named by plan, which changes nothing", func(t *testing.T, w *world) {
		r := w.fabric("plan")
		if r.exit != 1 || !strings.Contains(r.stderr, "h1: it does not answer") {
			t.Errorf("exit status %d: %s", r.exit, r.stderr)
		}
	})

	step("the root comes back and is the root again", func(t *testing.T, w *world) {
		if err := w.lab.Start(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.must("verify")
	})

	step("a host that was away when it was removed is noticed when it comes back, and cleaned", func(t *testing.T, w *world) {
		if err := w.lab.PowerOff(t.Context(), "h4"); err != nil {
			t.Fatal(err)
		}
		all := w.read()
		w.write(strings.Replace(all, "  h4: {address: 203.0.113.14}\n", "", 1))
		if r := w.must("apply", "--yes"); !strings.Contains(r.stdout, "warning: h4: it does not answer") {
			t.Errorf("apply says nothing of h4:\n%s", r.stdout)
		}
		if err := w.lab.Start(t.Context(), "h4"); err != nil {
			t.Fatal(err)
		}
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 2 || !strings.Contains(r.stdout, "- bridge br0") {
			t.Errorf("plan: exit status %d\n%s", r.exit, r.stdout)
		}
		if r := w.fabric("verify", "--containers=false"); r.exit != 1 || !strings.Contains(r.stdout, "h4 did not answer when it was removed from the file") {
			t.Errorf("verify: exit status %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
		w.must("apply", "--yes")
		w.compare(map[string]string{"h4": pristine["h4"]})
		w.must("verify", "--containers=false")
		w.write(all)
		w.must("apply", "--yes")
	})

	step("destroy leaves the hosts as they were before the fabric", func(t *testing.T, w *world) {
		w.must("destroy", "--yes")
		w.compare(pristine)
	})
}
