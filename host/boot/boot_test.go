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
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/templates"
)

// host is a file system in a temporary directory, and a systemctl that only
// writes down what it was asked and which files there were at that moment.
type host struct {
	*Resource
	asked []string
	fail  string // the command that fails
	units string // what systemctl shows of the guard's units; "": them as they are
}

// unitState is what systemctl shows of a unit.
func unitState(load, stale string) string {
	return fmt.Sprintf("LoadState=%s\nNeedDaemonReload=%s\n", load, stale)
}

// unitStates is what it shows where it knows of each change at once.
func (h *host) unitStates() string {
	states := make([]string, 2)
	for i, unit := range []string{templates.WatchUnit, templates.RecoverUnit} {
		states[i] = unitState(notFound, "no")
		if _, err := os.Lstat(h.at(unitPath(unit))); err == nil {
			states[i] = unitState(loaded, "no")
		}
	}
	return strings.Join(states, "\n")
}

func newHost(t *testing.T) *host {
	t.Helper()
	root := t.TempDir()
	h := &host{Resource: New(root, false)}
	h.running = filepath.Join(root, "running")
	h.put(t, "/running", "first program")
	h.mkdir(t, "/run/systemd/system")
	h.mkdir(t, wants)
	h.mkdir(t, "/etc/udev/rules.d")
	h.mkdir(t, "/usr/local/lib")
	h.run = func(_ context.Context, name string, args ...string) ([]byte, error) {
		line := strings.Join(append([]string{name}, args...), " ")
		if slices.Contains(args, restoreUnit) {
			for _, path := range []string{unitPath(restoreUnit), wantsLink(restoreUnit), dockerDropIn} {
				if _, err := os.Lstat(h.at(path)); err == nil {
					line += " with " + filepath.Base(filepath.Dir(path)) + "/" + filepath.Base(path)
				}
			}
		}
		if slices.Contains(args, "show") {
			if h.units == "" {
				return []byte(h.unitStates()), nil
			}
			return []byte(h.units), nil
		}
		h.asked = append(h.asked, line)
		if line == h.fail {
			return nil, errors.New("refused")
		}
		return nil, nil
	}
	return h
}

func (h *host) put(t *testing.T, path, content string) {
	t.Helper()
	h.mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(h.at(path), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// putLeft puts what writers of these files leave that are killed just before
// the file is in its place.
func (h *host) putLeft(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		h.put(t, filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".0badcafe"), "all of it")
	}
}

func (h *host) mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(h.at(path), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (h *host) apply(t *testing.T, want *plan.Boot) {
	t.Helper()
	h.asked = nil
	if err := h.Apply(t.Context(), plan.HostState{Boot: want}); err != nil {
		t.Fatal(err)
	}
}

func (h *host) observe(t *testing.T) plan.Observation {
	t.Helper()
	var o plan.Observation
	if err := h.Observe(t.Context(), plan.Query{}, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// tree lists everything in the host's file system.
func (h *host) tree(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(h.root, func(path string, _ fs.DirEntry, err error) error {
		paths = append(paths, strings.TrimPrefix(path, h.root))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func (h *host) want(t *testing.T) *plan.Boot {
	t.Helper()
	id, err := build.ID(h.running)
	if err != nil {
		t.Fatal(err)
	}
	return &plan.Boot{
		Program: id,
		Files:   templates.Boot(templates.BootParams{HostFile: []byte(`{"fabric": "demo"}`), Switches: []string{"br0"}}),
	}
}

const (
	installed = " with system/fabric-restore.service with multi-user.target.wants/fabric-restore.service"
	start     = "systemctl start fabric-restore.service" + installed
	stop      = "systemctl stop fabric-restore.service" + installed
	reload    = "systemctl daemon-reload"

	beforeDocker = " with docker.service.d/50-fabric.conf"
)

func TestApplyIsObserved(t *testing.T) {
	h := newHost(t)
	want := h.want(t)
	h.apply(t, want)
	if diff := cmp.Diff(plan.Observation{State: plan.HostState{Boot: want}}, h.observe(t), cmpopts.EquateComparable()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	info, err := os.Stat(h.at(Program))
	if err != nil || info.Mode() != 0o755 {
		t.Errorf("mode of the program = %v, %v; want 0755", info.Mode(), err)
	}
	if diff := cmp.Diff([]string{reload, start + beforeDocker}, h.asked); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestApplyAgainReplacesNoFile(t *testing.T) {
	h := newHost(t)
	h.apply(t, h.want(t))
	before := h.inodes(t)
	h.apply(t, h.want(t))
	if diff := cmp.Diff(before, h.inodes(t)); diff != "" {
		t.Errorf("files were replaced (-before +after):\n%s", diff)
	}
	if slices.Contains(h.asked, reload) {
		t.Errorf("systemd was reloaded: %q", h.asked)
	}
}

func TestApplyOfAnotherHostFileReloadsNothing(t *testing.T) {
	h := newHost(t)
	h.apply(t, h.want(t))
	want := h.want(t)
	want.Files[0].Content = `{"fabric": "demo", "changed": true}`
	h.apply(t, want)
	if got := h.observe(t).State.Boot.Files[0].Content; got != want.Files[0].Content {
		t.Errorf("content = %s, want %s", got, want.Files[0].Content)
	}
	if slices.Contains(h.asked, reload) {
		t.Errorf("systemd was reloaded: %q", h.asked)
	}
}

func TestRemovalLeavesWhatWasThere(t *testing.T) {
	h := newHost(t)
	before := h.tree(t)
	h.apply(t, h.want(t))
	h.apply(t, nil)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	if o := h.observe(t); o.State.Boot != nil {
		t.Errorf("observed %+v, want nil", o.State.Boot)
	}
	// Docker must no longer require the unit when that is stopped.
	if diff := cmp.Diff([]string{reload, stop, reload}, h.asked); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestGoingBackTakesWhatAKilledApplyWasWriting(t *testing.T) {
	h := newHost(t)
	before := h.tree(t)
	h.putLeft(t, append(templates.Paths(), Program)...)
	h.apply(t, nil)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestRemovalKeepsFilesOfOthers(t *testing.T) {
	h := newHost(t)
	h.put(t, "/etc/systemd/system/docker.service.d/proxy.conf", "[Service]\n")
	before := h.tree(t)
	h.apply(t, h.want(t))
	h.apply(t, nil)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestRemovalOfNothingAsksNothing(t *testing.T) {
	h := newHost(t)
	h.apply(t, nil)
	if len(h.asked) > 0 {
		t.Errorf("commands: %q, want none", h.asked)
	}
}

func TestRemovalCutShortIsFinishedByTheNext(t *testing.T) {
	h := newHost(t)
	before := h.tree(t)
	h.apply(t, h.want(t))
	h.fail = stop
	if err := h.Apply(t.Context(), plan.HostState{}); err == nil {
		t.Fatal("no error, though systemctl failed")
	}
	h.fail = ""
	h.apply(t, nil)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestForeignFileIsAnObstacleAndStays(t *testing.T) {
	for _, path := range templates.Paths() {
		t.Run(filepath.Base(path), func(t *testing.T) {
			h := newHost(t)
			h.put(t, path, "{\"made by\": \"hand\"}\n")
			o := h.observe(t)
			if len(o.Obstacles) != 1 || !strings.Contains(o.Obstacles[0].What, path) {
				t.Errorf("obstacles = %+v, want one about %s", o.Obstacles, path)
			}
			before := h.tree(t)
			if err := h.Apply(t.Context(), plan.HostState{Boot: h.want(t)}); err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("error = %v, want one about %s", err, path)
			}
			h.apply(t, nil)
			if diff := cmp.Diff(before, h.tree(t)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

func TestDirectoryInPlaceOfAFileIsAnObstacle(t *testing.T) {
	h := newHost(t)
	h.mkdir(t, templates.HostFile)
	if o := h.observe(t); len(o.Obstacles) != 1 {
		t.Errorf("obstacles = %+v, want one", o.Obstacles)
	}
}

func TestHostWithoutSystemdIsAnObstacle(t *testing.T) {
	h := newHost(t)
	if err := os.Remove(h.at("/run/systemd/system")); err != nil {
		t.Fatal(err)
	}
	o := h.observe(t)
	if len(o.Obstacles) != 1 || !strings.Contains(o.Obstacles[0].What, "systemd") {
		t.Errorf("obstacles = %+v, want one about systemd", o.Obstacles)
	}
}

func TestProgramThatTheGuardHasIsNotWrittenTwice(t *testing.T) {
	h := newHost(t)
	h.apply(t, h.want(t))
	h.put(t, "/running", "second program")
	h.put(t, templates.Recovery, "second program")
	want := h.want(t)
	h.apply(t, want)
	if got := h.observe(t).State.Boot.Program; got != want.Program {
		t.Errorf("program = %s, want %s", got, want.Program)
	}
	if h.inode(t, Program) != h.inode(t, templates.Recovery) {
		t.Error("the program and the guard's are two files")
	}
}

func TestRollbackBringsThePreviousProgramBack(t *testing.T) {
	h := newHost(t)
	first := h.want(t)
	h.apply(t, first)
	h.put(t, "/running", "second program")
	second := h.want(t)
	h.apply(t, second)
	if got := h.observe(t).State.Boot.Program; got != second.Program {
		t.Fatalf("program after the upgrade = %s, want %s", got, second.Program)
	}
	h.apply(t, first)
	if got := h.observe(t).State.Boot.Program; got != first.Program {
		t.Errorf("program after the rollback = %s, want %s", got, first.Program)
	}
}

func TestApplyRefuses(t *testing.T) {
	h := newHost(t)
	before := h.tree(t)
	for name, change := range map[string]func(*plan.Boot){
		"a path that is not the fabric's": func(b *plan.Boot) { b.Files[0].Path = "/etc/passwd" },
		"a program that it does not have": func(b *plan.Boot) { b.Program = strings.Repeat("0", 64) },
	} {
		want := h.want(t)
		change(want)
		if err := h.Apply(t.Context(), plan.HostState{Boot: want}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

// inodes tells files from what replaced them.
func (h *host) inodes(t *testing.T) map[string]uint64 {
	t.Helper()
	inodes := make(map[string]uint64)
	for _, path := range append(templates.Paths(), Program) {
		inodes[path] = h.inode(t, path)
	}
	return inodes
}

func (h *host) inode(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Stat(h.at(path))
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

func TestLinesOfOthersThatMakeTheBridgesAtBootAreFound(t *testing.T) {
	h := newHost(t)
	for path, content := range map[string]string{
		"/etc/network/interfaces":           "# iface br0 inet manual\nauto br0=br0\niface br0 inet manual\niface br01 inet manual\n\tmtu 1462\n iface docker0 inet static\n",
		"/etc/network/interfaces.d/eth0":    "iface eth0 inet dhcp\n",
		"/etc/systemd/network/1.netdev":     "[NetDev]\nName = docker0\n",
		"/etc/systemd/network/2.network":    "[Match]\nName=docker0\n",
		"/etc/netplan/01.yaml":              "network:\n  bridges:\n    br0: {}\n",
		"/etc/network/interfaces.d/sub/br0": "iface br0 inet manual\n",
	} {
		h.mkdir(t, filepath.Dir(path))
		h.put(t, path, content)
	}
	var o plan.Observation
	if err := h.Observe(t.Context(), plan.Query{DockerBridge: "docker0"}, &o); err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc/netplan/01.yaml:3", "/etc/network/interfaces:3", "/etc/network/interfaces:6", "/etc/systemd/network/1.netdev:2"}
	if diff := cmp.Diff(want, o.Facts.AlsoMadeBy); diff != "" {
		t.Error(diff)
	}
}
