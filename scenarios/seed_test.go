//go:build privileged

package scenarios_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestSeed2015 is what the recipe of 2015 promises, and the outage that it
// leaves to 802.1D beside that of RSTP with BFD on the same hosts.
func TestSeed2015(t *testing.T) {
	t.Parallel()
	w := boot(t, "seed-2015", "test-seed")
	hosts := []string{"h1", "h2", "h3"}
	containers := make(map[string]string) // addresses, by host
	step := steps(t, w)

	step("the hosts are as the recipe has them", func(t *testing.T, w *world) {
		w.must("apply", "--yes")
		const look = `ovs-vsctl get bridge br0 stp_enable rstp_enable
			for p in $(ovs-vsctl list-ports br0); do
				echo $p $(ovs-vsctl get interface $p type options bfd)
			done
			ls /sys/class/net/docker0/brif
			cat /sys/class/net/docker0/mtu /sys/class/net/fab-default/mtu
			docker network inspect bridge -f '{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.Gateway}}{{end}}'`
		for h, want := range map[string]string{
			"h1": `gre-h2 gre {remote_ip="192.0.2.12"} {}
gre-h3 gre {remote_ip="192.0.2.13"} {}
patch-default patch {peer=trunk-default} {}
fab-default
1462
1462
172.17.0.0/16 172.17.0.0/18 172.17.0.1`,
			"h2": `gre-h1 gre {remote_ip="192.0.2.11"} {}
gre-h3 gre {remote_ip="192.0.2.13"} {}
patch-default patch {peer=trunk-default} {}
fab-default
1462
1462
172.17.0.0/16 172.17.64.0/18 172.17.64.1`,
			"h3": `gre-h1 gre {remote_ip="192.0.2.11"} {}
gre-h2 gre {remote_ip="192.0.2.12"} {}
patch-default patch {peer=trunk-default} {}
fab-default
1462
1462
172.17.0.0/16 172.17.128.0/18 172.17.128.1`,
		} {
			if diff := cmp.Diff("true\nfalse\n"+want, w.on(h, look)); diff != "" {
				t.Errorf("%s: %s", h, diff)
			}
		}
	})

	step("each container has an address of its host's /18 and the exact MTU", func(t *testing.T, w *world) {
		for _, h := range w.plan().Hosts {
			containers[h.Name] = w.container(h.Name, "c1")
			part := netip.MustParsePrefix(h.Range)
			if part.Bits() != 18 || !part.Contains(netip.MustParseAddr(containers[h.Name])) {
				t.Errorf("%s: %s is not of a /18, but of %s", h.Name, containers[h.Name], part)
			}
			if mtu := w.on(h.Name, "docker exec c1 /bin/busybox cat /sys/class/net/eth0/mtu"); mtu != "1462" {
				t.Errorf("%s: the container has an MTU of %s, want 1462", h.Name, mtu)
			}
		}
	})

	step("each container reaches each other at that MTU", func(t *testing.T, w *world) {
		for _, from := range hosts {
			for _, to := range hosts {
				if from != to && !w.reaches(from, "c1", containers[to], 1462) {
					t.Errorf("the container on %s does not reach that on %s", from, to)
				}
			}
		}
	})

	step("TCP goes between all hosts, and nothing larger than the MTU", func(t *testing.T, w *world) {
		t.Log(w.must("verify", "--iperf").stdout)
	})

	// outage logs how long the container on h2 has no answer from that on h3
	// once the host in the middle is gone, over which it had. It has to end by
	// itself.
	outage := func(t *testing.T, w *world) {
		t.Helper()
		expected := w.expectedOutage("host:h1")
		pings := w.pingFrom("h2", "c1", containers["h3"], 100*time.Millisecond)
		if err := w.lab.PowerCut(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		pings.answersAgain(outageEnds)
		t.Logf("the outage took %s, the plan expects %s", pings.end(), expected)
	}

	step("STP gets around a host in the middle that loses power", func(t *testing.T, w *world) { outage(t, w) })

	step("RSTP with BFD does too", func(t *testing.T, w *world) {
		if err := w.lab.Start(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.write(strings.Replace(w.read(), "protocol: stp", "protocol: rstp", 1))
		w.must("apply", "--yes")
		if on := w.on("h2", "ovs-vsctl get bridge br0 rstp_enable -- get interface gre-h3 bfd:enable"); on != "true\n\"true\"" {
			t.Errorf("RSTP and BFD: %s", on)
		}
		outage(t, w)
	})
}

// outageEnds is three times what 802.1D-1998 promises with its default timers
// (table 8-3), for hosts that are short of time: news of the root reach their
// max age of 20 s, then a port listens and learns for 15 s each.
const outageEnds = 3 * 50 * time.Second

// expectedOutage is what a plan expects of a failure.
func (w *world) expectedOutage(failure string) time.Duration {
	w.t.Helper()
	var o struct {
		OutageMS int `json:"outage_ms"`
	}
	if err := json.Unmarshal([]byte(w.must("plan", "--fail", failure, "--json").stdout), &o); err != nil {
		w.t.Fatal(err)
	}
	return time.Duration(o.OutageMS) * time.Millisecond
}
