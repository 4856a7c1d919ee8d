package dockercfg

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

// bootedOn is a host whose dockerd is about to start, with the fabric's
// daemon.json, after an apply on top of original was cut off by a reboot.
func bootedOn(t *testing.T, original string) *fakeHost {
	t.Helper()
	h := newFakeHost(t, original)
	h.apply(&fabricDocker)
	h.pid, h.log = 0, nil
	return h
}

func (h *fakeHost) prepare(want *plan.Docker) {
	h.t.Helper()
	if err := h.r.Prepare(h.t.Context(), plan.HostState{Docker: want}); err != nil {
		h.t.Fatal(err)
	}
}

func TestPrepareHasDockerdStartWithTheAddressFromBeforeTheFabric(t *testing.T) {
	for name, original := range map[string]string{"no file": "none", "a file": userJSON} {
		t.Run(name, func(t *testing.T) {
			h := bootedOn(t, strings.TrimPrefix(original, "none"))
			h.prepare(nil)
			h.checkLog()
			if err := h.start(nil); err != nil {
				t.Fatal(err)
			}
			if h.address != "172.17.0.1/16" || h.pool != "" {
				t.Errorf("dockerd starts with %s, containers from %q", h.address, h.pool)
			}
			h.apply(nil)
			if got := h.file(h.paths.DaemonJSON); got != original {
				t.Errorf("daemon.json = %q, want %q", got, original)
			}
		})
	}
}

func TestPrepareHasDockerdStartWithTheFormerConfigurationOfTheFabric(t *testing.T) {
	h := bootedOn(t, userJSON)
	former := fabricDocker
	former.Config.MTU, former.Live = 1400, plan.DockerLive{}
	h.prepare(&former)
	if err := h.start(nil); err != nil {
		t.Fatal(err)
	}
	if h.mtu != 1400 {
		t.Errorf("dockerd starts with MTU %d", h.mtu)
	}
	h.apply(&former)
	h.checkLog() // what is prepared is not done again
}

func TestPrepareForGoingBackFromAnAdoptionLeavesWhatWasMadeByHand(t *testing.T) {
	h := newFakeHost(t, handJSON)
	h.r.Adopt(plan.Query{})
	h.apply(&fabricDocker)
	h.pid, h.log = 0, nil
	h.prepare(&handDocker)
	if diff := cmp.Diff(handJSON, h.file(h.paths.DaemonJSON)); diff != "" {
		t.Error(diff)
	}
	if err := h.start(nil); err != nil {
		t.Fatal(err)
	}
	h.apply(&handDocker)
	h.checkLog() // what is prepared is not done again
	if got := h.file(h.paths.Record); got != "none" {
		t.Errorf("record is left: %s", got)
	}
}

func TestPrepareLeavesADockerThatWasNeverTheFabricsAlone(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.pid = 0
	h.prepare(nil)
	if diff := cmp.Diff(userJSON, h.file(h.paths.DaemonJSON)); diff != "" {
		t.Error(diff)
	}
}

func TestStartStartsADockerdThatDoesNotRunAndNoOther(t *testing.T) {
	h := newFakeHost(t, userJSON)
	for _, want := range [][]string{nil, {restartCommand}} {
		if err := h.r.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.checkLog(want...)
		h.pid = 0
	}
}
