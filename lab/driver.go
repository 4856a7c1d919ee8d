package lab

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

const (
	// Nspawn hosts are systemd-nspawn containers: up in seconds, on this
	// machine's kernel, with Open vSwitch's userspace datapath.
	Nspawn = "nspawn"
	// QEMU hosts are virtual machines with Debian's own kernel, and with it the
	// kernel's datapath: up in minutes where the processor has to be emulated.
	QEMU = "qemu"
)

// Drivers lists the ways of running a host.
func Drivers() []string { return []string{Nspawn, QEMU} }

// A driver runs hosts of one kind. All its processes are in the host's cgroups.
type driver interface {
	// layOut makes the host's disk of its image and of the files in disk upper.
	layOut(ctx context.Context, h Host) error
	// command plugs the host in and returns what boots it, and whose end is the
	// host's end, with what that needs in its environment.
	command(ctx context.Context, h Host) (argv, env []string, err error)
	// running is errNotRunning for a host that is off.
	running(host string) error
	// sh is a command in a host that runs, as root.
	sh(ctx context.Context, host string, argv []string) *exec.Cmd
	// boot names the boot that a host is in.
	boot(ctx context.Context, host string) (string, error)
	// reboot and powerOff ask the host's init, and do not wait.
	reboot(ctx context.Context, host string) error
	powerOff(ctx context.Context, host string) error
	pace() pace
}

// A pace says how fast hosts of a kind are.
type pace struct {
	// poll is how often a host is looked at that boots or goes down.
	poll time.Duration
	// connect is how long its sshd may take to answer.
	connect time.Duration
	// boot and down are the time it has for either, far above what it takes, for
	// machines that are busy with other things.
	boot, down time.Duration
}

func (l *Lab) driver(h Host) driver {
	if h.Driver == QEMU {
		return qemu{l}
	}
	return nspawn{l}
}

// driverOf is the driver of a host by its name.
func (l *Lab) driverOf(host string) (driver, error) {
	h, err := l.Spec.host(host)
	if err != nil {
		return nil, err
	}
	return l.driver(h), nil
}

func validateDriver(name string) error {
	if slices.Contains(Drivers(), name) {
		return nil
	}
	return fmt.Errorf("no driver %q: choose one of %s", name, strings.Join(Drivers(), ", "))
}

// SetDriver makes all hosts of the lab run by one driver.
func (s *Spec) SetDriver(name string) error {
	if err := validateDriver(name); err != nil {
		return err
	}
	for i := range s.Hosts {
		s.Hosts[i].Driver = name
	}
	return nil
}

// drivers returns those of the lab's hosts.
func (s Spec) drivers() []string {
	used := map[string]bool{}
	for _, h := range s.Hosts {
		used[h.Driver] = true
	}
	return sortedKeys(used)
}
