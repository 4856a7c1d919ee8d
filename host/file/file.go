// Package file replaces files so that a crash leaves the old content or the
// new.
package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Write replaces the content of the file at path, or makes the file, with
// the permission bits of mode whatever the umask. A file that exists keeps
// its owner and group. Directories missing above it are made with 0755. A
// symbolic link stays and what it points to is replaced. When Write returns
// nil the content has reached the disk; when it returns an error the former
// file is untouched, or replaced as a whole.
func Write(path string, data []byte, mode fs.FileMode) error {
	return replace(path, mode, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// Copy is Write with the content of another file.
func Copy(path, from string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	return replace(path, mode, func(f *os.File) error {
		_, err := io.Copy(f, source)
		return err
	})
}

func replace(path string, mode fs.FileMode, fill func(*os.File) error) (err error) {
	target, err := resolve(path)
	if err != nil {
		return err
	}
	dir := filepath.Dir(target)
	if err := makeDirs(dir); err != nil {
		return err
	}
	if err := Sweep(target); err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("%s%08x", beside(target), rand.Uint32()))
	defer func() {
		if err != nil {
			err = fmt.Errorf("replace %s: %w", path, err)
			_ = os.Remove(name)
		}
	}()
	tmp, named, err := create(dir, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tmp.Close()) }()
	if err := finish(tmp, target, mode, fill); err != nil {
		return err
	}
	if !named {
		// Where nothing has to be replaced, the process may be killed at any
		// moment.
		if err := link(tmp, target); err == nil {
			return SyncDir(dir)
		}
		if err := link(tmp, name); err != nil {
			return err
		}
	}
	if err := os.Rename(name, target); err != nil {
		return err
	}
	return SyncDir(dir)
}

// link gives a file without a name one that no other has.
func link(f *os.File, name string) error {
	// Without CAP_DAC_READ_SEARCH only the way by /proc may be linked, open(2).
	return unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
}

// beside is how the names of what is to take a file's place begin; eight
// digits, base 16, follow.
func beside(target string) string { return "." + filepath.Base(target) + "." }

// Sweep takes away what writers of these files have left that were killed just
// before the file was in its place. Those of a writer that lives stay: it holds
// a lock on them. Nothing may be there, not even the folder.
func Sweep(paths ...string) error {
	var errs []error
	for _, path := range paths {
		if target, err := resolve(path); err == nil {
			path = target
		}
		dir := filepath.Dir(path)
		entries, _ := os.ReadDir(dir) // what cannot be seen stays
		for _, e := range entries {
			suffix, found := strings.CutPrefix(e.Name(), beside(path))
			if _, err := strconv.ParseUint(suffix, 16, 32); !found || err != nil || len(suffix) != 8 || !e.Type().IsRegular() {
				continue
			}
			errs = append(errs, removeLeft(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(errs...)
}

// removeLeft removes a file unless a writer holds it, or nobody can tell.
func removeLeft(name string) error {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	if err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil
	}
	return Remove(name)
}

// create makes a file in dir that has no name yet, so that nothing is left of
// it where the process is killed; or of that name, where the file system
// cannot do without.
func create(dir, name string) (f *os.File, named bool, err error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err == nil {
		f = os.NewFile(uintptr(fd), name)
	} else {
		named = true
		if f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return nil, named, err
		}
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) // where there are no locks, Sweep can have none either
	return f, named, nil
}

func finish(f *os.File, target string, mode fs.FileMode, fill func(*os.File) error) error {
	if err := fill(f); err != nil {
		return err
	}
	if err := keepOwner(f, target); err != nil {
		return err
	}
	if err := f.Chmod(mode.Perm()); err != nil {
		return err
	}
	return f.Sync()
}

// keepOwner gives f the owner of the file that it replaces. It comes before
// the mode: chown(2) takes the set-user-ID bits away.
func keepOwner(f *os.File, target string) error {
	info, err := os.Stat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(owner.Uid) == os.Geteuid() && int(owner.Gid) == os.Getegid() {
		return nil
	}
	return f.Chown(int(owner.Uid), int(owner.Gid))
}

// Remove deletes files for good: what it has deleted is gone from the disk when
// it returns nil, in whatever order. A file that does not exist is no error, and
// one that cannot be deleted keeps no other.
func Remove(paths ...string) error {
	var errs []error
	changed := make(map[string]bool)
	for _, path := range paths {
		err := os.Remove(path)
		if err == nil {
			changed[filepath.Dir(path)] = true
		} else if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for dir := range changed {
		errs = append(errs, SyncDir(dir))
	}
	return errors.Join(errs...)
}

// Rename gives a file another name in the same folder, for good.
func Rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(to))
}

// Guard says why what is in a folder cannot be trusted: it is not a folder, or
// somebody other than root and this process's user may write in it. A folder
// that does not exist is no error.
func Guard(dir string) error {
	info, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", dir)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user %d", dir, owner.Uid)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner (mode %04o)", dir, info.Mode().Perm())
	}
	return nil
}

// resolve follows a symbolic link at path.
func resolve(path string) (string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil
	}
	if err != nil {
		return "", err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return path, nil
	}
	return filepath.EvalSymlinks(path)
}

// makeDirs makes dir and what is missing above it, and has each new entry
// reach the disk.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(dir))
}

// SyncDir has the entries of dir reach the disk: an fsync of a file does not
// cover its name, fsync(2).
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
