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

// TestVirtualMachines is the main job on hosts with a kernel of their own: the
// kernel's datapath, GRE and VXLAN, and real boots. VM_PATIENCE is how long a
// boot, and the fabric after it, may take.
func TestVirtualMachines(t *testing.T) {
	patience := 15 * time.Minute
	if s := os.Getenv("VM_PATIENCE"); s != "" {
		var err error
		if patience, err = time.ParseDuration(s); err != nil {
			t.Fatalf("VM_PATIENCE: %v", err)
		}
	}
	w := boot(t, "three-hosts", "test-vm", func(s *lab.Spec) error {
		s.Patience = patience
		return s.SetDriver(lab.QEMU)
	})
	hosts := []string{"h1", "h2", "h3"}
	settle := "--settle=" + patience.String()
	step := steps(t, w)

	for _, kind := range []struct {
		tunnel, tree string
		mtu          int
	}{
		{"vxlan", "rstp", 1450},
		{"vxlan", "stp", 1450},
		{"gre", "stp", 1462},
		{"gre", "rstp", 1462},
	} {
		step(kind.tunnel+" and "+kind.tree, func(t *testing.T, w *world) {
			w.write(fmt.Sprintf(`
version: 1
name: demo
network: 172.17.0.0/16
tunnel: {type: %s}
tree: {protocol: %s}
ssh: {user: ops}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
`, kind.tunnel, kind.tree))
			w.must("apply", "--yes", settle)
			t.Log(w.must("verify", settle).stdout)
			if mtu := w.plan().MTU.Value; mtu != kind.mtu {
				t.Errorf("MTU %d, want %d", mtu, kind.mtu)
			}
			for _, h := range hosts {
				if datapath := w.on(h, "ovs-appctl dpif/show"); !strings.Contains(datapath, "system@") || strings.Contains(datapath, "netdev@") {
					t.Errorf("%s does not use the kernel's datapath:\n%s", h, datapath)
				}
			}
		})
	}

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
		w.eventually("the fabric is whole", patience, func() bool { return w.fabric("verify", settle).exit == 0 })
		if r := w.fabric("plan", "--detailed-exitcode"); r.exit != 0 {
			t.Errorf("a plan has changes after the reboot:\n%s", r.stdout)
		}
	})

	step("the others stay connected when the root loses power", func(t *testing.T, w *world) {
		w.container("h2", "c2")
		address := w.container("h3", "c3")
		if err := w.lab.PowerCut(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("h2 reaches h3 around the dead root", patience, func() bool { return w.reaches("h2", "c2", address, 1462) })
	})

	step("the root comes back from the power cut", func(t *testing.T, w *world) {
		if err := w.lab.Start(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.eventually("the fabric is whole", patience, func() bool { return w.fabric("verify", settle).exit == 0 })
	})

	step("destroy takes everything away", func(t *testing.T, w *world) {
		w.must("destroy", "--yes")
		for _, h := range hosts {
			if bridges := w.on(h, "ovs-vsctl list-br"); bridges != "" {
				t.Errorf("%s: bridges %q", h, bridges)
			}
		}
	})
}
