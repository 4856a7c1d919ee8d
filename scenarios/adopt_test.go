//go:build privileged

package scenarios_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// byHand is how one of the hosts was made a part of the network by hand.
type byHand struct {
	address string // of docker0
	peers   []string
	docker  string // a script that has dockerd be told
}

// handMade is the recipe that people followed before there was fabric: GRE
// tunnels from each host to each other, the spanning tree with its defaults,
// docker0 with br0 as a member, and a part of its network for each dockerd,
// told in the three ways that there are.
var handMade = map[string]byHand{
	"h1": {
		"172.17.64.5", []string{"192.0.2.12", "192.0.2.13"},
		`mkdir -p /etc/docker && printf '{"labels": ["a=1"],\n "bip":"172.17.64.5/16", "fixed-cidr": "172.17.64.0/18",\n"mtu":1462}' > /etc/docker/daemon.json`,
	},
	"h2": {
		"172.17.128.1", []string{"192.0.2.11", "192.0.2.13"},
		`echo 'DOCKER_OPTS="--bridge docker0 --fixed-cidr=172.17.128.0/18 --mtu 1462"' >> /etc/default/docker`,
	},
	"h3": {
		"172.17.0.3", []string{"192.0.2.11", "192.0.2.12"},
		`mkdir -p /etc/systemd/system/docker.service.d && printf '[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// --bip 172.17.0.3/16 --fixed-cidr 172.17.192.0/18 --mtu=1462\n' > /etc/systemd/system/docker.service.d/hand.conf && systemctl daemon-reload`,
	},
}

func (w *world) makeByHand(host string, hand byHand) {
	w.t.Helper()
	var ports strings.Builder
	for i, peer := range hand.peers {
		fmt.Fprintf(&ports, " -- add-port br0 gre%d -- set interface gre%[1]d type=gre options:remote_ip=%s -- set port gre%[1]d external_ids:who=me", i+1, peer)
	}
	// This kernel has no datapath of Open vSwitch; a userspace one does too.
	w.on(host, fmt.Sprintf(`set -e
		ovs-vsctl add-br br0 -- set bridge br0 datapath_type=netdev stp_enable=true external_ids:who=me%s
		systemctl stop docker.socket docker.service; rm -rf /var/lib/docker/network
		ip link del docker0; ip link add docker0 type bridge; ip address add %s/16 dev docker0
		ip link set br0 mtu 1462 up; ip link set br0 master docker0; ip link set docker0 mtu 1462 up
		mkdir -p /etc/network
		printf 'auto br0=br0\nallow-ovs br0\niface br0 inet manual\n\tovs_type OVSBridge\n\niface docker0 inet static\n\tbridge_ports br0\n' > /etc/network/interfaces
		%s
		systemctl start docker`, &ports, hand.address, hand.docker))
}

const handMadeFile = `
version: 1
name: demo
network: 172.17.0.0/16
ssh: {user: ops}
tunnel: {type: gre}
tree: {root: h1, backup: h2}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
`

// TestAdoption is hosts that somebody made one network by hand.
func TestAdoption(t *testing.T) {
	t.Parallel()
	w := boot(t, "three-hosts", "test-adoption")
	w.write(handMadeFile)
	hosts := slices.Sorted(maps.Keys(handMade))
	for _, h := range hosts {
		w.makeByHand(h, handMade[h])
	}
	for _, h := range hosts {
		w.importImage(h)
		w.on(h, "docker run -d --restart always --stop-signal KILL --name c1 busybox /bin/busybox sleep 1d")
	}
	w.eventually("the network that was made by hand carries", time.Minute, func() bool {
		return w.try("h1", "ping -c 1 -W 1 172.17.128.1 && ping -c 1 -W 1 172.17.0.3").exit == 0
	})
	before := w.snapshots(hosts)
	step := steps(t, w)

	step("without --adopt it is in the way, and the cure says so", func(t *testing.T, w *world) {
		r := w.fabric("plan")
		for _, want := range []string{
			"h1: bridge br0 exists and is not the fabric's (ports gre1, gre2)", "or take it over: fabric apply --adopt",
			`h1: /etc/docker/daemon.json sets "bip"`, "h2: dockerd is started with --fixed-cidr 172.17.128.0/18",
		} {
			if r.exit != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("exit status %d, does not say %q\n%s", r.exit, want, r.stderr)
			}
		}
		w.compare(before)
	})

	step("flags that dockerd would have again are named with their place", func(t *testing.T, w *world) {
		r := w.fabric("plan", "--adopt")
		for _, want := range []string{
			"h2: dockerd is started with --bridge docker0", "by /etc/default/docker:", "h3: dockerd is started with --bip 172.17.0.3/16", "by docker.service or a drop-in of it",
			"run systemctl daemon-reload, do not restart dockerd",
		} {
			if r.exit != 1 || !strings.Contains(r.stderr, want) {
				t.Errorf("exit status %d, does not say %q\n%s", r.exit, want, r.stderr)
			}
		}
		w.compare(before)
		w.on("h2", "sed -i '/^DOCKER_OPTS/d' /etc/default/docker")
		w.on("h3", "rm /etc/systemd/system/docker.service.d/hand.conf && systemctl daemon-reload")
	})

	step("plan --adopt shows what is taken over, and keeps ranges and addresses", func(t *testing.T, w *world) {
		out := w.must("plan", "--adopt").stdout
		for _, want := range []string{
			"172.17.64.0/18   172.17.64.5", "172.17.128.0/18  172.17.128.1", "172.17.192.0/18  172.17.192.1",
			"~ bridge br0:", "~ port gre1:", "address 172.17.0.3/16 → 172.17.192.1/16", "made by hand",
			"warning: h1: /etc/network/interfaces:3 makes one of the fabric's bridges at boot too",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("the plan does not contain %q", want)
			}
		}
		if t.Failed() {
			t.Log(out)
		}
	})

	step("Ctrl-C leaves what was made by hand", func(t *testing.T, w *world) {
		before := w.snapshots([]string{"h1"})
		apply := w.start("apply", "--adopt", "--yes")
		apply.until("h1: apply Docker", "h2: apply Docker", "h3: apply Docker") // later it might be confirmed
		apply.signal(syscall.SIGINT)
		if r := apply.wait(); r.exit == 0 || !strings.Contains(r.stderr, "no host was changed for good") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.compare(before)
		w.eventually("the network that was made by hand carries again", 2*time.Minute, func() bool {
			return w.try("h1", "ping -c 1 -W 1 172.17.128.1 && ping -c 1 -W 1 172.17.0.3").exit == 0
		})
	})

	step("apply --adopt takes the hosts over, with one restart of dockerd", func(t *testing.T, w *world) {
		rows := "ovs-vsctl --columns=_uuid,external_ids get port gre1 _uuid external_ids:who; ovs-vsctl get bridge br0 _uuid external_ids:who"
		rowsBefore, starts := w.on("h2", rows), w.on("h2", "journalctl -u docker -o cat | grep -c '^Starting docker.service'")
		pings := w.ping("h1", "172.17.128.1", 50*time.Millisecond)
		t.Log(w.must("apply", "--adopt", "--yes").stderr)
		t.Logf("the longest outage between two hosts: %s", pings.end())
		if diff := cmp.Diff(rowsBefore, w.on("h2", rows)); diff != "" {
			t.Errorf("rows of Open vSwitch were made anew: %s", diff)
		}
		var was, now int
		if _, err := fmt.Sscan(starts+" "+w.on("h2", "journalctl -u docker -o cat | grep -c '^Starting docker.service'"), &was, &now); err != nil || now != was+1 {
			t.Errorf("dockerd was started %d times (%v)", now-was, err)
		}
		w.must("verify")
		for _, h := range hosts {
			if running := w.on(h, "docker inspect -f '{{.State.Running}}' c1"); running != "true" {
				t.Errorf("%s: the container does not run", h)
			}
		}
		if r := w.must("apply", "--yes"); !strings.Contains(r.stdout, "Nothing to do") {
			t.Errorf("a second apply says:\n%s", r.stdout)
		}
		if lock := w.lock(); !strings.Contains(lock, "host h1 id=1 range=172.17.64.0/18 address=172.17.64.5 ") {
			t.Errorf("the lock:\n%s", lock)
		}
	})

	step("destroy leaves hosts without a fabric, and without what was made by hand", func(t *testing.T, w *world) {
		w.must("destroy", "--yes")
		for _, h := range hosts {
			if bridges := w.on(h, "ovs-vsctl list-br"); bridges != "br-ul" {
				t.Errorf("%s: bridges %q", h, bridges)
			}
		}
		if got := w.on("h1", "cat /etc/docker/daemon.json"); strings.Contains(got, "fixed-cidr") || !strings.Contains(got, `"labels": ["a=1"]`) {
			t.Errorf("daemon.json: %s", got)
		}
	})
}

// TestAdoptionOfATree is hosts whose tree is of the protocol that the file
// wants, and which the plan keeps or moves as the file says.
func TestAdoptionOfATree(t *testing.T) {
	t.Parallel()
	w := boot(t, "three-hosts", "test-adoption-tree")
	hosts := slices.Sorted(maps.Keys(handMade))
	for i, h := range hosts {
		address, pool := fmt.Sprintf("172.17.%d.1", 64*(i+1)), fmt.Sprintf("172.17.%d.0/18", 64*(i+1))
		w.makeByHand(h, byHand{address, handMade[h].peers, fmt.Sprintf(
			`mkdir -p /etc/docker && printf '{"bip": "%s/16", "fixed-cidr": "%s", "mtu": 1462}' > /etc/docker/daemon.json`, address, pool)})
	}
	var root string
	w.eventually("the tree that was made by hand stands", 2*time.Minute, func() bool {
		var roots []string
		for _, h := range hosts {
			if w.try(h, `test "$(ovs-vsctl get bridge br0 status:stp_bridge_id)" = "$(ovs-vsctl get bridge br0 status:stp_designated_root)"`).exit == 0 {
				roots = append(roots, h)
			}
		}
		root = strings.Join(roots, "")
		return len(roots) == 1 && w.try("h1", "ping -c 1 -W 1 172.17.128.1 && ping -c 1 -W 1 172.17.192.1").exit == 0 &&
			w.try("h2", "ping -c 1 -W 1 172.17.192.1").exit == 0
	})
	other := map[string]string{"h1": "h2", "h2": "h3", "h3": "h1"}[root]
	file := func(root, backup string) string {
		return strings.Replace(handMadeFile, "root: h1, backup: h2", fmt.Sprintf("protocol: stp, root: %s, backup: %s", root, backup), 1)
	}
	moves := root + " is the root of the tree that was made by hand, and "

	w.write(file(other, root))
	if out := w.must("plan", "--adopt").stdout; !strings.Contains(out, moves+other+" is to be") {
		t.Errorf("the plan does not say that the root moves:\n%s", out)
	}
	w.write(file(root, other))
	if out := w.must("plan", "--adopt").stdout; strings.Contains(out, moves) {
		t.Errorf("the plan says that the root moves:\n%s", out)
	}
	from, to := "h1", "172.17.128.1"
	pings := w.ping(from, to, 50*time.Millisecond)
	w.must("apply", "--adopt", "--yes")
	out := pings.end()
	t.Logf("the longest outage between two hosts: %s", out)
	if out > 15*time.Second { // half of what a port takes to listen and learn
		t.Errorf("%s did not reach %s for %s: a port listened and learned", from, to, out)
	}
	w.must("verify")
}
