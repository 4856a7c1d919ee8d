package dockercfg

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

// handJSON is a daemon.json that somebody wrote for a network made by hand.
const handJSON = "{ \"bip\":\"172.17.64.5/16\",\n\"debug\": true, \"mtu\": 1462 }\n"

var handDocker = plan.Docker{Config: plan.DockerConfig{BIP: "172.17.64.5/16", MTU: 1462}, Foreign: true}

func (h *fakeHost) observeToAdopt() plan.Observation {
	h.t.Helper()
	var o plan.Observation
	if err := h.r.Observe(h.t.Context(), plan.Query{Fabric: "demo", Adopt: true}, &o); err != nil {
		h.t.Fatal(err)
	}
	return o
}

func TestKeysSetByHandAreWhatAnAdoptionStartsFrom(t *testing.T) {
	h := newFakeHost(t, handJSON)
	o := h.observeToAdopt()
	if diff := cmp.Diff(handDocker.Config, o.State.Docker.Config); diff != "" || !o.State.Docker.Foreign || len(o.Obstacles) > 0 {
		t.Errorf("%s foreign %v, obstacles %v", diff, o.State.Docker.Foreign, o.Obstacles)
	}
}

func TestAnAdoptionLeavesNothingOfTheHandsWhenTheFabricGoes(t *testing.T) {
	h := newFakeHost(t, handJSON)
	h.r.Adopt(plan.Query{})
	h.apply(&fabricDocker)
	h.apply(nil)
	if got, want := h.file(h.paths.DaemonJSON), "\"debug\": true"; strings.Contains(got, "mtu") || strings.Contains(got, "bip") || !strings.Contains(got, want) {
		t.Errorf("daemon.json: %s", got)
	}
}

func TestAnAdoptionThatGoesBackLeavesWhatWasMadeByHand(t *testing.T) {
	h := newFakeHost(t, handJSON)
	h.r.Adopt(plan.Query{})
	h.apply(&fabricDocker)
	h.apply(&handDocker)
	if diff := cmp.Diff(handJSON, h.file(h.paths.DaemonJSON)); diff != "" {
		t.Error(diff)
	}
	if got := h.file(h.paths.Record); got != "none" {
		t.Errorf("record is left: %s", got)
	}
}

func TestFlagsAreAdoptedOnceTheyDoNotComeAgain(t *testing.T) {
	h := newFakeHost(t, userJSON)
	h.cmdline("/usr/sbin/dockerd", "-H", "fd://", "--bridge", "docker0", "--fixed-cidr=172.17.64.0/18", "--mtu", "1462")
	h.options = filepath.Join(t.TempDir(), "docker")
	h.starts = "/usr/sbin/dockerd -H fd:// --mtu 1462 $DOCKER_OPTS"
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(h.options, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("# --bridge is for bridges\nDOCKER_OPTS=\"--bridge docker0 --fixed-cidr=172.17.64.0/18\"\n")
	var places []string
	for _, o := range h.observeToAdopt().Obstacles {
		places = append(places, o.What[strings.LastIndex(o.What, ", by ")+5:])
	}
	if diff := cmp.Diff([]string{h.options + ":2", h.options + ":2", "docker.service or a drop-in of it"}, places); diff != "" {
		t.Error(diff)
	}
	put("# --bridge is for bridges\n")
	h.starts = "/usr/sbin/dockerd -H fd:// $DOCKER_OPTS"
	o := h.observeToAdopt()
	want := plan.DockerConfig{Bridge: "docker0", FixedCIDR: "172.17.64.0/18", MTU: 1462}
	if len(o.Obstacles) > 0 || o.State.Docker == nil {
		t.Fatalf("obstacles %v, state %v", o.Obstacles, o.State.Docker)
	}
	if diff := cmp.Diff(want, o.State.Docker.Config); diff != "" {
		t.Error(diff)
	}
}
