package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/templates"
)

// newGuard is the guard of a host in a temporary directory.
func newGuard(t *testing.T, watch bool) (*Guard, *host) {
	t.Helper()
	h := newHost(t)
	h.mkdir(t, wants)
	g := NewGuard(h.root, watch)
	g.running, g.run = h.running, h.run
	return g, h
}

func install(t *testing.T, g *Guard) {
	t.Helper()
	if err := g.Install(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func disarm(t *testing.T, g *Guard) {
	t.Helper()
	if err := g.Disarm(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const (
	restartWatch = "systemctl restart " + templates.WatchUnit
	stopWatch    = "systemctl stop " + templates.WatchUnit
	reloadLater  = "systemd-run --quiet --collect --no-block " + reload
)

func TestArmLeavesTheWorkToAProcessThatOutlivesTheCaller(t *testing.T) {
	g, h := newGuard(t, false)
	before := h.tree(t)
	if err := g.Arm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	want := fmt.Sprintf("systemd-run --quiet --collect --wait --pipe --unit=fabric-arm-%d /proc/%[1]d/exe node arm", os.Getpid())
	if diff := cmp.Diff([]string{want}, h.asked); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestTheWatchIsStartedWhenTheNextBootIsSeenTo(t *testing.T) {
	g, h := newGuard(t, false)
	var atStart []string
	g.run = func(ctx context.Context, name string, args ...string) ([]byte, error) {
		if slices.Contains(args, "restart") {
			atStart = h.tree(t)
		}
		return h.run(ctx, name, args...)
	}
	install(t, g)
	for _, unit := range []string{templates.WatchUnit, templates.RecoverUnit} {
		for _, path := range []string{unitPath(unit), wantsLink(unit), templates.Recovery} {
			if !slices.Contains(atStart, path) {
				t.Errorf("%s is not there when the watch starts", path)
			}
		}
		if target, err := os.Readlink(h.at(wantsLink(unit))); err != nil || target != unitPath(unit) {
			t.Errorf("%s is enabled by a link to %q (%v)", unit, target, err)
		}
	}
	if diff := cmp.Diff([]string{restartWatch}, h.asked); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestSystemdReadsUnitsAgainThatItDoesNotKnowAsTheyAre(t *testing.T) {
	good := unitState(loaded, "no")
	for what, units := range map[string]string{
		"the first has changed":      unitState(loaded, "yes") + "\n" + good,
		"the second has changed":     good + "\n" + unitState(loaded, "yes"),
		"the first was not loaded":   unitState("error", "no") + "\n" + good,
		"the first is not found":     unitState(notFound, "no") + "\n" + good,
		"of one unit, not of both":   good,
		"what it would never answer": "no\n\nno\n",
	} {
		g, h := newGuard(t, false)
		h.units = units
		install(t, g)
		disarm(t, g)
		if diff := cmp.Diff([]string{reload, restartWatch, stopWatch, reloadLater}, h.asked); diff != "" {
			t.Errorf("where systemctl says %s: commands (-want +got):\n%s", what, diff)
		}
	}
}

func TestDisarmLeavesWhatWasThere(t *testing.T) {
	g, h := newGuard(t, false)
	before := h.tree(t)
	install(t, g)
	h.asked = nil
	disarm(t, g)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
	if diff := cmp.Diff([]string{stopWatch}, h.asked); diff != "" {
		t.Errorf("commands (-want +got):\n%s", diff)
	}
}

func TestDisarmTakesWhatAKilledArmWasWriting(t *testing.T) {
	g, h := newGuard(t, false)
	before := h.tree(t)
	h.putLeft(t, unitPath(templates.WatchUnit), unitPath(templates.RecoverUnit), templates.Recovery)
	disarm(t, g)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestDisarmOfNothingLeavesWhatWasThere(t *testing.T) {
	g, h := newGuard(t, false)
	h.fail = stopWatch // systemd does not know it
	g.run = func(ctx context.Context, name string, args ...string) ([]byte, error) {
		if slices.Contains(args, "is-active") {
			return nil, errors.New("inactive")
		}
		return h.run(ctx, name, args...)
	}
	before := h.tree(t)
	disarm(t, g)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestDisarmByTheWatchDoesNotStopTheWatch(t *testing.T) {
	g, h := newGuard(t, true)
	install(t, g)
	disarm(t, g)
	if slices.Contains(h.asked, stopWatch) {
		t.Errorf("commands: %q", h.asked)
	}
}

func TestInstallAfterOneThatWasCutOffIsAsGood(t *testing.T) {
	g, h := newGuard(t, false)
	before := h.tree(t)
	h.fail = restartWatch
	if err := g.Install(t.Context()); err == nil {
		t.Fatal("no error, though systemctl failed")
	}
	h.fail = ""
	h.put(t, "/running", "second program") // of another build
	install(t, g)
	if data, err := os.ReadFile(h.at(templates.Recovery)); err != nil || string(data) != "second program" {
		t.Errorf("the guard runs %q (%v)", data, err)
	}
	disarm(t, g)
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestTheGuardHasAProgramAfterTheInstalledOneIsGone(t *testing.T) {
	g, h := newGuard(t, false)
	h.apply(t, h.want(t))
	install(t, g)
	if err := h.Apply(t.Context(), plan.HostState{}); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(h.at(templates.Recovery)); err != nil || string(data) != "first program" {
		t.Errorf("the guard runs %q (%v)", data, err)
	}
}

func TestAUnitOfSomebodyElseIsNeverReplacedByTheGuard(t *testing.T) {
	for _, unit := range []string{templates.WatchUnit, templates.RecoverUnit} {
		t.Run(unit, func(t *testing.T) {
			g, h := newGuard(t, false)
			h.put(t, unitPath(unit), "[Unit]\n")
			before := h.tree(t)
			if err := g.Install(t.Context()); err == nil || !strings.Contains(err.Error(), unitPath(unit)) {
				t.Errorf("error %v, want one about the file", err)
			}
			if diff := cmp.Diff(before, h.tree(t)); diff != "" {
				t.Errorf("files (-before +after):\n%s", diff)
			}
		})
	}
}

func TestAUnitOfSomebodyElseIsNotTakenForWhatIsLeftOfAGuard(t *testing.T) {
	g, h := newGuard(t, false)
	h.put(t, unitPath(templates.WatchUnit), "[Unit]\n")
	before := h.tree(t)
	if err := g.Sweep(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, h.tree(t)); diff != "" {
		t.Errorf("files (-before +after):\n%s", diff)
	}
}

func TestAfterABootWhatNothingStartsOfAGuardIsTakenAway(t *testing.T) {
	g, h := newGuard(t, false)
	before := h.tree(t)
	install(t, g)
	armed := h.tree(t)
	if err := g.Sweep(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(armed, h.tree(t)); diff != "" {
		t.Errorf("a guard that the boot starts (-before +after):\n%s", diff)
	}
	for _, cutAfter := range [][]string{
		{wantsLink(templates.RecoverUnit), unitPath(templates.RecoverUnit), wantsLink(templates.WatchUnit)},
		{wantsLink(templates.RecoverUnit), unitPath(templates.RecoverUnit), wantsLink(templates.WatchUnit), unitPath(templates.WatchUnit)},
	} {
		install(t, g)
		for _, path := range cutAfter {
			if err := os.Remove(h.at(path)); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Sweep(); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, h.tree(t)); diff != "" {
			t.Errorf("power cut after %s (-before +after):\n%s", cutAfter[len(cutAfter)-1], diff)
		}
	}
}
