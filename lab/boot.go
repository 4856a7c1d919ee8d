package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// launch starts what boots a host, which outlives this process.
func (l *Lab) launch(ctx context.Context, h Host) error {
	supervisor := l.names.cgroup("supervisors", h.Name)
	if err := l.cgroups.add(supervisor, false); err != nil {
		return err
	}
	argv, env, err := l.driver(h).command(ctx, h)
	if err != nil {
		return err
	}
	console, err := os.OpenFile(l.names.console(h.Name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer console.Close()
	cmd := exec.CommandContext(ctx, "sh", append([]string{
		// Already in its cgroup when it starts: from then on lab down finds it.
		"-c", `for c in $1; do echo 0 >"$c/cgroup.procs" || exit; done; shift; exec setsid --fork "$@"`, "launch",
		strings.Join(l.cgroups.paths(supervisor), " "),
	}, argv...)...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = console, console
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("starting its supervisor: %w", err)
	}
	return nil
}

// macOf makes a NIC's address that is the same after each boot, as a real one's
// is: locally administered, with the IPv4 address in it.
func macOf(h Host) string {
	ip := h.Address.As4()
	return fmt.Sprintf("02:00:%02x:%02x:%02x:%02x", ip[0], ip[1], ip[2], ip[3])
}

// portOf names a host's port on the underlay.
func portOf(h Host) string { return "p-" + h.Name }

var errNotRunning = errors.New("is not running: fabric lab up, or Start, boots it")

// units are those that make a host of use to anybody.
var units = []string{"lab-underlay.service", "openvswitch-switch.service", "docker.service", "ssh.service"}

// askTimeout is for one question to a host that boots or goes down.
const askTimeout = 2 * time.Minute

// sayEvery is how often a boot that takes long says what it is at.
const sayEvery = 20 * time.Second

// wait returns once the host has booted and answers ssh on the underlay. Its
// error says what was still missing.
func (l *Lab) wait(ctx context.Context, h Host) error {
	pace, started := l.pace(h), time.Now()
	ctx, cancel := context.WithTimeout(ctx, pace.boot)
	defer cancel()
	missing, said := errors.New("systemd did not start"), started
	say := func() {
		if now := time.Now(); now.Sub(said) >= sayEvery {
			said = now
			what := strings.ReplaceAll(missing.Error(), "\n", ", ")
			l.say("%s boots since %.0f s: %s; its console says %q", h.Name, now.Sub(started).Seconds(), what, l.lastWords(h.Name))
		}
	}
	err := poll(ctx, pace.poll, func() (bool, error) {
		supervisors, err := l.supervisors(h.Name)
		if err != nil {
			return false, err
		}
		if len(supervisors) == 0 {
			return false, errors.New("its boot ended at once")
		}
		var ready bool
		ready, missing, err = l.unitsReady(ctx, h.Name, missing)
		if !ready && err == nil {
			say()
		}
		return ready, err
	})
	if err == nil {
		err = poll(ctx, pace.poll, func() (bool, error) {
			_, missing = output(l.Ctl(ctx, "ssh", "-o", "BatchMode=yes", "-o", fmt.Sprintf("ConnectTimeout=%.0f", pace.connect.Seconds()), h.Name, "true"))
			if missing != nil {
				say()
			}
			return missing == nil, nil
		})
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not up after %v: %w", pace.boot, missing)
	}
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return nil
}

// lastWords are the end of what a host's console says.
func (l *Lab) lastWords(host string) string {
	const length = 60
	content, err := os.ReadFile(l.names.console(host))
	if err != nil {
		return err.Error()
	}
	words := []rune(strings.TrimSpace(lastLines(string(content), 1)))
	return string(words[max(0, len(words)-length):])
}

// supervisors are the processes without which a host is off.
func (l *Lab) supervisors(host string) ([]int, error) {
	return l.cgroups.processes(l.names.cgroup("supervisors", host))
}

// pace is that of a host's driver, unless the spec gives the hosts other times.
func (l *Lab) pace(h Host) pace {
	p := l.driver(h).pace()
	if l.Spec.Patience > 0 {
		p.boot, p.down = l.Spec.Patience, l.Spec.Patience
	}
	return p
}

// unitsReady asks the host's systemd. A unit that failed is an error; what is
// merely not yet there is returned as missing.
func (l *Lab) unitsReady(ctx context.Context, host string, before error) (ready bool, missing, err error) {
	// What is asked of a host that goes down just then may never be answered.
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
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
	h, err := l.Spec.host(host)
	if err != nil {
		return err
	}
	d, pace := l.driver(h), l.pace(h)
	before, err := d.boot(ctx, host)
	if err != nil {
		return err
	}
	if err := d.reboot(ctx, host); err != nil {
		return err
	}
	down, cancel := context.WithTimeout(ctx, pace.down)
	defer cancel()
	err = poll(down, pace.poll, func() (bool, error) {
		ask, cancel := context.WithTimeout(down, askTimeout)
		defer cancel()
		now, err := d.boot(ask, host)
		return err == nil && now != before, nil
	})
	if err != nil {
		return fmt.Errorf("host %s does not reboot: %w; its console is in %s", host, err, l.names.console(host))
	}
	return l.wait(ctx, h)
}

// PowerOff shuts a host down in order, and waits until it is off. A host that
// is off is left alone.
func (l *Lab) PowerOff(ctx context.Context, host string) error {
	h, err := l.Spec.host(host)
	if err != nil {
		return err
	}
	err = l.driver(h).powerOff(ctx, host)
	if errors.Is(err, errNotRunning) {
		return nil
	}
	if err != nil {
		return err
	}
	pace := l.pace(h)
	ctx, cancel := context.WithTimeout(ctx, pace.down)
	defer cancel()
	err = poll(ctx, pace.poll, func() (bool, error) {
		pids, err := l.supervisors(host)
		return len(pids) == 0, err
	})
	if err != nil {
		return fmt.Errorf("host %s does not power off: %w; its console is in %s", host, err, l.names.console(host))
	}
	return nil
}

// PowerCut ends a host as a power cut does: at once, whatever it is at. What an
// nspawn host has written is on its disk, synced or not, for this machine runs
// on; a QEMU host loses what its kernel has not written yet.
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
	pids, err := l.supervisors(host)
	if err != nil {
		return err
	}
	if len(pids) > 0 {
		return fmt.Errorf("host %s is running already", host)
	}
	if err := l.launch(ctx, h); err != nil {
		return fmt.Errorf("host %s: %w", host, err)
	}
	return l.wait(ctx, h)
}

// prepare lays out a host's disk: what makes it another machine than the image.
func (l *Lab) prepare(ctx context.Context, h Host, authorizedKey []byte) (hostKey string, err error) {
	upper := l.names.disk(h.Name, "upper")
	for _, dir := range []string{"upper", "upper/etc", "upper/etc/default", "upper/etc/ssh"} {
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
	hostKey, err = newKey(ctx, filepath.Join(upper, "etc/ssh/ssh_host_ed25519_key"), "root@"+h.Name)
	if err != nil {
		return "", err
	}
	return hostKey, l.driver(h).layOut(ctx, h)
}
