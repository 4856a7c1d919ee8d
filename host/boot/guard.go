package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/host/command"
	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/templates"
)

// Guard is what goes back from a journal when the process that wrote it is
// gone: a program of its own, one unit that waits for the apply's lock, and
// one for the next boot.
type Guard struct {
	root    string
	running string // path of the program that is running
	watch   bool
	run     func(ctx context.Context, name string, args ...string) ([]byte, error)
}

// NewGuard returns the guard of the host whose file system is at root; "" is
// this host's own. watch says that the calling process is the guard itself,
// which ends after Disarm and must not be stopped by it.
func NewGuard(root string, watch bool) *Guard {
	return &Guard{root: root, running: "/proc/self/exe", watch: watch, run: command.Run}
}

func (g *Guard) at(path string) string { return filepath.Join(g.root, path) }

// wants is where systemd looks at boot for what to start.
const wants = "/etc/systemd/system/multi-user.target.wants"

func wantsLink(unit string) string { return filepath.Join(wants, unit) }

// armTimeout bounds what is waited for the guard to stand.
const armTimeout = time.Minute

// Arm has systemd run Install. A process that is killed while it arms the
// guard leaves it to be finished, and to find that there is nothing to guard.
func (g *Guard) Arm(ctx context.Context) error {
	ctx, cancel := patience.TimeoutAfter(ctx, armTimeout)
	defer cancel()
	pid := os.Getpid()
	_, err := g.run(ctx, "systemd-run", "--quiet", "--collect", "--wait", "--pipe", fmt.Sprintf("--unit=fabric-arm-%d", pid),
		fmt.Sprintf("/proc/%d/exe", pid), "node", "arm")
	return err
}

// Install puts the guard in place and starts it.
func (g *Guard) Install(ctx context.Context) error {
	if err := g.own(); err != nil {
		return err
	}
	if err := g.installProgram(); err != nil {
		return err
	}
	for _, unit := range []string{templates.WatchUnit, templates.RecoverUnit} {
		f := templates.Guard(unit)
		if err := file.Write(g.at(f.Path), []byte(f.Content), fs.FileMode(f.Mode)); err != nil {
			return err
		}
		if err := enable(g.root, unit); err != nil {
			return err
		}
	}
	err := g.reload(ctx, loaded, "systemctl", "daemon-reload")
	if err == nil {
		_, err = g.run(ctx, "systemctl", "restart", templates.WatchUnit)
	}
	if err != nil {
		return fmt.Errorf("systemd did not do it; `journalctl -u %s` may tell why: %w", templates.WatchUnit, err)
	}
	return nil
}

// What systemd knows of a unit, LoadState in org.freedesktop.systemd1(5).
const (
	loaded   = "loaded"
	notFound = "not-found"
)

// reload runs command, which has systemd read unit files again, unless it knows
// both units of the guard as they are, by the state that is wanted. It reads one
// that it does not know once it is asked about it, and to read all again takes
// tenths of a second. A watch that still ran when its file went cannot be
// loaded from a new one (EBUSY: it has a cgroup already), and is not stale then.
func (g *Guard) reload(ctx context.Context, state string, command ...string) error {
	said, err := g.run(ctx, "systemctl", "show", "--property=LoadState,NeedDaemonReload", templates.WatchUnit, templates.RecoverUnit)
	if err == nil && bytes.Count(said, []byte("LoadState="+state+"\n")) == 2 && bytes.Count(said, []byte("NeedDaemonReload=no\n")) == 2 {
		return nil
	}
	_, err = g.run(ctx, command[0], command[1:]...)
	return err
}

// own is an error where a unit is somebody else's.
func (g *Guard) own() error {
	for _, unit := range []string{templates.WatchUnit, templates.RecoverUnit} {
		if _, err := readFile(g.at(unitPath(unit))); errors.Is(err, errForeign) {
			return fmt.Errorf("%s: %w: move it away", unitPath(unit), errForeign)
		}
	}
	return nil
}

// installProgram puts the running program where the guard has it: as another
// name of the installed one where they are the same.
func (g *Guard) installProgram() error {
	had, err := build.ID(g.at(templates.Recovery))
	if err != nil {
		return err
	}
	want, err := build.ID(g.running)
	if err != nil || had == want {
		return err
	}
	installed, err := build.ID(g.at(Program))
	if err != nil {
		return err
	}
	if installed == want && had == "" {
		if err := os.Link(g.at(Program), g.at(templates.Recovery)); err != nil {
			return err
		}
		return file.SyncDir(g.at(filepath.Dir(templates.Recovery)))
	}
	return file.Copy(g.at(templates.Recovery), g.running, 0o755)
}

// enable does what systemctl enable does, on the host whose file system is at
// root, but has its link reach the disk, and no systemd read all units again.
func enable(root, unit string) error {
	dir := filepath.Join(root, wants)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	err := os.Symlink(unitPath(unit), filepath.Join(root, wantsLink(unit)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return file.SyncDir(dir)
}

// Disarm takes the guard away. If it is cut off, the watch, which still runs,
// does it again, or Sweep does after a boot that does not start it any more.
// Nobody waits for systemd to have forgotten units that are gone.
func (g *Guard) Disarm(ctx context.Context) error {
	if err := g.remove(); err != nil {
		return err
	}
	if !g.watch {
		// The unit may have ended, or never have been started.
		if _, err := g.run(ctx, "systemctl", "stop", templates.WatchUnit); err != nil && g.watching(ctx) {
			return err
		}
	}
	return g.reload(ctx, notFound, "systemd-run", "--quiet", "--collect", "--no-block", "systemctl", "daemon-reload")
}

// Sweep takes away what a power cut left of a guard that nothing starts. It is
// for a boot, in which nobody arms one.
func (g *Guard) Sweep() error {
	_, err := os.Lstat(g.at(wantsLink(templates.WatchUnit)))
	if !errors.Is(err, fs.ErrNotExist) {
		return err // there, and the watch sees to it; or unknown
	}
	if g.own() != nil {
		return nil // nothing of a guard
	}
	return g.remove()
}

// remove removes the guard's files: what starts them before the units, and the
// program after what runs it.
func (g *Guard) remove() error {
	errs := []error{
		file.Sweep(g.at(unitPath(templates.RecoverUnit)), g.at(unitPath(templates.WatchUnit)), g.at(templates.Recovery)),
		file.Remove(g.at(wantsLink(templates.RecoverUnit)), g.at(wantsLink(templates.WatchUnit))),
		file.Remove(g.at(unitPath(templates.RecoverUnit)), g.at(unitPath(templates.WatchUnit))),
		file.Remove(g.at(templates.Recovery)),
	}
	err := os.Remove(g.at(filepath.Dir(templates.Recovery)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// watching tells whether the watch runs.
func (g *Guard) watching(ctx context.Context) bool {
	_, err := g.run(ctx, "systemctl", "is-active", "--quiet", templates.WatchUnit)
	return err == nil
}
