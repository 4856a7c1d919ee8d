package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/templates"
)

// previous keeps the program that the installed one replaced, so that a
// rollback has it.
const previous = Program + ".previous"

// linking is the program until it takes the place of another one.
const linking = Program + ".new"

const (
	dockerDropIn = "/etc/systemd/system/docker.service.d/50-fabric.conf"
	restoreUnit  = "fabric-restore.service"
)

// Apply makes the files and the program what want.Boot says; without
// want.Boot nothing of them is left. Docker is never stopped or restarted by
// it: its drop-in, which has docker.service stop when the restore unit stops,
// comes last and goes first.
func (r *Resource) Apply(ctx context.Context, want plan.HostState) error {
	boot := plan.Boot{}
	if want.Boot != nil {
		boot = *want.Boot
	}
	for _, f := range boot.Files {
		if !slices.Contains(templates.Paths(), f.Path) {
			return fmt.Errorf("%s is not a file of the fabric's", f.Path)
		}
	}
	if err := r.sweep(); err != nil {
		return err
	}
	had, foreign, err := r.read()
	if err != nil {
		return err
	}
	if want.Boot != nil && len(foreign) > 0 {
		return fmt.Errorf("%s: %w: move it away", strings.Join(foreign, ", "), errForeign)
	}
	if boot.Program != "" && boot.Program != had.Program {
		if err := r.install(boot.Program, had.Program); err != nil {
			return err
		}
	}
	if err := r.remove(ctx, had.Files, boot.Files); err != nil {
		return err
	}
	if err := r.write(ctx, had.Files, boot.Files); err != nil {
		return err
	}
	if boot.Program == "" {
		if err := file.Remove(r.at(Program), r.at(previous), r.at(linking)); err != nil {
			return err
		}
	}
	return r.removeEmptyDirs()
}

// sweep takes away what an apply that was killed has left half written.
func (r *Resource) sweep() error {
	paths := []string{r.at(Program)}
	for _, path := range templates.Paths() {
		paths = append(paths, r.at(path))
	}
	return file.Sweep(paths...)
}

// install puts the build want of the program in place: the one that is
// running, which the guard may have written to the disk already, or the one
// that was replaced last.
func (r *Resource) install(want, had string) error {
	source := ""
	for _, path := range []string{r.at(templates.Recovery), r.running, r.at(previous)} {
		id, err := build.ID(path)
		if err != nil {
			return err
		}
		if id == want {
			source = path
			break
		}
	}
	if source == "" {
		return fmt.Errorf("install %s: the program that is running is not the build %s: plan again with this one", Program, want)
	}
	put := r.putLink
	switch source {
	case r.at(previous): // not out of sight for a moment: nobody else has it
		return file.Rename(source, r.at(Program))
	case r.running:
		put = func() error { return file.Copy(r.at(Program), source, 0o755) }
	}
	if had != "" {
		if err := file.Remove(r.at(previous)); err != nil {
			return err
		}
		if err := os.Link(r.at(Program), r.at(previous)); err != nil {
			return fmt.Errorf("keep the program that is replaced: %w", err)
		}
	}
	return put()
}

// putLink makes the program another name of the guard's.
func (r *Resource) putLink() error {
	name := r.at(linking)
	if err := file.Remove(name); err != nil {
		return err
	}
	if err := os.Link(r.at(templates.Recovery), name); err != nil {
		return err
	}
	return file.Rename(name, r.at(Program))
}

// remove deletes the files of had that are not in want.
func (r *Resource) remove(ctx context.Context, had, want []plan.File) error {
	var goes []string
	for _, f := range had {
		if !slices.ContainsFunc(want, func(w plan.File) bool { return w.Path == f.Path }) {
			goes = append(goes, f.Path)
		}
	}
	if len(goes) == 0 {
		return nil
	}
	if slices.Contains(goes, dockerDropIn) {
		if err := file.Remove(r.at(dockerDropIn)); err != nil {
			return err
		}
		if err := r.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if slices.Contains(goes, unitPath(restoreUnit)) {
		if err := r.systemctl(ctx, "stop", restoreUnit); err != nil {
			return err
		}
		if err := file.Remove(r.at(wantsLink(restoreUnit))); err != nil {
			return err
		}
	}
	paths := make([]string, len(goes))
	for i, path := range goes {
		paths[i] = r.at(path)
	}
	if err := file.Remove(paths...); err != nil {
		return err
	}
	if slices.ContainsFunc(goes, isUnit) {
		return r.systemctl(ctx, "daemon-reload")
	}
	return nil
}

// write brings about the files of want that are not in had. The restore unit
// is enabled and started even if its file was there: an earlier run may have
// been cut short. udevd looks for changed rules by itself.
func (r *Resource) write(ctx context.Context, had, want []plan.File) error {
	order := slices.Clone(want)
	slices.SortStableFunc(order, func(a, b plan.File) int {
		rank := func(f plan.File) int {
			if f.Path == dockerDropIn {
				return 1
			}
			return 0
		}
		return rank(a) - rank(b)
	})
	reload := false
	for _, f := range order {
		if slices.Contains(had, f) {
			continue
		}
		if err := file.Write(r.at(f.Path), []byte(f.Content), fs.FileMode(f.Mode)); err != nil {
			return err
		}
		reload = reload || isUnit(f.Path)
	}
	restores := slices.ContainsFunc(want, func(f plan.File) bool { return f.Path == unitPath(restoreUnit) })
	if restores {
		if err := enable(r.root, restoreUnit); err != nil {
			return err
		}
	}
	if reload {
		if err := r.systemctl(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if !restores {
		return nil
	}
	args := []string{"start", restoreUnit}
	if r.booting {
		args = slices.Insert(args, 0, "--no-block")
	}
	return r.systemctl(ctx, args...)
}

func unitPath(unit string) string { return "/etc/systemd/system/" + unit }

// isUnit tells whether systemd has to read its units again for path.
func isUnit(path string) bool { return strings.HasPrefix(path, "/etc/systemd/") }

func (r *Resource) systemctl(ctx context.Context, args ...string) error {
	if _, err := r.run(ctx, "systemctl", args...); err != nil {
		return fmt.Errorf("systemd did not do it; `journalctl -u %s` may tell why: %w", restoreUnit, err)
	}
	return nil
}

// removeEmptyDirs removes the directories that exist for the fabric alone,
// as far as nothing is in them.
func (r *Resource) removeEmptyDirs() error {
	for _, path := range []string{dockerDropIn, templates.HostFile, Program} {
		err := os.Remove(filepath.Dir(r.at(path)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTEMPTY) {
			return err
		}
	}
	return nil
}
