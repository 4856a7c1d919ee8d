//go:build privileged && vm

package scenarios_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovsfabric/fabric/lab"
)

// slow is for hosts whose processor is emulated.
const slow = "--timeout-multiplier=20"

// patience is how long a boot, and the fabric after it, may take.
func patience(t *testing.T) time.Duration {
	s := os.Getenv("VM_PATIENCE")
	if s == "" {
		return 15 * time.Minute
	}
	patience, err := time.ParseDuration(s)
	if err != nil {
		t.Fatalf("VM_PATIENCE: %v", err)
	}
	return patience
}

// wantDatapath fails the test unless a host's tunnels are on that datapath.
func (w *world) wantDatapath(host, want, other string) {
	w.t.Helper()
	if datapath := w.on(host, "ovs-appctl dpif/show"); !strings.Contains(datapath, want+"@") || strings.Contains(datapath, other+"@") {
		w.t.Errorf("%s does not use the datapath %s alone:\n%s", host, want, datapath)
	}
}

// TestVirtualMachines is the main job on hosts with a kernel of their own: the
// kernel's datapath, GRE and VXLAN, clocks of their own, and real boots.
func TestVirtualMachines(t *testing.T) {
	patience := patience(t)
	w := boot(t, "three-hosts", "test-vm", func(s *lab.Spec) error {
		s.Patience = patience
		return s.SetDriver(lab.QEMU)
	})
	hosts := []string{"h1", "h2", "h3"}
	trees := map[string]string{"rstp": "bfd: 1000", "stp": "protocol: stp"} // emulated, they cannot send every 100 ms
	file := func(tunnel, tree string) string {
		return fmt.Sprintf(`
version: 1
name: demo
network: 172.17.0.0/16
tunnel: {type: %s}
tree: {%s}
ssh: {user: ops}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
`, tunnel, trees[tree])
	}
	step := steps(t, w)

	step("modules that are missing or barred are named, with what brings them back", func(t *testing.T, w *world) {
		const barred, away = "/etc/modprobe.d/barred.conf", "/root/away"
		w.on("h1", "modprobe -r vport_gre ip_gre; echo blacklist ip_gre > "+barred)
		w.on("h2", fmt.Sprintf(`modprobe -r vport_vxlan vxlan; mkdir %s; mv $(modinfo -n vxlan) %[1]s && depmod`, away))
		for tunnel, want := range map[string][]string{
			"gre":   {"h1: ", "the kernel module ip_gre is not loaded: " + barred + ` says "blacklist ip_gre"`, "take that line out, then modprobe ip_gre"},
			"vxlan": {"h2: ", "the kernel module vxlan is not installed", "apt-get install"},
		} {
			w.write(file(tunnel, "rstp"))
			r := w.fabric("plan", slow)
			for _, part := range want {
				if r.exit != 1 || !strings.Contains(r.stderr, part) {
					t.Errorf("%s: exit status %d, does not say %q\n%s", tunnel, r.exit, part, r.stderr)
				}
			}
		}
		w.on("h1", "rm "+barred)
		w.on("h2", fmt.Sprintf("mv %s/* /lib/modules/$(uname -r)/kernel/drivers/net/vxlan/ && depmod && rmdir %[1]s", away))
	})

	step("an older build applies a fabric, which the next apply migrates", func(t *testing.T, w *world) {
		w.write(file("vxlan", "rstp"))
		w.older().must("apply", "--yes", slow)
		if out := w.must("plan", slow).stdout; !strings.Contains(out, "member br0 → fab-default") {
			t.Errorf("the plan does not move docker0 from br0:\n%s", out)
		}
	})

	for _, kind := range []struct {
		tunnel, tree, mtu string
	}{
		{"vxlan", "rstp", "1450"},
		{"vxlan", "stp", "1450"},
		{"gre", "stp", "1462"},
		{"gre", "rstp", "1462"},
	} {
		step(kind.tunnel+" and "+kind.tree, func(t *testing.T, w *world) {
			w.write(file(kind.tunnel, kind.tree))
			w.must("apply", "--yes", slow)
			t.Log(w.must("verify", slow).stdout)
			for _, h := range hosts {
				w.wantDatapath(h, "system", "netdev")
				if mtu := w.on(h, "cat /sys/class/net/docker0/mtu"); mtu != kind.mtu {
					t.Errorf("%s: MTU %s, want %s", h, mtu, kind.mtu)
				}
			}
		})
	}

	step("clocks that jump by a day during an apply do no harm", func(t *testing.T, w *world) {
		w.write(file("vxlan", "rstp"))
		apply := w.start("apply", "--yes", slow)
		for host, jump := range map[string]string{"h2": "+1 day", "h3": "-1 day"} {
			apply.within(patience, host+": apply Open vSwitch")
			w.on(host, "date -s '"+jump+"'")
		}
		if r := apply.wait(); r.exit != 0 {
			t.Fatalf("exit status %d\n%s%s", r.exit, r.stdout, r.stderr)
		}
		w.must("verify", slow)
	})

	step("all hosts reboot at once, and the fabric is whole again by itself", func(t *testing.T, w *world) {
		var all sync.WaitGroup
		for _, h := range hosts {
			all.Go(func() {
				if err := w.lab.Reboot(t.Context(), h); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		w.eventually("the fabric is whole", patience, func() bool { return w.fabric("verify", slow).exit == 0 })
		if r := w.fabric("plan", "--detailed-exitcode", slow); r.exit != 0 {
			t.Errorf("a plan has changes after the reboot:\n%s", r.stdout)
		}
	})

	step("the others stay connected when the root loses power", func(t *testing.T, w *world) {
		w.container("h2", "c2")
		address := w.container("h3", "c3")
		if err := w.lab.PowerCut(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("h2 reaches h3 around the dead root", patience, func() bool { return w.reaches("h2", "c2", address, 1450) })
	})

	step("the root comes back from the power cut", func(t *testing.T, w *world) {
		if err := w.lab.Start(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the fabric is whole", patience, func() bool { return w.fabric("verify", slow).exit == 0 })
	})

	step("destroy takes everything away", func(t *testing.T, w *world) {
		w.must("destroy", "--yes", slow)
		for _, h := range hosts {
			if bridges := w.on(h, "ovs-vsctl list-br"); bridges != "" {
				t.Errorf("%s: bridges %q", h, bridges)
			}
		}
	})
}

// TestMixedKernels has hosts of two kernels, and one without a kernel's
// datapath, in one fabric.
func TestMixedKernels(t *testing.T) {
	patience := patience(t)
	w := boot(t, "mixed-kernels", "test-kernels", func(s *lab.Spec) error {
		s.Patience = patience
		return nil
	})
	newest, oldest := w.on("h1", "uname -r"), w.on("h2", "uname -r")
	if !strings.HasPrefix(oldest, "6.1.") || strings.HasPrefix(newest, "6.") {
		t.Errorf("h1 and h2 have the kernels %s and %s, want forky's and bookworm's", newest, oldest)
	}
	step := steps(t, w)
	was := w.read()
	for _, tunnel := range []string{"vxlan", "gre"} {
		step(tunnel, func(t *testing.T, w *world) {
			w.write(was + "tunnel: {type: " + tunnel + "}\n")
			w.must("apply", "--yes", slow)
			t.Log(w.must("verify", "--iperf", slow).stdout)
			w.wantDatapath("h1", "system", "netdev")
			w.wantDatapath("h2", "system", "netdev")
			w.wantDatapath("h3", "netdev", "system")
		})
	}
}
