package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// qemu runs hosts as virtual machines.
//
// Each has two NICs: eth0 on the underlay, and one that only lab sh uses, which
// the guest keeps in a namespace of its own.
type qemu struct{ *Lab }

// connectTimeout is for an emulated sshd of a busy machine, which needs up to a
// minute. Who gives up sooner and asks again has many of them start at once.
const connectTimeout = 90 * time.Second

func (d qemu) pace() pace {
	// On two cores that emulate three hosts, a boot takes some two minutes.
	return pace{poll: 5 * time.Second, connect: connectTimeout, boot: 15 * time.Minute, down: 10 * time.Minute}
}

// Parts of a QEMU host's disk, and of its image.
const (
	identityDisk = "identity.tar"
	overlayDisk  = "disk.qcow2"

	imageDisk   = "disk.raw"
	imageKernel = "vmlinuz"
	imageInitrd = "initrd.img"
	diskLabel   = "lab"
)

func (d qemu) layOut(ctx context.Context, h Host) error {
	_, err := run(ctx, "tar", "--create", "--file", d.names.disk(h.Name, identityDisk),
		"--owner=0", "--group=0", "--directory", d.names.disk(h.Name, "upper"), ".")
	if err != nil {
		return err
	}
	_, err = run(ctx, "qemu-img", "create", "-q", "-f", "qcow2",
		"-F", "raw", "-b", filepath.Join(d.images[h.image()], imageDisk), d.names.disk(h.Name, overlayDisk))
	return err
}

// cpus are the processors of the guests by accelerator. An emulated one has no
// cmpxchg16b, for with QEMU 7.2's the guest's kernel comes to use memory that is
// not there and crashes; and no svm, for which the guest would load its own KVM.
var cpus = map[string]string{accelKVM: "host", accelTCG: "qemu64,-cx16,-svm"}

func (d qemu) command(ctx context.Context, h Host) (argv, env []string, err error) {
	port := portOf(h)
	// A host that went down in a power cut left its port.
	_, _ = run(ctx, "ip", "-n", d.names.netns(underlayName), "link", "delete", port)
	err = ipBatch(ctx, d.names.netns(underlayName),
		"tuntap add dev "+port+" mode tap",
		fmt.Sprintf("link set %s mtu %d master %s up", port, d.Spec.MTU, underlayName))
	if err != nil {
		return nil, nil, err
	}
	id, err := os.ReadFile(d.names.disk(h.Name, "upper/etc/machine-id"))
	if err != nil {
		return nil, nil, err
	}
	image := func(part string) string { return filepath.Join(d.images[h.image()], part) }
	kernelOptions := []string{
		"root=LABEL=" + diskLabel, "rw", "console=ttyS0", "net.ifnames=0",
		// Nobody attacks these kernels, and each mitigation is emulated, too.
		"mitigations=off",
		// Systemd wants to know before it can read the identity.
		"systemd.hostname=" + h.Name, "systemd.machine_id=" + strings.TrimSpace(string(id)),
	}
	nic := fmt.Sprintf("virtio-net-pci,netdev=underlay,mac=%s,host_mtu=%d", macOf(h), d.Spec.MTU)
	if slices.Contains(d.Spec.drivers(), Nspawn) {
		// The userspace datapath of the others takes packets as they are.
		nic += ",csum=off,gso=off"
	}
	return []string{
		"nsenter", "--net=" + d.names.netnsPath(underlayName), "--",
		"qemu-system-x86_64", "-name", h.Name, "-accel", d.accel, "-cpu", cpus[d.accel],
		"-smp", "1", "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none",
		"-kernel", image(imageKernel), "-initrd", image(imageInitrd), "-append", strings.Join(kernelOptions, " "),
		// Unsafe only if this machine goes down; the guest's flushes reach it.
		"-drive", "if=virtio,cache=unsafe,format=qcow2,file=" + d.names.disk(h.Name, overlayDisk),
		"-drive", "if=none,id=identity,readonly=on,format=raw,file=" + d.names.disk(h.Name, identityDisk),
		"-device", "virtio-blk-pci,drive=identity,serial=identity",
		"-netdev", "tap,id=underlay,script=no,downscript=no,ifname=" + port, "-device", nic,
		"-netdev", fmt.Sprintf("user,id=sh,restrict=on,hostfwd=tcp:127.0.0.1:%d-:22", d.shPort(h.Name)),
		"-device", "virtio-net-pci,netdev=sh",
		"-device", "virtio-rng-pci",
		"-chardev", "file,id=console,append=on,path=" + d.names.console(h.Name), "-serial", "chardev:console",
	}, nil, nil
}

// shPort is where lab sh reaches a host, in the underlay's namespace.
func (d qemu) shPort(host string) int {
	return 2200 + slices.IndexFunc(d.Spec.Hosts, func(h Host) bool { return h.Name == host })
}

func (d qemu) running(host string) error {
	pids, err := d.supervisors(host)
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("host %s %w", host, errNotRunning)
	}
	return err
}

// sh logs in by the NIC that the host does not see.
func (d qemu) sh(ctx context.Context, host string, argv []string) *exec.Cmd {
	args := []string{
		"--net=" + d.names.netnsPath(underlayName), "--",
		"ssh", "-F", filepath.Join(d.names.ssh(), "config"),
		"-o", "UserKnownHostsFile=" + filepath.Join(d.names.ssh(), "known_hosts"),
		"-o", "IdentityFile=" + filepath.Join(d.names.ssh(), "id_ed25519"),
		"-o", "HostKeyAlias=" + host, "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
		"-o", fmt.Sprintf("ConnectTimeout=%.0f", connectTimeout.Seconds()), "-o", "ServerAliveInterval=30", "-o", "ServerAliveCountMax=10",
		"-p", strconv.Itoa(d.shPort(host)),
	}
	if isTerminal(os.Stdin) && isTerminal(os.Stdout) {
		args = append(args, "-t")
	}
	args = append(args, "root@127.0.0.1", "--")
	for _, arg := range argv {
		args = append(args, shellQuote(arg))
	}
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	if err := d.running(host); cmd.Err == nil {
		cmd.Err = err
	}
	return cmd
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// shellQuote makes one word of s to a POSIX shell.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (d qemu) boot(ctx context.Context, host string) (string, error) {
	return output(d.sh(ctx, host, []string{"cat", "/proc/sys/kernel/random/boot_id"}))
}

func (d qemu) reboot(ctx context.Context, host string) error {
	return d.systemctl(ctx, host, "reboot")
}

func (d qemu) powerOff(ctx context.Context, host string) error {
	return d.systemctl(ctx, host, "poweroff")
}

func (d qemu) systemctl(ctx context.Context, host, verb string) error {
	_, err := output(d.sh(ctx, host, []string{"systemctl", "--no-block", verb}))
	// 255: the host went down before ssh was through.
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 255 {
		return nil
	}
	return err
}
