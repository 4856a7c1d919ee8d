package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// cgroups are the roots of the hierarchies that systemd, of the machine and of
// the hosts, keeps its units in. Every host needs a cgroup of its own in each,
// or the hosts' systemds take each other's units for theirs. A lab's cgroups
// are also its register of processes: what is in one belongs to the lab.
type cgroups []string

// findCgroups knows the three layouts of systemd's cgroup interface
// (https://systemd.io/CGROUP_DELEGATION, "Three Different Tree Setups").
func findCgroups() (cgroups, error) {
	if isCgroup2(cgroupRoot) {
		return cgroups{cgroupRoot}, nil
	}
	var found cgroups
	if unified := filepath.Join(cgroupRoot, "unified"); isCgroup2(unified) {
		found = append(found, unified)
	}
	if _, err := os.Stat(filepath.Join(cgroupRoot, "systemd", "cgroup.procs")); err == nil {
		found = append(found, filepath.Join(cgroupRoot, "systemd"))
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds neither cgroup v2 nor systemd's hierarchy of v1: mount one of them", cgroupRoot)
	}
	return found, nil
}

func isCgroup2(path string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(path, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// paths returns a cgroup's folder in every hierarchy.
func (c cgroups) paths(cgroup string) []string {
	var paths []string
	for _, root := range c {
		paths = append(paths, filepath.Join(root, cgroup))
	}
	return paths
}

// add makes a cgroup. With parent set, its children get all controllers it has:
// v2 hands them down one level at a time (cgroups(7)).
func (c cgroups) add(cgroup string, parent bool) error {
	for _, path := range c.paths(cgroup) {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if !parent || !isCgroup2(path) {
			continue
		}
		controllers, err := os.ReadFile(filepath.Join(path, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, controller := range strings.Fields(string(controllers)) {
			if err := os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte("+"+controller), 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// processes returns the pids in a cgroup and all below it, in every hierarchy.
func (c cgroups) processes(cgroup string) ([]int, error) {
	var pids []int
	err := c.walk(cgroup, func(dir string) error {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		// ENODEV: the cgroup went away between open and read.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for field := range strings.FieldsSeq(string(content)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				return fmt.Errorf("%s/cgroup.procs: %w", dir, err)
			}
			pids = append(pids, pid)
		}
		return err
	})
	slices.Sort(pids)
	return slices.Compact(pids), err
}

// kill ends all processes in a cgroup and below, and waits until they are gone.
// By their numbers it ends them only where the kernel cannot do it (before 5.14,
// or without v2): another process may have got the number of one by then.
func (c cgroups) kill(ctx context.Context, cgroup string) error {
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		atOnce := false
		for _, path := range c.paths(cgroup) {
			f, err := os.OpenFile(filepath.Join(path, "cgroup.kill"), os.O_WRONLY, 0)
			if err != nil {
				continue
			}
			_, err = f.WriteString("1")
			atOnce = atOnce || err == nil
			f.Close()
		}
		pids, err := c.processes(cgroup)
		if atOnce {
			return len(pids) == 0, err
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return false, fmt.Errorf("kill %d: %w", pid, err)
			}
		}
		return len(pids) == 0, err
	})
}

// remove deletes a cgroup without processes, and all below it.
func (c cgroups) remove(ctx context.Context, cgroup string) error {
	// A cgroup stays busy for a moment after its last process was reaped.
	return poll(ctx, 20*time.Millisecond, func() (bool, error) {
		var dirs []string
		err := c.walk(cgroup, func(dir string) error {
			dirs = append(dirs, dir)
			return nil
		})
		if err != nil {
			return false, err
		}
		for _, dir := range slices.Backward(dirs) {
			err := os.Remove(dir)
			if errors.Is(err, unix.EBUSY) {
				return false, nil
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return false, err
			}
		}
		return true, nil
	})
}

// walk visits a cgroup and all below it, parents first, in every hierarchy.
func (c cgroups) walk(cgroup string, visit func(dir string) error) error {
	for _, path := range c.paths(cgroup) {
		err := filepath.WalkDir(path, func(dir string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, os.ErrNotExist):
				return nil
			case err != nil:
				return err
			case d.IsDir():
				return visit(dir)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
