package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

type requirement struct{ program, pkg string }

// requirements are the programs a lab calls and the Debian packages they are in.
var requirements = []requirement{
	{"ethtool", "ethtool"},
	{"ip", "iproute2"},
	{"mmdebstrap", "mmdebstrap"},
	{"nsenter", "util-linux"},
	{"ssh", "openssh-client"},
	{"ssh-keygen", "openssh-client"},
	{"systemd-nspawn", "systemd-container"},
}

// requirementsVM are those of QEMU hosts.
var requirementsVM = []requirement{
	{"mkfs.ext4", "e2fsprogs"},
	{"qemu-img", "qemu-utils"},
	{"qemu-system-x86_64", "qemu-system-x86"},
}

// CheckMachine tells whether this process can run a lab of hosts of these
// drivers here: as root, with everything installed. Its error says what to do.
func CheckMachine(drivers ...string) error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root, for namespaces and mounts: run this with sudo")
	}
	needed := requirements
	if slices.Contains(drivers, QEMU) {
		if runtime.GOARCH != "amd64" {
			return fmt.Errorf("driver %s boots amd64 machines, and this one is %s", QEMU, runtime.GOARCH)
		}
		needed = slices.Concat(needed, requirementsVM)
	}
	missing := map[string]bool{}
	for _, r := range needed {
		if _, err := exec.LookPath(r.program); err != nil {
			missing[r.pkg] = true
		}
	}
	if len(missing) > 0 {
		pkgs := strings.Join(sortedKeys(missing), " ")
		return fmt.Errorf("this machine lacks what a lab needs: apt-get install --no-install-recommends %s", pkgs)
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		return fmt.Errorf("hosts need /dev/net/tun (modprobe tun): %w", err)
	}
	return nil
}

// run returns a command's standard output. Its error carries the command line
// and what it wrote to standard error.
func run(ctx context.Context, argv ...string) (string, error) {
	return output(exec.CommandContext(ctx, argv[0], argv[1:]...))
}

func output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// lockFile locks a file, which it makes if need be, and waits until nobody else
// holds it. The lock dies with the process.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// poll calls done until it returns true or an error, or ctx ends.
func poll(ctx context.Context, every time.Duration, done func() (bool, error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// lastLines returns at most n lines from the end of s.
func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
