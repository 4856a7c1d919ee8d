//go:build privileged

package scenarios_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRollout is the ways to carry out a plan: a saved one, one host before
// the others, and without hosts that fail or are down. Each step stands on the
// one before.
func TestRollout(t *testing.T) {
	t.Parallel()
	w := boot(t, "three-hosts", "test-rollout")
	hosts := []string{"h1", "h2", "h3"}
	saved := filepath.Join(t.TempDir(), "p.json")
	base := w.read()
	step := steps(t, w)

	step("a saved plan is refused where a host has changed since, and nothing is written", func(t *testing.T, w *world) {
		w.must("plan", "--out", saved)
		w.on("h2", "ip link set docker0 mtu 1400")
		before := w.snapshots(hosts)
		r := w.fabric("apply", saved, "--yes")
		if r.exit != 1 || !strings.Contains(r.stderr, "fabric: h2:   ~ link docker0: mtu 1500 → 1400\n") || strings.Contains(r.stderr, "fabric: h1: ") {
			t.Errorf("exit status %d\n%s", r.exit, r.stderr)
		}
		w.compare(before)
	})

	step("a fresh one is carried out, on one host before the others", func(t *testing.T, w *world) {
		w.must("plan", "--out", saved)
		r := w.must("apply", saved, "--yes", "--canary", "1")
		_, others, found := strings.Cut(r.stderr, "canary: well, now the other 2\n")
		if !found || strings.Contains(others, "h1: ") || !strings.Contains(others, "h2: stop dockerd") {
			t.Error(r.stderr)
		}
		if r := w.fabric("apply", saved, "--yes"); r.exit != 1 || !strings.Contains(r.stderr, "h1: changed since") {
			t.Errorf("once more: exit status %d\n%s", r.exit, r.stderr)
		}
	})

	step("a host that fails keeps the others from nothing, and the next apply completes it", func(t *testing.T, w *world) {
		w.write(strings.Replace(base, "hosts:", "tunnel: {key: 7}\nhosts:", 1))
		holder := w.on("h2", "flock /run/fabric.lock sleep 1d >/dev/null 2>&1 & echo $!")
		w.eventually("the lock is held", 10*time.Second, func() bool { return w.try("h2", "flock -n /run/fabric.lock true").exit == 1 })
		r := w.fabric("apply", "--yes", "--keep-going")
		if r.exit != 1 || !strings.HasSuffix(r.stdout, "h1: applied\nh2: untouched\nh3: applied\n") ||
			!strings.Contains(r.stderr, "fabric: h2: another fabric apply is at work on this host") {
			t.Errorf("exit status %d\n%s\n%s", r.exit, r.stdout, r.stderr)
		}
		w.on("h2", "pkill -P "+holder+"; kill "+holder+" 2>/dev/null || true")
		if out := w.must("apply", "--yes").stdout; !strings.Contains(out, "1 of 3 hosts would change.") {
			t.Error(out)
		}
	})

	step("a host that is down stays behind, and the next apply completes it once it is back", func(t *testing.T, w *world) {
		if err := w.lab.PowerOff(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		w.write(strings.Replace(base, "hosts:", "tunnel: {key: 8}\nhosts:", 1))
		before := w.lock()
		r := w.must("apply", "--yes", "--allow-missing")
		for _, want := range []string{"Until h1 is back: root h2, cut off none\n", "h1: it does not answer: it stays as it is", "\nh1: missing\nh2: applied\nh3: applied\n"} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("apply does not say %q:\n%s", want, r.stdout)
			}
		}
		if w.lock() != before {
			t.Error(w.lock())
		}
		if err := w.lab.Start(t.Context(), "h1"); err != nil {
			t.Fatal(err)
		}
		if out := w.must("apply", "--yes").stdout; !strings.Contains(out, "1 of 3 hosts would change.") {
			t.Error(out)
		}
		w.must("verify", "--containers=false")
	})
}
