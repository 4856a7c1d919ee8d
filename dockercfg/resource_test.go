package dockercfg

import (
	"context"
	"errors"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/command"
	"github.com/ovsfabric/fabric/plan"
)

const userJSON = "{\n\t\"debug\": true\n}\n"

var fabricDocker = plan.Docker{
	Config: fabricConfig,
	Live: plan.DockerLive{
		Bridge:  "docker0",
		Gateway: netip.MustParseAddr("172.17.64.1"),
		Pool:    netip.MustParsePrefix("172.17.64.0/18"),
		MTU:     1450,
	},
}

const stopCommand, restartCommand = "systemctl stop docker.socket docker.service", "systemctl restart docker.service"

func (h *fakeHost) apply(want *plan.Docker) {
	h.t.Helper()
	if err := h.r.Apply(h.t.Context(), plan.HostState{Docker: want}); err != nil {
		h.t.Fatal(err)
	}
}

func (h *fakeHost) checkLog(want ...string) {
	h.t.Helper()
	if diff := cmp.Diff(want, h.log); diff != "" {
		h.t.Errorf("what was done (-want +got):\n%s", diff)
	}
	h.log = nil
}

func TestApplyRestartsOnceAndThenNothing(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.apply(&fabricDocker)
	h.checkLog(stopCommand, restartCommand)
	h.apply(&fabricDocker)
	h.checkLog()
}

func TestApplyKeepsTheOriginalBeforeItChangesTheFile(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.broken = true
	if err := h.r.Apply(t.Context(), plan.HostState{Docker: &fabricDocker}); err == nil {
		t.Fatal("no error for a dockerd that does not start")
	}
	var rec record
	if exists, err := readJSON(h.paths.Record, &rec); err != nil || !exists {
		t.Fatalf("record: exists %v, %v", exists, err)
	}
	if !rec.Existed || rec.Content != userJSON || rec.Ran.Address.String() != "172.17.0.1/16" {
		t.Errorf("record = %+v", rec)
	}
}

func TestApplyKeepsTheFirstOriginal(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.apply(&fabricDocker)
	first := h.file(h.paths.Record)
	other := fabricDocker
	other.Config.MTU, other.Live.MTU = 1400, 1400
	h.apply(&other)
	if diff := cmp.Diff(first, h.file(h.paths.Record)); diff != "" {
		t.Errorf("record (-first +second):\n%s", diff)
	}
}

func TestApplyWithoutDockerBringsEverythingBack(t *testing.T) {
	for name, original := range map[string]string{"no file": "none", "a file": userJSON} {
		t.Run(name, func(t *testing.T) {
			h := newFakeHost(t, strings.TrimPrefix(original, "none"))
			h.apply(&fabricDocker)
			h.log = nil
			h.apply(nil)
			h.checkLog(stopCommand, restartCommand)
			if got := h.file(h.paths.DaemonJSON); got != original {
				t.Errorf("daemon.json = %q, want %q", got, original)
			}
			if h.address != "172.17.0.1/16" {
				t.Errorf("dockerd remembers %s", h.address)
			}
			if got := h.file(h.paths.Record); got != "none" {
				t.Errorf("record is left: %s", got)
			}
			h.apply(nil)
			h.checkLog()
		})
	}
}

func TestADocker0ThatOthersKeepHasItsFormerAddressBeforeDockerdStarts(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.apply(&fabricDocker)
	h.log, h.kept = nil, true
	h.apply(nil)
	h.checkLog(stopCommand, "ip address replace 172.17.0.1/16 dev docker0", restartCommand)
}

func TestApplyWithoutDockerKeepsTheRecordUntilDockerdRuns(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.apply(&fabricDocker)
	h.broken = true
	if err := h.r.Apply(t.Context(), plan.HostState{}); err == nil {
		t.Fatal("no error for a dockerd that does not start")
	}
	if h.file(h.paths.Record) == "none" {
		t.Fatal("the record is gone")
	}
	h.broken = false
	h.apply(nil)
	if got := h.file(h.paths.DaemonJSON); got != userJSON || h.address != "172.17.0.1/16" {
		t.Errorf("daemon.json = %q, address %s", got, h.address)
	}
}

func TestStoppedContainersComeBack(t *testing.T) {
	h := newFakeHost(t, "")
	h.containers = []*fakeContainer{
		{"first", "no", true}, {"second", "no", true}, {"self", "always", true}, {"gone", "rm", true}, {"ended", "no", false},
	}
	if err := h.r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.checkLog(stopCommand)
	// Another process may go on where the first was killed.
	h.r = &Resource{paths: h.paths, proc: h.r.proc, unit: h.unit, run: h.run}
	h.apply(&fabricDocker)
	h.checkLog(restartCommand, "docker start first", "docker start second", "docker start gone")
	if got := h.file(h.r.pausePath()); got != "none" {
		t.Errorf("list of stopped containers is left: %s", got)
	}
}

func TestStopIsUndoneWhereNothingWasApplied(t *testing.T) {
	h := newFakeHost(t, userJSON)
	if err := h.r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.apply(nil)
	h.checkLog(stopCommand, restartCommand)
	if got := h.file(h.paths.DaemonJSON); got != userJSON {
		t.Errorf("daemon.json = %q", got)
	}
}

func TestApplyStartsADockerdThatHasEnded(t *testing.T) {
	h := newFakeHost(t, "")
	h.apply(&fabricDocker)
	h.pid, h.log = 0, nil
	h.apply(&fabricDocker)
	h.checkLog(restartCommand)
}

func TestApplySaysWhyDockerdDoesNotStart(t *testing.T) {
	h := newFakeHost(t, "")
	h.broken = true
	err := h.r.Apply(t.Context(), plan.HostState{Docker: &fabricDocker})
	var failed *command.Error
	if !errors.As(err, &failed) || failed.Exit != 1 {
		t.Errorf("error is no *command.Error with its exit status: %v", err)
	}
	if err == nil || !strings.Contains(err.Error(), "failed to start daemon: for a test") {
		t.Errorf("error does not show the log: %v", err)
	}
}

func TestApplyChecksWhatDockerdMadeOfIt(t *testing.T) {
	h := newFakeHost(t, "")
	h.stubborn = true
	err := h.r.Apply(t.Context(), plan.HostState{Docker: &fabricDocker})
	if err == nil || !strings.Contains(err.Error(), "with address 172.17.0.1,") {
		t.Errorf("error = %v, want one that names the address", err)
	}
}

func TestLiveRestoreIsRefusedBeforeAnythingChanges(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.liveRestore = true
	h.containers = []*fakeContainer{{"c", "no", true}}
	if err := h.r.Stop(t.Context()); err == nil {
		t.Error("Stop: no error")
	}
	if err := h.r.Apply(t.Context(), plan.HostState{Docker: &fabricDocker}); err == nil {
		t.Error("Apply: no error")
	}
	h.checkLog()
	if got := h.file(h.paths.DaemonJSON); got != userJSON {
		t.Errorf("daemon.json = %q", got)
	}
	if got := h.file(h.paths.Record); got != "none" {
		t.Errorf("record was written: %s", got)
	}
}

func TestApplyLeavesAnUnparsableFileAlone(t *testing.T) {
	h := newFakeHost(t, "{ // mine\n}")
	err := h.r.Apply(t.Context(), plan.HostState{Docker: &fabricDocker})
	if err == nil || !strings.Contains(err.Error(), h.paths.DaemonJSON+": line 1, column 3: ") {
		t.Errorf("error = %v, want one that names the place", err)
	}
	h.checkLog()
	if got := h.file(h.paths.DaemonJSON); got != "{ // mine\n}" {
		t.Errorf("daemon.json = %q", got)
	}
}

func TestWaitForDockerdEndsWithTheContext(t *testing.T) {
	r := New(Paths{Socket: "/nonexistent/docker.sock"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.answered(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want context.Canceled", err)
	}
}

func TestStopOfADockerdThatIsEndingAlready(t *testing.T) {
	h := newFakeHost(t, "")
	h.ending = true
	if err := h.r.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"systemctl stop docker.socket docker.service"}, h.log); diff != "" {
		t.Error(diff)
	}
}

func TestStopIsNotCutOffInTheMiddle(t *testing.T) {
	h := newFakeHost(t, "")
	ctx, interrupt := context.WithCancel(t.Context())
	run := h.r.run
	h.r.run = func(ctx context.Context, name string, args ...string) ([]byte, error) {
		if args[0] == "stop" {
			interrupt()
			if ctx.Err() != nil {
				t.Error("systemctl stop would have been killed")
			}
		}
		return run(ctx, name, args...)
	}
	if err := h.r.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if h.pid != 0 {
		t.Error("dockerd still runs")
	}
}

func TestApplyTakesWhatAKilledOneWasWriting(t *testing.T) {
	h := newFakeHost(t, "")
	for _, path := range []string{h.paths.DaemonJSON, h.paths.Record} {
		left := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".0badcafe")
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(left, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is still there: %v", left, err)
			}
		}()
	}
	h.apply(nil)
}

func TestTheRecordOutlivesALeaveThatIsTakenBack(t *testing.T) {
	h := newFakeHost(t, `{"debug": true}`)
	h.apply(&fabricDocker)
	want := h.file(h.paths.Record)
	h.apply(nil)
	h.pid = 0 // as before dockerd starts in a boot
	h.apply(&fabricDocker)
	if got := h.file(h.paths.Record); got != want {
		t.Errorf("the record is now\n%s\nand was\n%s", got, want)
	}
}

func TestNothingOfTheRecordIsLeftOnceTheLeaveIsSettled(t *testing.T) {
	h := newFakeHost(t, `{"debug": true}`)
	h.apply(&fabricDocker)
	h.apply(nil)
	if err := h.r.Settled(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(h.paths.Record)); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
