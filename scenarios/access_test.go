//go:build privileged

package scenarios_test

import (
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMigration is a fabric that an older build applied, on hosts of three Debian
// releases, and which died because one of them was upgraded to Open vSwitch 4.0.0.
func TestMigration(t *testing.T) {
	t.Parallel()
	w := boot(t, "mixed-debian", "test-migration")
	hosts := []string{"h1", "h2", "h3"}
	w.write(strings.NewReplacer("tunnel: {type: gre}\n", "", "tree: {protocol: stp}\n", "tree: {root: h1, backup: h2}\n").Replace(w.read()))
	pristine := w.pristine(hosts)
	step := steps(t, w)
	containers := make(map[string]string)
	var before map[string]string

	step("an older build applies it, before the upgrade", func(t *testing.T, w *world) {
		w.runSwitchOf("h3", "trixie")
		w.older().must("apply", "--yes")
		for _, h := range hosts {
			containers[h] = w.container(h, "steady")
		}
		w.older().must("verify")
	})

	step("verify names what the upgrade did to it, and the cure", func(t *testing.T, w *world) {
		w.upgradeSwitch("h3")
		var out string
		w.eventually("only broadcast fails", time.Minute, func() bool { // the tree first has to come back
			out = w.fabric("verify", "--containers=false").stdout
			return strings.Contains(out, "FAIL  broadcast   4 of 6 pairs")
		})
		for _, want := range []string{
			"FAIL  broadcast  h1→h3, h2→h3: no answer to an ARP request",
			"joined to the tunnels by br0 itself, as an older fabric made it, and Open vSwitch 4.0.0 floods nothing",
			"do:    run fabric apply, which joins docker0 by a bridge of its own",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("verify does not say %q:\n%s", want, out)
			}
		}
	})

	step("plan tells what the migration costs, and restarts nothing", func(t *testing.T, w *world) {
		before = w.snapshots(hosts)
		out := w.must("plan").stdout
		for _, want := range []string{"+ bridge fab-default", "+ port patch-default", "member br0 → fab-default", "! h1: no way to the others (2 pairs) for up to 0.3 s: h1 moves its docker0"} {
			if !strings.Contains(out, want) {
				t.Errorf("the plan does not contain %q", want)
			}
		}
		if strings.Contains(out, "dockerd restarts") {
			t.Error("dockerd restarts")
		}
		if t.Failed() {
			t.Log(out)
		}
		w.compare(before)
	})

	step("Ctrl-C between the steps leaves the old fabric", func(t *testing.T, w *world) {
		apply := w.start("apply", "--yes")
		apply.until("h1: look again", "h2: look again", "h3: look again")
		apply.signal(syscall.SIGINT)
		if r := apply.wait(); r.exit == 0 || !strings.Contains(r.stderr, "no host was changed for good") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.compare(before)
	})

	step("apply migrates it: neither dockerd nor a container is restarted", func(t *testing.T, w *world) {
		const running = "systemctl show -p MainPID docker; docker inspect -f '{{.Id}} {{.State.Pid}} {{.State.StartedAt}}' steady"
		was := make(map[string]string)
		for _, h := range hosts {
			was[h] = w.on(h, running)
		}
		w.must("apply", "--yes")
		for _, h := range hosts {
			if diff := cmp.Diff(was[h], w.on(h, running)); diff != "" {
				t.Errorf("%s: %s", h, diff)
			}
		}
		w.must("verify")
		for _, h := range hosts {
			for _, other := range hosts {
				if h != other && !w.reaches(h, "steady", containers[other], 1450) {
					t.Errorf("the container of %s does not reach that of %s", h, other)
				}
			}
		}
		if r := w.must("apply", "--yes"); !strings.Contains(r.stdout, "Nothing to do") {
			t.Errorf("a second apply says:\n%s", r.stdout)
		}
	})

	step("a host of it reboots, a switch restarts, and both come back", func(t *testing.T, w *world) {
		if err := w.lab.Reboot(t.Context(), "h2"); err != nil {
			t.Fatal(err)
		}
		w.on("h3", "systemctl restart ovs-vswitchd")
		w.must("verify")
	})

	step("destroy leaves the hosts as they were before the older build came", func(t *testing.T, w *world) {
		for _, h := range hosts {
			w.on(h, "docker rm -f steady && docker rmi busybox")
		}
		w.must("destroy", "--yes")
		w.compare(pristine)
	})

	step("a fabric of STP migrates once its patch ports forward", func(t *testing.T, w *world) {
		w.write(strings.Replace(w.read(), "tree: {", "tree: {protocol: stp, ", 1))
		w.write(strings.Replace(w.read(), "  h3: {address: 198.51.100.13}\n", "", 1))
		w.older().must("apply", "--yes")
		w.container("h1", "c1")
		address := w.container("h2", "c2")
		pings := w.pingFrom("h1", "c1", address, 20*time.Millisecond)
		w.must("apply", "--yes")
		if longest := pings.end(); longest > 5*time.Second { // BenchmarkMigration has the figure: ports that listen and learn make it 30 s
			t.Errorf("nothing passed for %s", longest)
		}
		w.must("verify")
	})
}

// pristine takes the snapshots of hosts before their fabric. Docker 20.10 tells the
// gateway of its default network only once it has been started a second time.
func (w *world) pristine(hosts []string) map[string]string {
	w.t.Helper()
	for _, h := range hosts {
		w.on(h, "systemctl restart docker")
	}
	return w.snapshots(hosts)
}

// TestReleases is the main job on each Debian release that TestThreeHosts does not
// run on.
func TestReleases(t *testing.T) {
	for _, name := range []string{"bookworm", "forky"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := boot(t, "three-hosts", "test-"+name, release(name))
			hosts := []string{"h1", "h2", "h3"}
			pristine := w.pristine(hosts)
			step := steps(t, w)

			step("apply makes one network, and a second one finds nothing to do", func(t *testing.T, w *world) {
				w.must("apply", "--yes")
				if r := w.must("apply", "--yes"); !strings.Contains(r.stdout, "Nothing to do") {
					t.Errorf("a second apply says:\n%s", r.stdout)
				}
				w.must("verify", "--iperf")
			})
			step("a container cannot speak to the tree, nor send frames with a tag", cannotHarm)
			step("a host that reboots comes back by itself", func(t *testing.T, w *world) {
				if err := w.lab.Reboot(t.Context(), "h2"); err != nil {
					t.Fatal(err)
				}
				w.must("verify", "--containers=false")
			})
			step("a restarted switch rejoins without dockerd being restarted", func(t *testing.T, w *world) {
				pid := w.on("h1", "systemctl show -p MainPID docker")
				w.on("h1", "systemctl restart ovs-vswitchd")
				w.must("verify", "--containers=false")
				if diff := cmp.Diff(pid, w.on("h1", "systemctl show -p MainPID docker")); diff != "" {
					t.Error(diff)
				}
			})
			if name == "forky" {
				step("what Docker 28 does by itself keeps nothing from passing", docker28)
				step("verify's image works in containerd's store", containerdStore)
			}
			step("destroy leaves the hosts as they were", func(t *testing.T, w *world) {
				w.must("destroy", "--yes")
				w.compare(pristine)
			})
		})
	}
}

// docker28 looks at what Docker does from version 28 on: containers get MAC
// addresses of no pattern, and what is routed to them from outside is dropped in
// iptables' raw table.
func docker28(t *testing.T, w *world) {
	w.container("h1", "c1")
	w.importImage("h3")
	serve := `docker rm -f c3 >/dev/null 2>&1; docker run -d --stop-signal KILL --name c3 -p 8080:80 busybox /bin/busybox sleep 1d && docker inspect -f '{{.NetworkSettings.Networks.bridge.IPAddress}} {{.NetworkSettings.Networks.bridge.MacAddress}}' c3 | tail -n 1`
	start := func() (address, mac string) {
		t.Helper()
		lines := strings.Split(w.on("h3", serve), "\n")
		address, mac, _ = strings.Cut(lines[len(lines)-1], " ")
		return address, mac
	}
	address, mac := start()
	if raw := w.on("h3", "iptables -t raw -S PREROUTING"); !strings.Contains(raw, "-d "+address+"/32 ! -i docker0") {
		t.Errorf("no rule of Docker's for %s in the raw table:\n%s", address, raw)
	}
	if !w.reaches("h1", "c1", address, 1450) {
		t.Error("a container with a published port is not reached from another host")
	}
	if strings.HasPrefix(mac, "02:42:ac:11:") {
		t.Errorf("the MAC address %s is made of the IP address", mac)
	}
	again, other := start()
	if again != address || other == mac {
		t.Fatalf("the new container has %s and %s, want the address %s and another MAC address than %s", again, other, address, mac)
	}
	w.eventually("the new container is reached at the address of the former one", 5*time.Second, func() bool { return w.reaches("h1", "c1", address, 1450) })
	for _, h := range []string{"h1", "h3"} {
		w.on(h, "docker rm -f c1 c3 2>/dev/null; docker rmi busybox")
	}
}

// containerdStore has dockerd keep its images in containerd's store for the time of
// a verification.
func containerdStore(t *testing.T, w *world) {
	for _, h := range []string{"h1", "h2", "h3"} {
		was := w.on(h, "cat /etc/docker/daemon.json")
		w.on(h, `sed -i '0,/{/s//{"features": {"containerd-snapshotter": true},/' /etc/docker/daemon.json && systemctl restart docker`)
		if driver := w.on(h, "docker info -f '{{.DriverStatus}}'"); !strings.Contains(driver, "io.containerd.snapshotter.v1") {
			t.Errorf("%s: dockerd does not use containerd's store: %s", h, driver)
		}
		defer func() {
			w.install(h, textFile(t, was+"\n"), "/etc/docker/daemon.json")
			w.on(h, "chmod 644 /etc/docker/daemon.json; systemctl restart docker")
		}()
	}
	w.must("verify")
	for _, h := range []string{"h1", "h2", "h3"} {
		if left := w.on(h, "docker image ls -aq; docker ps -aq"); left != "" {
			t.Errorf("%s: verify left %s", h, left)
		}
	}
}

const marker = "frame of the test: "

// frame is an Ethernet frame that carries its name.
func frame(name, to string, header ...byte) string {
	destination, err := hex.DecodeString(strings.ReplaceAll(to, ":", ""))
	if err != nil {
		panic(err)
	}
	data := slices.Concat(destination, []byte{0x02, 0, 0, 0, 0, 0x77}, header, []byte(marker+name), make([]byte, 60))
	return hex.EncodeToString(data)
}

// llc is the header of a frame with a length instead of a type (IEEE 802.3), and
// with the LLC header of a spanning tree's BPDU.
func llc(body []byte) []byte {
	header := binary.BigEndian.AppendUint16(nil, uint16(3+len(body)))
	return slices.Concat(header, []byte{0x42, 0x42, 0x03}, body)
}

// rstBPDU claims a root of the best priority there is (IEEE 802.1D-2004 9.3.3).
var rstBPDU = slices.Concat([]byte{0, 0, 2, 2, 0x3c},
	[]byte{0, 0, 0x02, 0, 0, 0, 0, 0x77}, make([]byte, 4), []byte{0, 0, 0x02, 0, 0, 0, 0, 0x77}, // root, cost, bridge
	[]byte{0x80, 1, 0, 0, 20, 0, 2, 0, 15, 0, 0}) // port, age, max age, hello, delay, version 1 length

// cannotHarm has a container that may send raw frames, as containers may by
// default, send what only switches send, and frames with a VLAN's tag. None leaves
// its host, and the tree stays as it is.
func cannotHarm(t *testing.T, w *world) {
	path, err := framesProgram()
	if err != nil {
		t.Fatal(err)
	}
	had := w.try("h1", "docker image inspect busybox").exit == 0
	w.importImage("h1")
	w.install("h1", path, "/root/frames")
	const all = "ff:ff:ff:ff:ff:ff"
	peer := w.on("h2", "cat /sys/class/net/docker0/address")
	tag := func(kind uint16, vid byte) []byte {
		return append(binary.BigEndian.AppendUint16(nil, kind), 0, vid, 0x88, 0xb5)
	}
	harmful := map[string]string{
		"STP":                    frame("STP", "01:80:c2:00:00:00", llc(make([]byte, 35))...),
		"RSTP":                   frame("RSTP", "01:80:c2:00:00:00", llc(rstBPDU)...),
		"provider's STP":         frame("provider's STP", "01:80:c2:00:00:08", llc(rstBPDU)...),
		"PVST":                   frame("PVST", "01:00:0c:cc:cc:cd", 0, 50, 0xaa, 0xaa, 0x03, 0, 0, 0x0c, 0x01, 0x0b),
		"LACP":                   frame("LACP", "01:80:c2:00:00:02", 0x88, 0x09, 1),
		"LLDP":                   frame("LLDP", "01:80:c2:00:00:0e", 0x88, 0xcc),
		"LLDP to all bridges":    frame("LLDP to all bridges", "01:80:c2:00:00:00", 0x88, 0xcc),
		"LLDP to two ports":      frame("LLDP to two ports", "01:80:c2:00:00:03", 0x88, 0xcc),
		"VLAN 1":                 frame("VLAN 1", all, tag(0x8100, 1)...),
		"VLAN 20":                frame("VLAN 20", all, tag(0x8100, 20)...),
		"VLAN 20 to one host":    frame("VLAN 20 to one host", peer, tag(0x8100, 20)...),
		"provider's VLAN 20":     frame("provider's VLAN 20", all, tag(0x88a8, 20)...),
		"VLAN 20 within VLAN 30": frame("VLAN 20 within VLAN 30", all, append([]byte{0x81, 0, 0, 30}, tag(0x8100, 20)...)...),
	}
	frames := slices.Collect(maps.Values(harmful))
	frames = append(frames, frame("untagged", all, 0x88, 0xb5)) // the last one: when it has left, all others would have

	// The test would see a frame that leaves: without the VLAN of its port this one does.
	control := w.background(w.lab.Sh(t.Context(), "h1", "/root/frames", "watch", "eth0", "20", marker))
	w.eventually("the underlay is watched", time.Minute, func() bool { return strings.Contains(control.said(control.stdout), "watching") })
	const sending = "docker run --rm -v /root/frames:/frames:ro busybox /frames send eth0 "
	w.on("h1", "ovs-vsctl clear Port patch-default tag && "+sending+harmful["VLAN 20"]+"; ovs-vsctl set Port patch-default tag=0")
	w.eventually("a frame that may leave is seen", 10*time.Second, func() bool { return strings.Contains(control.said(control.stdout), "VLAN 20") })

	watch := w.background(w.lab.Sh(t.Context(), "h1", "/root/frames", "watch", "eth0", "30", marker))
	w.eventually("the underlay is watched", time.Minute, func() bool { return strings.Contains(watch.said(watch.stdout), "watching") })
	tree := w.must("status").stdout
	w.on("h1", sending+strings.Join(frames, " "))
	w.eventually("the frame that is allowed has left", 10*time.Second, func() bool { return strings.Contains(watch.said(watch.stdout), "untagged") })
	left := strings.Fields(strings.ReplaceAll(watch.said(watch.stdout), "untagged", ""))
	if diff := cmp.Diff([]string{"watching"}, left); diff != "" {
		t.Errorf("frames left the host: %s", diff)
	}
	if diff := cmp.Diff(tree, w.must("status").stdout); diff != "" {
		t.Errorf("the tree has changed: %s", diff)
	}
	w.on("h1", "pkill -x frames; rm /root/frames")
	if !had {
		w.on("h1", "docker rmi busybox")
	}
	control.wait()
	watch.wait()
}
