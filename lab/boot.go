package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bootTimeout is far above the few seconds a boot takes, for machines that
	// are busy with other things.
	bootTimeout = 2 * time.Minute
	// downTimeout covers systemd's own 90 s for a unit that will not stop.
	downTimeout = 100 * time.Second

	// systemd's meaning of these signals to PID 1, see systemd(1). SIGRTMIN is
	// 34 to the C library, which keeps the kernel's first two for itself.
	sigPowerOff = unix.Signal(34 + 4)
	sigReboot   = unix.Signal(34 + 5)
)

//go:embed supervise.sh
var superviseScript string

// launch starts a host's supervisor, which outlives this process.
func (l *Lab) launch(ctx context.Context, h Host) error {
	machine, host := l.names.cgroup("supervisors", h.Name), l.names.cgroup("hosts", h.Name)
	if err := l.cgroups.add(machine, false); err != nil {
		return err
	}
	disk := func(part string) string { return l.names.disk(h.Name, part) }
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", l.images[h.Release], disk("upper"), disk("work"))
	argv := []string{
		// Already in its cgroup when it starts: from then on lab down finds it.
		"sh", "-c", `for c in $1; do echo 0 >"$c/cgroup.procs" || exit; done; shift; exec setsid --fork "$@"`, "launch",
		strings.Join(l.cgroups.paths(machine), " "),
		"sh", "-c", superviseScript, "supervise",
		strings.Join(l.cgroups.paths(host), " "),
		l.names.netns(h.Name), l.names.netns(underlayName), "p-" + h.Name,
		macOf(h), strconv.Itoa(l.Spec.MTU), overlay, disk("root"),
	}
	argv = append(argv, l.nspawn(h)...)

	console, err := os.OpenFile(l.names.console(h.Name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(),
		// Docker and the hosts' network set-up write below /proc/sys and /sys.
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=1",
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
		// Its lock on the root file system outlives a kill, as a file.
		"SYSTEMD_NSPAWN_LOCK=0")
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("starting its supervisor: %w", err)
	}
	return nil
}

// nspawn is the command line that boots a host.
func (l *Lab) nspawn(h Host) []string {
	return []string{
		// Entered before rather than by --network-namespace-path, so that the
		// host's /sys shows the host's links.
		"nsenter", "--net=" + l.names.netnsPath(h.Name), "--",
		"systemd-nspawn", "--quiet", "--boot",
		"--directory=" + l.names.disk(h.Name, "root"),
		"--machine=" + l.names.netns(h.Name),
		"--hostname=" + h.Name,
		"--capability=all", "--system-call-filter=@known",
		"--keep-unit", "--register=no", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--console=pipe",
		"--bind=/dev/net/tun",
		// Docker's overlayfs cannot stand on the host's.
		"--bind=" + l.names.disk(h.Name, "docker") + ":/var/lib/docker",
	}
}

// macOf makes a NIC's address that is the same after each boot, as a real one's
// is: locally administered, with the IPv4 address in it.
func macOf(h Host) string {
	ip := h.Address.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3])
}

// process tells a running init from a later one that got the same pid.
type process struct {
	pid   int
	start string
}

var errNotRunning = errors.New("is not running: fabric lab up, or Start, boots it")

// init finds a host's PID 1 as this machine sees it.
func (l *Lab) init(host string) (process, error) {
	pids, err := l.cgroups.processes(l.names.cgroup("hosts", host))
	if err != nil {
		return process{}, err
	}
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil || !isInit(string(status)) {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		return process{pid, startTime(string(stat))}, nil
	}
	return process{}, fmt.Errorf("host %s %w", host, errNotRunning)
}

// isInit tells from a proc_pid_status(5) whether the process is PID 1 one level
// below this machine. A container's init inside the host is two levels below.
func isInit(status string) bool {
	for line := range strings.Lines(status) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			f := strings.Fields(pids)
			return len(f) == 2 && f[1] == "1"
		}
	}
	return false
}

// startTime is field 22 of proc_pid_stat(5). The second field, in parentheses,
// may hold spaces.
func startTime(stat string) string {
	f := strings.Fields(stat[strings.LastIndex(stat, ")")+1:])
	if len(f) < 20 {
		return ""
	}
	return f[19]
}

// units are those that make a host of use to anybody.
var units = []string{"lab-underlay.service", "openvswitch-switch.service", "docker.service", "ssh.service"}

// wait returns once the host has booted and answers ssh on the underlay. Its
// error says what was still missing.
func (l *Lab) wait(ctx context.Context, host string) error {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	missing := errors.New("systemd did not start")
	err := poll(ctx, 100*time.Millisecond, func() (bool, error) {
		supervisors, err := l.cgroups.processes(l.names.cgroup("supervisors", host))
		if err != nil {
			return false, err
		}
		if len(supervisors) == 0 {
			return false, errors.New("its boot ended at once")
		}
		var ready bool
		ready, missing, err = l.unitsReady(ctx, host, missing)
		return ready, err
	})
	if err == nil {
		err = poll(ctx, 100*time.Millisecond, func() (bool, error) {
			_, missing = output(l.Ctl(ctx, "ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", host, "true"))
			return missing == nil, nil
		})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not up after %v: %w", bootTimeout, missing)
	}
	if err != nil {
		return fmt.Errorf("host %s: %w", host, err)
	}
	return nil
}

// unitsReady asks the host's systemd. A unit that failed is an error; what is
// merely not yet there is returned as missing.
func (l *Lab) unitsReady(ctx context.Context, host string, before error) (ready bool, missing, err error) {
	// is-active prints a line for each unit; its exit status says less.
	out, _ := l.Sh(ctx, host, append([]string{"systemctl", "is-active"}, units...)...).Output()
	states := strings.Fields(string(out))
	if len(states) != len(units) {
		return false, before, nil
	}
	for i, state := range states {
		switch state {
		case "active":
		case "failed":
			log, _ := output(l.Sh(ctx, host, "journalctl", "--no-pager", "--lines=20", "--unit", units[i]))
			return false, nil, fmt.Errorf("%s failed:\n%s", units[i], log)
		default:
			missing = errors.Join(missing, fmt.Errorf("%s is %s", units[i], state))
		}
	}
	return missing == nil, missing, nil
}

// Reboot reboots a host as reboot(8) in it would, and waits until it is back:
// a new boot, with sshd, Open vSwitch and Docker up.
func (l *Lab) Reboot(ctx context.Context, host string) error {
	if _, err := l.Spec.host(host); err != nil {
		return err
	}
	before, err := l.init(host)
	if err != nil {
		return err
	}
	if err := unix.Kill(before.pid, sigReboot); err != nil {
		return fmt.Errorf("host %s: telling its init to reboot: %w", host, err)
	}
	down, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	err = poll(down, 50*time.Millisecond, func() (bool, error) {
		now, err := l.init(host)
		return err == nil && now != before, nil
	})
	if err != nil {
		return fmt.Errorf("host %s does not reboot: %w; its console is in %s", host, err, l.names.console(host))
	}
	return l.wait(ctx, host)
}

// PowerOff shuts a host down in order, and waits until it is off. A host that
// is off is left alone.
func (l *Lab) PowerOff(ctx context.Context, host string) error {
	if _, err := l.Spec.host(host); err != nil {
		return err
	}
	init, err := l.init(host)
	if errors.Is(err, errNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := unix.Kill(init.pid, sigPowerOff); err != nil {
		return fmt.Errorf("host %s: telling its init to power off: %w", host, err)
	}
	ctx, cancel := context.WithTimeout(ctx, downTimeout)
	defer cancel()
	err = poll(ctx, 50*time.Millisecond, func() (bool, error) {
		pids, err := l.cgroups.processes(l.names.cgroup("supervisors", host))
		return len(pids) == 0, err
	})
	if err != nil {
		return fmt.Errorf("host %s does not power off: %w; its console is in %s", host, err, l.names.console(host))
	}
	return nil
}

// PowerCut ends a host as a power cut does: at once, whatever it is at. What it
// has written is on its disk, synced or not, for this machine runs on.
func (l *Lab) PowerCut(ctx context.Context, host string) error {
	if _, err := l.Spec.host(host); err != nil {
		return err
	}
	// The supervisor first, or it would boot the host again.
	for _, cgroup := range []string{l.names.cgroup("supervisors", host), l.names.cgroup("hosts", host)} {
		if err := l.cgroups.kill(ctx, cgroup); err != nil {
			return fmt.Errorf("host %s: %w", host, err)
		}
	}
	return nil
}

// Start boots a host that is off, and waits until it is up.
func (l *Lab) Start(ctx context.Context, host string) error {
	h, err := l.Spec.host(host)
	if err != nil {
		return err
	}
	pids, err := l.cgroups.processes(l.names.cgroup("supervisors", host))
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("host %s is running already", host)
	}
	if err := l.launch(ctx, h); err != nil {
		return fmt.Errorf("host %s: %w", host, err)
	}
	return l.wait(ctx, host)
}

// prepare lays out a host's disk: what makes it another machine than the image.
func (l *Lab) prepare(ctx context.Context, h Host, authorizedKey []byte) (hostKey string, err error) {
	upper := l.names.disk(h.Name, "upper")
	for _, dir := range []string{"upper", "work", "root", "docker", "upper/etc", "upper/etc/default", "upper/etc/ssh"} {
		// Whatever the caller's umask is, the host's root must be open to all.
		if err := makeDir(l.names.disk(h.Name, dir), 0o755); err != nil {
			return "", err
		}
	}
	id, err := machineID()
	if err != nil {
		return "", err
	}
	files := map[string]string{
		"hostname":                h.Name + "\n",
		"hosts":                   "127.0.0.1 localhost\n" + l.Spec.hostsFile(),
		"machine-id":              id + "\n",
		"default/lab-underlay":    fmt.Sprintf("ADDRESS=%s/%d\n", h.Address, l.Spec.Underlay.Bits()),
		"ssh/lab_authorized_keys": string(authorizedKey),
	}
	for _, name := range sortedKeys(files) {
		if err := writeFile(filepath.Join(upper, "etc", name), files[name], 0o644); err != nil {
			return "", err
		}
	}
	return newKey(ctx, filepath.Join(upper, "etc/ssh/ssh_host_ed25519_key"), "root@"+h.Name)
}
