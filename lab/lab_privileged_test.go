//go:build privileged

package lab

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// one is the smallest lab.
func one(name string) Spec {
	return Spec{
		Name:     name,
		Underlay: netip.MustParsePrefix("192.0.2.0/24"),
		MTU:      1500,
		Hosts:    []Host{{Name: "h1", Address: netip.MustParseAddr("192.0.2.11"), Release: "trixie", Driver: Nspawn}},
	}
}

// assertNothingLeft looks for all that bears the lab's name.
func assertNothingLeft(t *testing.T, name string) {
	t.Helper()
	n := names(name)
	netns, err := netnsOf(n)
	if err != nil {
		t.Fatal(err)
	}
	left := netns
	for _, pattern := range []string{
		n.run(), n.disks(),
		"/run/systemd/nspawn/*/" + n.netns("*"),
		cgroupRoot + "/" + n.cgroup(), cgroupRoot + "/*/" + n.cgroup(),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, n.disks()) || strings.Contains(line, n.netns("")) {
			left = append(left, "mount "+line)
		}
	}
	cmdlines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cmdlines {
		cmdline, err := os.ReadFile(path)
		if err == nil && bytes.Contains(cmdline, []byte(n.netns("h1"))) {
			left = append(left, path+" "+string(cmdline))
		}
	}
	if diff := cmp.Diff([]string(nil), left); diff != "" {
		t.Errorf("left on the machine (-want +got):\n%s", diff)
	}
}

func up(t *testing.T, spec Spec) *Lab {
	t.Helper()
	l, err := Up(t.Context(), spec, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := Remove(context.Background(), spec.Name); err != nil {
			t.Error(err)
		}
	})
	return l
}

func trimmed(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

func TestHostRebootsLikeAMachineAndGoesWithoutTrace(t *testing.T) {
	ctx := t.Context()
	l := up(t, one("lifetest"))

	for user, want := range map[string]string{"root": "0", "ops": "0", "nosudo": ""} {
		got, err := l.Ctl(ctx, "ssh", "-o", "BatchMode=yes", user+"@h1", "sudo", "-n", "id", "-u").Output()
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("sudo id -u as %s = %q (%v), want %q", user, got, err, want)
		}
	}
	// With two answers to ARP, tunnels end now at one MAC and now at the other.
	macs := trimmed(t, l.Ctl(ctx, "sh", "-c", "ip neigh flush dev ul0; ping -c 1 -W 5 h1 >/dev/null; ip neigh show dev ul0 | grep -o 'lladdr [^ ]*'"))
	if own := trimmed(t, l.Sh(ctx, "h1", "cat", "/sys/class/net/br-ul/address")); macs != "lladdr "+own {
		t.Errorf("h1 answers ARP with %q, br-ul has %s", macs, own)
	}
	if flags := trimmed(t, l.Sh(ctx, "h1", "ip", "link", "show", "eth0")); !strings.Contains(flags, "NOARP") {
		t.Errorf("the kernel answers ARP on eth0 too: %s", flags)
	}
	if _, err := output(l.Sh(ctx, "h1", "ip", "link", "add", "gone", "type", "bridge")); err != nil {
		t.Fatal(err)
	}
	if _, err := output(l.Sh(ctx, "h1", "touch", "/root/kept")); err != nil {
		t.Fatal(err)
	}
	boot := trimmed(t, l.Sh(ctx, "h1", "cat", "/proc/sys/kernel/random/boot_id"))

	if err := l.Reboot(ctx, "h1"); err != nil {
		t.Fatal(err)
	}
	if now := trimmed(t, l.Sh(ctx, "h1", "cat", "/proc/sys/kernel/random/boot_id")); now == boot {
		t.Error("the boot is the same after the reboot")
	}
	if err := l.Sh(ctx, "h1", "ip", "link", "show", "gone").Run(); err == nil {
		t.Error("a link made before the reboot is still there")
	}
	if err := l.Sh(ctx, "h1", "test", "-e", "/root/kept").Run(); err != nil {
		t.Error("a file written before the reboot is gone")
	}

	// What an operator leaves in the background goes, too.
	stray := l.Ctl(ctx, "sleep", "1000")
	if err := stray.Start(); err != nil {
		t.Fatal(err)
	}
	if err := l.Down(ctx); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := stray.Wait(); !errors.As(err, &killed) {
		t.Errorf("a command at the controller ended with %v, want it killed", err)
	}
	assertNothingLeft(t, "lifetest")
	if err := l.Down(ctx); err != nil {
		t.Errorf("taking it down twice: %v", err)
	}
	assertNothingLeft(t, "lifetest")
}

func TestHostIsOffUntilItIsStarted(t *testing.T) {
	ctx := t.Context()
	l := up(t, one("offtest"))

	for name, off := range map[string]func(context.Context, string) error{"power off": l.PowerOff, "power cut": l.PowerCut} {
		if err := off(ctx, "h1"); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := l.Sh(ctx, "h1", "true").Run(); !errors.Is(err, errNotRunning) {
			t.Errorf("a command in a host after a %s: %v, want %v", name, err, errNotRunning)
		}
		reopened, err := Open("offtest")
		if err != nil {
			t.Fatal(err)
		}
		if err := reopened.Start(ctx, "h1"); err != nil {
			t.Fatal(err)
		}
		if got := trimmed(t, reopened.Ctl(ctx, "ssh", "192.0.2.11", "hostname")); got != "h1" {
			t.Errorf("hostname after a %s = %q, want h1", name, got)
		}
	}
}

func TestSecondUpIsRefusedAndHarmless(t *testing.T) {
	l := up(t, one("twicetest"))
	if _, err := Up(t.Context(), one("twicetest"), t.Output()); err == nil || !strings.Contains(err.Error(), "up already") {
		t.Errorf("error = %v, want one that says it is up", err)
	}
	if err := l.Sh(t.Context(), "h1", "true").Run(); err != nil {
		t.Errorf("the host after it: %v", err)
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	// The first process of the host is the moment when most is half made.
	watched := make(chan struct{})
	defer func() { cancel(); <-watched }()
	cg, err := findCgroups()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(watched)
		_ = poll(ctx, time.Millisecond, func() (bool, error) {
			pids, err := cg.processes(names("cuttest").cgroup("hosts"))
			return len(pids) > 0, err
		})
		cancel()
	}()
	_, err = Up(ctx, one("cuttest"), t.Output())
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want %v", err, context.Canceled)
	}
	assertNothingLeft(t, "cuttest")
}
