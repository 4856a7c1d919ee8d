package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// addNetwork makes the underlay, a bridge in a namespace of its own, and the
// controller on it. Hosts plug themselves in when they boot. Veth pairs run from
// namespace to namespace: the machine's own sees none of it, for its addresses
// would answer for those of the lab.
func (l *Lab) addNetwork(ctx context.Context) error {
	ul, ctl := l.names.netns(underlayName), l.names.netns(controllerName)
	for _, name := range []string{ul, ctl} {
		if _, err := run(ctx, "ip", "netns", "add", name); err != nil {
			return err
		}
	}
	err := ipBatch(ctx, ul,
		"link set lo up",
		fmt.Sprintf("link add ul mtu %d type bridge forward_delay 0 mcast_snooping 0", l.Spec.MTU),
		"link set ul up",
	)
	if err != nil {
		return err
	}
	err = ipBatch(ctx, ctl,
		"link set lo up",
		fmt.Sprintf("link add ul0 mtu %[1]d type veth peer name p-ctl mtu %[1]d netns %[2]s", l.Spec.MTU, ul),
		fmt.Sprintf("address add %s/%d dev ul0", l.Spec.Controller(), l.Spec.Underlay.Bits()),
		"link set ul0 up",
	)
	if err != nil {
		return err
	}
	if err := ipBatch(ctx, ul, "link set p-ctl master ul up"); err != nil {
		return err
	}
	// The hosts' userspace datapath takes packets off a raw socket, before any
	// hardware could have completed their checksums.
	_, err = run(ctx, "nsenter", "--net="+l.names.netnsPath(controllerName), "ethtool", "-K", "ul0", "tx", "off")
	return err
}

// ipBatch runs lines of ip(8) in a namespace.
func ipBatch(ctx context.Context, netns string, lines ...string) error {
	cmd := exec.CommandContext(ctx, "ip", "-n", netns, "-batch", "-")
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	_, err := output(cmd)
	return err
}

// netnsOf returns the names of a lab's namespaces that stand, sorted.
func netnsOf(n names) ([]string, error) {
	entries, err := os.ReadDir(netnsDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	var found []string
	for _, e := range entries {
		if n.ownsNetns(e.Name()) {
			found = append(found, e.Name())
		}
	}
	return found, nil
}

// removeNetns takes away a lab's namespaces, after the processes that are still
// in them, such as what lab ctl left in the background.
func removeNetns(n names) error {
	found, err := netnsOf(n)
	if err != nil {
		return err
	}
	for _, name := range found {
		path := filepath.Join(netnsDir, name)
		if err := killInNetns(path); err != nil {
			return err
		}
		// EINVAL: a name without a namespace, left by a machine that went down.
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmounting namespace %s: %w", name, err)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// killInNetns ends the processes in a network namespace, except this one.
func killInNetns(path string) error {
	var want unix.Stat_t
	if err := unix.Stat(path, &want); err != nil {
		return err
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return err
	}
	for _, dir := range processes {
		var got unix.Stat_t
		if unix.Stat(dir+"/ns/net", &got) != nil || got.Dev != want.Dev || got.Ino != want.Ino {
			continue
		}
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "%d", &pid); err != nil || pid == os.Getpid() {
			continue
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
	}
	return nil
}
