package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// bootSector returns 512 bytes that the firmware starts from a disk's beginning.
// They tell the device isa-debug-exit to end QEMU with the status accelWorks.
func bootSector() []byte {
	sector := make([]byte, 512)
	copy(sector, []byte{
		0xb0, accelWorks >> 1, // mov al, ..., which the device shifts left and adds 1 to
		0xe6, 0xf4, // out 0xf4, al
		0xf4, // hlt
	})
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}

const (
	accelKVM = "kvm"
	accelTCG = "tcg"

	// accelWorks is a status that QEMU does not use itself.
	accelWorks = 33
)

// kvmTimeout is far above what the probe takes on a processor that works.
const kvmTimeout = 10 * time.Second

// accelerator returns "kvm" if this machine runs guests with it, and says why
// not if it does not. The device alone proves nothing: the probe is a boot
// sector that tells QEMU to end with a status of its own.
func accelerator(ctx context.Context) (accel, why string, err error) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return accelTCG, "this machine has no /dev/kvm", nil
	}
	dir, err := os.MkdirTemp("", "fabric-lab-kvm-")
	if err != nil {
		return "", "", err
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, bootSector(), 0o600); err != nil {
		return "", "", err
	}
	probe, cancel := context.WithTimeout(ctx, kvmTimeout)
	defer cancel()
	cmd := exec.CommandContext(probe, "qemu-system-x86_64", "-accel", accelKVM, "-m", "16",
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=1", "-drive", "format=raw,if=ide,file="+disk)
	_, err = output(cmd)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return "", "", context.Cause(ctx)
	case errors.As(err, &exit) && exit.ExitCode() == accelWorks:
		return accelKVM, "", nil
	case probe.Err() != nil:
		return accelTCG, fmt.Sprintf("/dev/kvm is there, but a guest does not start within %v", kvmTimeout), nil
	}
	return accelTCG, fmt.Sprintf("/dev/kvm is there, but does not run a guest: %v", err), nil
}
