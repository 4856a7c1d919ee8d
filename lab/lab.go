// Package lab boots ordinary Debian hosts with Docker, Open vSwitch, sshd and
// systemd on this machine.
//
// Hosts are systemd-nspawn containers or virtual machines of QEMU, on one
// Ethernet segment, the underlay, in network namespaces apart from the machine's
// own. A controller on the same segment reaches them by ssh. All of it needs
// root.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A Lab is a lab that is up, or was at the time it was opened.
type Lab struct {
	Spec Spec

	// Progress is told what takes long, one line at a time.
	Progress io.Writer

	names   names
	cgroups cgroups
	// images are the folders of images by their names.
	images map[string]string
	// accel is QEMU's accelerator, if there is a host of QEMU's.
	accel string
}

// state is what lasts from Up to Down, as JSON.
type state struct {
	Spec   Spec              `json:"spec"`
	Images map[string]string `json:"images"`
	Accel  string            `json:"accel,omitempty"`
}

// Up boots a lab and returns when all its hosts are up: sshd answers on the
// underlay, Open vSwitch and Docker run. It builds images that are missing. What
// takes time is told on progress, one line at a time. On an error, or when ctx
// ends, it takes away all that it made, save for the consoles of hosts that did
// not boot, which the error names.
func Up(ctx context.Context, spec Spec, progress io.Writer) (*Lab, error) {
	if err := validateName(spec.Name); err != nil {
		return nil, err
	}
	for _, h := range spec.Hosts {
		if err := validateDriver(h.Driver); err != nil {
			return nil, fmt.Errorf("host %s: %w", h.Name, err)
		}
	}
	if err := CheckMachine(spec.drivers()...); err != nil {
		return nil, err
	}
	cg, err := findCgroups()
	if err != nil {
		return nil, err
	}
	n := names(spec.Name)
	unlock, err := n.lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if pids, err := cg.processes(n.cgroup()); err != nil {
		return nil, err
	} else if len(pids) > 0 {
		return nil, fmt.Errorf("lab %s is up already: fabric lab down %[1]s, or choose another --name", spec.Name)
	}
	// Remains of a lab that was not taken down, for the machine was.
	if err := remove(ctx, n, cg); err != nil {
		return nil, err
	}

	l := &Lab{Spec: spec, Progress: &lineWriter{w: progress}, names: n, cgroups: cg}
	if err := l.up(ctx); err != nil {
		// ctx may be what ended it.
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		return nil, errors.Join(fmt.Errorf("lab %s: %w", spec.Name, err), remove(clean, n, cg))
	}
	return l, nil
}

func (l *Lab) up(ctx context.Context) error {
	started := time.Now()
	if err := l.addImages(ctx); err != nil {
		return err
	}
	if err := l.chooseAccelerator(ctx); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	for _, cgroup := range []string{"", "supervisors", "hosts"} {
		if err := l.cgroups.add(l.names.cgroup(cgroup), true); err != nil {
			return fmt.Errorf("cgroups: %w", err)
		}
	}
	if err := l.addNetwork(ctx); err != nil {
		return fmt.Errorf("underlay: %w", err)
	}
	if err := l.addHosts(ctx); err != nil {
		return err
	}
	l.say("booting %d hosts", len(l.Spec.Hosts))
	group, groupCtx := errgroup.WithContext(ctx)
	for _, h := range l.Spec.Hosts {
		group.Go(func() error {
			booted := time.Now()
			if err := l.Start(groupCtx, h.Name); err != nil {
				return &bootError{h.Name, err}
			}
			l.say("%s (%s, %s) is up after %.1f s", h.Name, h.Address, h.image(), time.Since(booted).Seconds())
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		var failed *bootError
		if ctx.Err() == nil && errors.As(err, &failed) {
			return errors.Join(err, l.keepConsole(failed.host))
		}
		return err
	}
	l.say("up in %.1f s", time.Since(started).Seconds())
	return nil
}

// say tells progress a line.
func (l *Lab) say(format string, args ...any) {
	fmt.Fprintf(l.Progress, "lab %s: %s\n", l.Spec.Name, fmt.Sprintf(format, args...))
}

func (l *Lab) chooseAccelerator(ctx context.Context) (err error) {
	guest := slices.IndexFunc(l.Spec.Hosts, func(h Host) bool { return h.Driver == QEMU })
	if guest < 0 {
		return nil
	}
	var why string
	kernel := filepath.Join(l.images[l.Spec.Hosts[guest].image()], imageKernel)
	if l.accel, why, err = accelerator(ctx, kernel); err != nil {
		return fmt.Errorf("which accelerator QEMU has here: %w", err)
	}
	if l.accel != accelKVM {
		l.say("processors are emulated, which takes minutes: %s", why)
	}
	return nil
}

// A bootError tells which host was the first that did not boot.
type bootError struct {
	host string
	err  error
}

func (e *bootError) Error() string { return e.err.Error() }
func (e *bootError) Unwrap() error { return e.err }

// addImages gets the images that hosts need, side by side.
func (l *Lab) addImages(ctx context.Context) error {
	l.images = map[string]string{}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	for _, r := range recipes() {
		if !slices.ContainsFunc(l.Spec.Hosts, func(h Host) bool { return h.image() == r.name() }) {
			continue
		}
		group.Go(func() error {
			image, err := Image(ctx, r.release, r.driver, l.Progress)
			mu.Lock()
			defer mu.Unlock()
			l.images[r.name()] = image
			return err
		})
	}
	return group.Wait()
}

// addHosts lays out the hosts' disks, and the keys by which controller and hosts
// know each other.
func (l *Lab) addHosts(ctx context.Context) error {
	if err := makeDir(l.names.ssh(), 0o700); err != nil {
		return err
	}
	key, err := newKey(ctx, filepath.Join(l.names.ssh(), "id_ed25519"), "lab-"+l.Spec.Name)
	if err != nil {
		return err
	}
	var hostKeys []string
	for _, h := range l.Spec.Hosts {
		hostKey, err := l.prepare(ctx, h, []byte(key))
		if err != nil {
			return fmt.Errorf("host %s: laying out its disk: %w", h.Name, err)
		}
		hostKeys = append(hostKeys, hostKey)
	}
	return errors.Join(l.writeSSH(hostKeys), l.writeHosts())
}

// keepConsole saves the console of a host that did not boot from the clearing
// up, and returns what it says as an error.
func (l *Lab) keepConsole(host string) error {
	content, err := os.ReadFile(l.names.console(host))
	if err != nil {
		return err
	}
	f, err := os.CreateTemp("", l.names.netns(host)+"-*.console")
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	return fmt.Errorf("its console, kept in %s, ends with:\n%s", f.Name(), lastLines(string(content), 10))
}

func (l *Lab) save() error {
	content, err := json.MarshalIndent(state{l.Spec, l.images, l.accel}, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(l.names.state(), string(content)+"\n", 0o644)
}

// Open returns a lab that is up.
func Open(name string) (*Lab, error) {
	if err := validateName(name); err != nil {
		return nil, err
	}
	n := names(name)
	content, err := os.ReadFile(n.state())
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("lab %s is not up: see fabric lab list", name)
	}
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(content, &s); err != nil {
		return nil, fmt.Errorf("%s: %w (fabric lab down %s clears it away)", n.state(), err, name)
	}
	cg, err := findCgroups()
	if err != nil {
		return nil, err
	}
	return &Lab{Spec: s.Spec, Progress: io.Discard, names: n, cgroups: cg, images: s.Images, accel: s.Accel}, nil
}

// Info describes a lab of this machine.
type Info struct {
	Name string `json:"name"`
	// Hosts, sorted by name; none if the lab is only half made.
	Hosts []HostInfo `json:"hosts"`
}

// HostInfo is a Host and whether it is running.
type HostInfo struct {
	Host
	Running bool `json:"running"`
}

// List returns the labs on this machine, sorted by name, with those that are
// left half made.
func List() ([]Info, error) {
	found := map[string]bool{}
	for _, dir := range []string{runDir, diskDir} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		for _, e := range entries {
			if e.IsDir() {
				found[e.Name()] = true
			}
		}
	}
	infos := []Info{}
	for _, name := range sortedKeys(found) {
		info := Info{Name: name, Hosts: []HostInfo{}}
		if l, err := Open(name); err == nil {
			for _, h := range l.Spec.Hosts {
				running := l.driver(h).running(h.Name) == nil
				info.Hosts = append(info.Hosts, HostInfo{h, running})
			}
		}
		infos = append(infos, info)
	}
	return infos, nil
}

// Down takes the lab away: processes, namespaces, cgroups and files. The hosts
// are not shut down in order, they go like in a power cut.
func (l *Lab) Down(ctx context.Context) error { return Remove(ctx, l.Spec.Name) }

// Remove takes away the lab of that name, whatever there is of it, even if
// nothing: a lab that is up, half made, or left by a machine that went down.
func Remove(ctx context.Context, name string) error {
	if err := validateName(name); err != nil {
		return err
	}
	if err := CheckMachine(); err != nil {
		return err
	}
	cg, err := findCgroups()
	if err != nil {
		return err
	}
	n := names(name)
	unlock, err := n.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := remove(ctx, n, cg); err != nil {
		return fmt.Errorf("taking down lab %s: %w", name, err)
	}
	return nil
}

// remove deletes all but the lock, which goes with unlock.
func remove(ctx context.Context, n names, cg cgroups) error {
	// Supervisors first, or they would boot their hosts again.
	for _, cgroup := range []string{n.cgroup("supervisors"), n.cgroup()} {
		if err := cg.kill(ctx, cgroup); err != nil {
			return err
		}
	}
	if err := removeNetns(n); err != nil {
		return err
	}
	if err := cg.remove(ctx, n.cgroup()); err != nil {
		return err
	}
	// systemd-nspawn's way into the mounts of a machine it has registered.
	traces, err := filepath.Glob("/run/systemd/nspawn/propagate/" + n.netns("*"))
	if err != nil {
		return err
	}
	for _, dir := range traces {
		if n.ownsNetns(filepath.Base(dir)) {
			if err := os.RemoveAll(dir); err != nil {
				return err
			}
		}
	}
	if err := os.RemoveAll(n.disks()); err != nil {
		return err
	}
	_ = os.Remove(diskDir) // fails while there are other labs
	entries, err := os.ReadDir(n.run())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		if err := os.RemoveAll(filepath.Join(n.run(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}

const lockName = "lock"

// lock keeps two commands from making or removing the same lab at once. Unlock
// removes the lab's folder if nothing else is in it.
func (n names) lock() (unlock func(), err error) {
	path := filepath.Join(n.run(), lockName)
	for {
		if err := makeDir(n.run(), 0o755); err != nil {
			return nil, err
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("another command is making or removing lab %s: wait for it, or end it", n)
			}
			return nil, fmt.Errorf("locking %s: %w", path, err)
		}
		// The last holder may have removed the file between open and lock.
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		there, err := os.Stat(path)
		if err != nil || !os.SameFile(mine, there) {
			f.Close()
			continue
		}
		return func() {
			if entries, err := os.ReadDir(n.run()); err == nil && len(entries) == 1 {
				_ = os.Remove(path)
				_ = os.Remove(n.run())
				_ = os.Remove(runDir) // fails while there are other labs
			}
			f.Close()
		}, nil
	}
}

// lineWriter lets goroutines share a writer.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (lw *lineWriter) Write(p []byte) (int, error) {
	lw.mu.Lock()
	defer lw.mu.Unlock()
	return lw.w.Write(p)
}
