package file

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestWriteMakesFileAndDirectories(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "f")
	if err := Write(path, []byte("new"), 0o664); err != nil {
		t.Fatal(err)
	}
	check(t, path, "new", 0o664)
}

func TestWriteReplacesContentAndMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("old and longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, path, "new", 0o600)
	if diff := cmp.Diff([]string{"f"}, names(t, filepath.Dir(path))); diff != "" {
		t.Errorf("directory afterwards (-want +got):\n%s", diff)
	}
}

func TestCopyHasTheContentOfTheOther(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	content := strings.Repeat("0123456789abcdef", 1<<16)
	if err := errors.Join(os.WriteFile(from, []byte(content), 0o600), os.WriteFile(to, []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	if err := Copy(to, from, 0o755); err != nil {
		t.Fatal(err)
	}
	check(t, to, content, 0o755)
}

func TestCopyOfWhatIsNotThereLeavesTheFile(t *testing.T) {
	to := filepath.Join(t.TempDir(), "to")
	if err := os.WriteFile(to, []byte("stays"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Copy(to, to+".none", 0o755); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	check(t, to, "stays", 0o600)
}

// TestANewFileHasNoOtherNameFirst has a writer killed at any moment leave
// nothing: there is no moment at which it could.
func TestANewFileHasNoOtherNameFirst(t *testing.T) {
	dir := t.TempDir()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.InotifyAddWatch(fd, dir, unix.IN_CREATE|unix.IN_MOVE); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "f"), []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	events := make([]byte, 4096)
	n, err := unix.Read(fd, events)
	if err != nil {
		t.Fatal(err)
	}
	if n != unix.SizeofInotifyEvent+16 || string(bytes.TrimRight(events[unix.SizeofInotifyEvent:n], "\x00")) != "f" {
		t.Errorf("other names were there meanwhile: %q", events[:n])
	}
}

func TestWhatAKilledWriterLeftGoes(t *testing.T) {
	const left, lives, others = ".f.0badcafe", ".f.cafe0bad", ".f.notes"
	for name, sweep := range map[string]func(path string) error{
		"with the next write": func(path string) error { return Write(path, []byte("new"), 0o600) },
		"when asked for": func(path string) error {
			return Sweep(path, path+".none", filepath.Join(filepath.Dir(path), "none", "f"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, f := range []string{"f", left, lives, others} {
				if err := os.WriteFile(filepath.Join(dir, f), []byte("old"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			writer, err := os.Open(filepath.Join(dir, lives))
			if err != nil {
				t.Fatal(err)
			}
			defer writer.Close()
			if err := unix.Flock(int(writer.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			if err := sweep(filepath.Join(dir, "f")); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{lives, others, "f"}, names(t, dir)); diff != "" {
				t.Errorf("directory afterwards (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriteKeepsGroup(t *testing.T) {
	groups, err := os.Getgroups()
	if err != nil {
		t.Fatal(err)
	}
	// Root may give a file to any group, others to those they are in.
	group := os.Getegid()
	for _, g := range groups {
		if g != group {
			group = g
		}
	}
	if os.Geteuid() == 0 {
		group = 54321
	}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(path, -1, group); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o640); err != nil {
		t.Fatal(err)
	}
	check(t, path, "new", 0o640)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := int(info.Sys().(*syscall.Stat_t).Gid); got != group {
		t.Errorf("group = %d, want %d", got, group)
	}
}

func TestWriteFollowsSymbolicLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, []byte("new"), 0o644); err != nil {
		t.Fatal(err)
	}
	check(t, target, "new", 0o644)
	if got, err := os.Readlink(link); err != nil || got != "target" {
		t.Errorf("link afterwards = %q, %v; want it to point to target", got, err)
	}
}

func TestWriteThatFailsLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.MkdirAll(filepath.Join(path, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, []byte("new"), 0o644); err == nil {
		t.Fatal("Write over a directory: no error")
	}
	if diff := cmp.Diff([]string{"f"}, names(t, dir)); diff != "" {
		t.Errorf("directory afterwards (-want +got):\n%s", diff)
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{"present", "absent"} {
		if err := Remove(path); err != nil {
			t.Errorf("Remove of a file that is %s: %v", state, err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("file afterwards: %v, want it gone", err)
	}
}

func TestAFileThatCannotBeRemovedKeepsNoOther(t *testing.T) {
	dir := t.TempDir()
	full, path := filepath.Join(dir, "full"), filepath.Join(dir, "f")
	if err := os.MkdirAll(filepath.Join(full, "of"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Remove(full, path); err == nil || !strings.Contains(err.Error(), full) {
		t.Errorf("error = %v, want one about %s", err, full)
	}
	if diff := cmp.Diff([]string{"full"}, names(t, dir)); diff != "" {
		t.Errorf("directory afterwards (-want +got):\n%s", diff)
	}
}

func check(t *testing.T, path, content string, mode fs.FileMode) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != content {
		t.Errorf("content = %q, want %q", got, content)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != mode {
		t.Errorf("mode = %v, want %v", info.Mode(), mode)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAFolderThatOthersMayWriteInIsNotTrusted(t *testing.T) {
	top := t.TempDir()
	path := func(name string) string { return filepath.Join(top, name) }
	for name, mode := range map[string]fs.FileMode{"own": 0o755, "group": 0o775, "others": 0o777} {
		if err := errors.Join(os.Mkdir(path(name), mode), os.Chmod(path(name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(path("own"), path("link")), os.WriteFile(path("file"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"missing": "", "own": "", "group": "can be written by others than its owner (mode 0775)",
		"others": "can be written by others than its owner (mode 0777)", "link": "is not a folder", "file": "is not a folder",
	} {
		got := ""
		if err := Guard(path(name)); err != nil {
			got = strings.TrimPrefix(err.Error(), path(name)+" ")
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
