package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// systemd's meaning of these signals to PID 1, see systemd(1). SIGRTMIN is 34
// to the C library, which keeps the kernel's first two for itself.
const (
	sigPowerOff = unix.Signal(34 + 4)
	sigReboot   = unix.Signal(34 + 5)
)

//go:embed supervise.sh
var superviseScript string

// nspawn runs hosts as systemd-nspawn containers.
type nspawn struct{ *Lab }

func (nspawn) pace() pace {
	// systemd's own time for a unit that will not stop is 90 s.
	return pace{poll: 100 * time.Millisecond, connect: 5 * time.Second, boot: 2 * time.Minute, down: 100 * time.Second}
}

func (d nspawn) layOut(_ context.Context, h Host) error {
	for _, part := range []string{"work", "root", "docker", "containerd"} {
		if err := makeDir(d.names.disk(h.Name, part), 0o755); err != nil {
			return err
		}
	}
	return nil
}

func (d nspawn) command(_ context.Context, h Host) (argv, env []string, err error) {
	host := d.names.cgroup("hosts", h.Name)
	disk := func(part string) string { return d.names.disk(h.Name, part) }
	overlay := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", d.images[h.image()], disk("upper"), disk("work"))
	argv = []string{
		"sh", "-c", superviseScript, "supervise",
		strings.Join(d.cgroups.paths(host), " "),
		d.names.netns(h.Name), d.names.netns(underlayName), portOf(h),
		macOf(h), strconv.Itoa(d.Spec.MTU), overlay, disk("root"),
		// Entered before rather than by --network-namespace-path, so that the
		// host's /sys shows the host's links.
		"nsenter", "--net=" + d.names.netnsPath(h.Name), "--",
		"systemd-nspawn", "--quiet", "--boot",
		"--directory=" + disk("root"),
		"--machine=" + d.names.netns(h.Name),
		"--hostname=" + h.Name,
		"--capability=all", "--system-call-filter=@known",
		"--keep-unit", "--register=no", "--link-journal=no",
		"--resolv-conf=off", "--timezone=off", "--console=pipe",
		"--bind=/dev/net/tun",
		// Docker's overlayfs cannot stand on the host's.
		"--bind=" + disk("docker") + ":/var/lib/docker",
		"--bind=" + disk("containerd") + ":/var/lib/containerd",
	}
	return argv, []string{
		// Docker and the hosts' network set-up write below /proc/sys and /sys.
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=1",
		"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1",
		// Its lock on the root file system outlives a kill, as a file.
		"SYSTEMD_NSPAWN_LOCK=0",
	}, nil
}

// process tells a running init from a later one that got the same pid.
type process struct {
	pid   int
	start string
}

// init finds a host's PID 1 as this machine sees it.
func (d nspawn) init(host string) (process, error) {
	pids, err := d.cgroups.processes(d.names.cgroup("hosts", host))
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

func (d nspawn) running(host string) error {
	_, err := d.init(host)
	return err
}

func (d nspawn) boot(_ context.Context, host string) (string, error) {
	init, err := d.init(host)
	return fmt.Sprint(init), err
}

func (d nspawn) reboot(_ context.Context, host string) error {
	return d.signal(host, sigReboot)
}

func (d nspawn) powerOff(_ context.Context, host string) error {
	return d.signal(host, sigPowerOff)
}

// signal leaves a host alone whose init has just ended.
func (d nspawn) signal(host string, signal unix.Signal) error {
	init, err := d.init(host)
	if err != nil {
		return err
	}
	if err := unix.Kill(init.pid, signal); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("host %s: signal %d to its init: %w", host, signal, err)
	}
	return nil
}

// sh enters the namespaces of the host's init.
func (d nspawn) sh(ctx context.Context, host string, argv []string) *exec.Cmd {
	init, err := d.init(host)
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{
		"--target=" + strconv.Itoa(init.pid),
		"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--wdns=/root",
		// nsenter forks to enter the host's pids; its end is the command's end.
		"setpriv", "--pdeathsig", "TERM",
	}, argv...)...)
	if cmd.Err == nil {
		cmd.Err = err
	}
	return cmd
}
