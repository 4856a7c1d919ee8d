//go:build privileged

package ovsdb

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/ovsdb/ovsdbtest"
	"github.com/ovsfabric/fabric/plan"
)

func whats(o plan.Observation) []string {
	var whats []string
	for _, obstacle := range o.Obstacles {
		whats = append(whats, obstacle.What)
	}
	return whats
}

func TestObserveEmptySwitch(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("set", "Open_vSwitch", ".", "ovs_version=3.1.0")
	o := observe(t, s, plan.Query{})
	if o.State.OVS != nil || len(o.Obstacles) > 0 || o.Facts.OVSVersion != "3.1.0" {
		t.Errorf("%+v", o)
	}
	_, err := os.Stat("/sys/module/openvswitch")
	want := []string{"netdev"}
	if err == nil {
		want = append(want, "system")
	}
	if diff := cmp.Diff(want, o.Facts.DatapathTypes); diff != "" {
		t.Errorf("datapath types (-want +got):\n%s", diff)
	}
}

func TestObserveObstaclesInTheDatabase(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.Vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev",
		"--", "add-port", "br0", "gre1", "--", "set", "Interface", "gre1", "type=gre", "options:remote_ip=192.0.2.2")
	o := observe(t, s, plan.Query{Peers: []netip.Addr{netip.MustParseAddr("192.0.2.2")}})
	want := []string{
		"bridge br0 exists and is not the fabric's (ports gre1)",
		"bridge br0 has a gre tunnel to 192.0.2.2 already (port gre1, key none)",
	}
	if diff := cmp.Diff(want, whats(o)); diff != "" || o.State.OVS != nil {
		t.Errorf("state %v, obstacles (-want +got):\n%s", o.State.OVS, diff)
	}
}

func TestObserveDeadSwitch(t *testing.T) {
	s := ovsdbtest.Start(t)
	s.StopDaemon()
	if diff := cmp.Diff([]string{"ovs-vswitchd is not running, though ovsdb-server is"}, whats(observe(t, s, plan.Query{}))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestObserveWithoutServer(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "none"): "Open vSwitch is not there: no socket " + filepath.Join(dir, "none"),
		stale:                      "ovsdb-server is not running: nobody listens on " + stale,
	} {
		var o plan.Observation
		if err := New("unix:"+path, fabric).Observe(deadline(t), plan.Query{Fabric: fabric}, &o); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, whats(o)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !o.Obstacles[0].Blind {
			t.Errorf("%s: the fabric's bridge was not seen, and nothing says so", want)
		}
	}
}

func TestObserveGivesUpWithItsContext(t *testing.T) {
	s := ovsdbtest.StartDatabase(t)
	defer s.FreezeServer()()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := New(s.Endpoint, fabric).Observe(ctx, plan.Query{}, new(plan.Observation)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v", err)
	}
}

// inNamespace runs f in a network namespace of its own.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with its namespace
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

func TestObserveDeviceInTheWay(t *testing.T) {
	s := ovsdbtest.Start(t)
	inNamespace(t, func() {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			t.Error(err)
			return
		}
		var o plan.Observation
		if err := New(s.Endpoint, fabric).Observe(t.Context(), plan.Query{Fabric: fabric}, &o); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"network device br0 exists and is not a bridge of Open vSwitch"}, whats(o)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// An ovs-vswitchd that was stopped while the bridge went from the database
// leaves its device, on the userspace datapath.
func TestWhatABridgeHasLeftGoesAndIsNotInTheWay(t *testing.T) {
	s := ovsdbtest.Start(t)
	inNamespace(t, func() {
		own := &netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "br0"}, Mode: netlink.TUNTAP_MODE_TAP}
		if err := netlink.LinkAdd(own); err != nil {
			t.Error(err)
			return
		}
		r := New(s.Endpoint, fabric)
		look := func(want int, whose string) {
			var o plan.Observation
			if err := r.Observe(t.Context(), plan.Query{Fabric: fabric}, &o); err != nil || len(o.Obstacles) != want {
				t.Errorf("%s device: %v, in the way: %v", whose, err, whats(o))
			}
		}
		look(1, "somebody else's")
		if err := r.Apply(t.Context(), plan.HostState{}); err != nil {
			t.Error(err)
		}
		look(1, "somebody else's")
		sum := sha256.Sum256([]byte(fabric))
		if err := netlink.LinkSetHardwareAddr(own, net.HardwareAddr{0x02, 0xfa, sum[0], sum[1], 0, 1}); err != nil {
			t.Error(err)
		}
		look(0, "the fabric's")
		if err := r.Apply(t.Context(), plan.HostState{}); err != nil {
			t.Error(err)
		}
		if _, err := netlink.LinkByName("br0"); err == nil {
			t.Error("the device is still there")
		}
	})
}

// A second bridge of the same switch, on the other end of a veth pair, is
// the root of the tree.
func TestTreeOfSwitch(t *testing.T) {
	for _, protocol := range []string{"rstp", "stp"} {
		t.Run(protocol, func(t *testing.T) {
			s := ovsdbtest.Start(t)
			s.Exec("ip", "link", "add", "va", "type", "veth", "peer", "vb")
			s.Exec("ip", "link", "set", "va", "up")
			s.Exec("ip", "link", "set", "vb", "up")
			s.Vsctl("add-br", "br9", "--", "set", "Bridge", "br9", "datapath_type=netdev", protocol+"_enable=true",
				"other_config:rstp-priority=4096", "other_config:rstp-address=02:00:00:00:00:09",
				"other_config:stp-priority=4096", "other_config:stp-system-id=02:00:00:00:00:09", "--", "add-port", "br9", "vb")
			want := bridge(tunnel("f-h2", "h2", "192.0.2.2"))
			want.OtherConfig = map[string]string{
				"rstp-priority": "8192", "rstp-address": "02:00:00:00:00:01",
				"stp-priority": "8192", "stp-system-id": "02:00:00:00:00:01",
			}
			want.RSTP, want.STP = protocol == "rstp", protocol == "stp"
			apply(t, s, want)
			s.Vsctl("add-port", "br0", "va")

			status := await(t, s, func(status wire.TreeStatus) bool {
				return slices.ContainsFunc(status.Ports, func(p wire.TreePort) bool { return p.Name == "va" && p.Role == "root" }) &&
					status.RootPathCost > 0
			})
			if diff := cmp.Diff(wire.BridgeID{Priority: 8192, MAC: "02:00:00:00:00:01"}, status.Bridge); diff != "" {
				t.Errorf("bridge (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(wire.BridgeID{Priority: 4096, MAC: "02:00:00:00:00:09"}, status.Root); diff != "" {
				t.Errorf("root (-want +got):\n%s", diff)
			}
			if p := status.Ports[0]; p.Name != "f-h2" || p.Peer != "h2" || p.BFD != "down" || p.OFPort < 1 || p.Error != "" {
				t.Errorf("tunnel: %+v", p)
			}
		})
	}
}

// await asks for the tree until it is as wanted.
func await(t *testing.T, s *ovsdbtest.Switch, wanted func(wire.TreeStatus) bool) wire.TreeStatus {
	t.Helper()
	ctx := deadline(t)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		status, err := New(s.Endpoint, fabric).Tree(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(status) {
			return status
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the tree stays %+v\n%s", status, strings.TrimSpace(s.Vsctl("list", "Port")))
		case <-tick.C:
		}
	}
}
