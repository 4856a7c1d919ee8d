package lab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

const (
	accelKVM = "kvm"
	accelTCG = "tcg"
)

// kvmTimeout is far above what the probe takes on a processor that works.
const kvmTimeout = 20 * time.Second

// noRoot is the last that a kernel without a disk says.
const noRoot = "Kernel panic - not syncing: VFS"

// accelerator returns "kvm" if this machine runs guests with it, and says why
// not if it does not. The device alone proves nothing, nor does a guest of a
// few instructions: the probe is the hosts' kernel, which runs until it misses
// its disk.
func accelerator(ctx context.Context, kernel string) (accel, why string, err error) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return accelTCG, "this machine has no /dev/kvm", nil
	}
	probe, cancel := context.WithTimeout(ctx, kvmTimeout)
	defer cancel()
	out, err := exec.CommandContext(probe, "qemu-system-x86_64", "-accel", accelKVM, "-cpu", cpus[accelKVM], "-m", "512",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio",
		"-kernel", kernel, "-append", "console=ttyS0 panic=-1").CombinedOutput()
	switch {
	case ctx.Err() != nil:
		return "", "", context.Cause(ctx)
	case strings.Contains(string(out), noRoot):
		return accelKVM, "", nil
	case probe.Err() != nil:
		return accelTCG, fmt.Sprintf("/dev/kvm is there, but a kernel does not start within %v", kvmTimeout), nil
	}
	return accelTCG, fmt.Sprintf("/dev/kvm is there, but does not run a kernel (%v): %s", err, lastLines(string(out), 1)), nil
}
