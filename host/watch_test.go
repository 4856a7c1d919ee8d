package host

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// cutOff is a host on which an apply from an MTU of 1400 to one of 1450 was
// cut off when it was through.
func cutOff(t *testing.T, m *machine) (*Host, *guard) {
	t.Helper()
	return cutOffUnder(t.Context(), t, m)
}

func cutOffUnder(ctx context.Context, t *testing.T, m *machine) (*Host, *guard) {
	t.Helper()
	m.state = wanted(1400)
	h := newHost(t, m)
	h.Lock = filepath.Join(t.TempDir(), "lock")
	g := &guard{}
	h.Guard = g
	if err := h.Apply(ctx, wire.ApplyRequest{From: wanted(1400), Want: wanted(1450)}, quiet); err != nil {
		t.Fatal(err)
	}
	m.calls = nil
	return h, g
}

func always(h *Host) func(string) *Host { return func(string) *Host { return h } }

func TestWatchGoesBackWhenTheHolderOfTheLockIsGone(t *testing.T) {
	m := &machine{}
	h, g := cutOff(t, m)
	release, err := lock(h.Lock, applyBy("alice@laptop"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Watch(t.Context(), always(h)) }()
	release()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(1400), m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
	if g.armed {
		t.Error("the guard is still there")
	}
}

func TestWatchLeavesAConfirmedApplyAlone(t *testing.T) {
	m := &machine{}
	h, g := cutOff(t, m)
	if err := h.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.armed = true // what a process that ended just then leaves
	if err := Watch(t.Context(), always(h)); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 || g.armed {
		t.Errorf("calls: %v, armed: %v", m.calls, g.armed)
	}
}

func TestWatchThatIsStoppedLeavesTheLockToItsHolder(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	release, err := lock(h.Lock, applyBy("alice@laptop"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := Watch(ctx, always(h)); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestNobodyGoesBackFromAJournalThatOthersCouldHaveWritten(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	if err := os.Chmod(h.Dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, back := range map[string]func(context.Context, func(string) *Host) error{"watch": goBackWhenFree, "boot": BeforeDocker} {
		if err := back(t.Context(), always(h)); err == nil || !strings.Contains(err.Error(), h.Dir) {
			t.Errorf("%s: error %v, want one that names %s", name, err, h.Dir)
		}
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

// adopter is a switch that notes what it may adopt.
type adopter struct {
	switchPart
	may *[]plan.Query
}

func (a adopter) Adopt(q plan.Query) { *a.may = append(*a.may, q) }

func TestGoingBackFromAnAdoptionMayUndoIt(t *testing.T) {
	q := plan.Query{Fabric: "demo", Adopt: true, Members: []netip.Addr{netip.MustParseAddr("192.0.2.11")}}
	for name, tc := range map[string]struct {
		back    func(context.Context, func(string) *Host) error
		adopted bool
	}{
		"watch": {goBackWhenFree, true}, "boot": {BeforeDocker, true},
		"watch without an adoption": {goBackWhenFree, false}, "boot without an adoption": {BeforeDocker, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := &machine{state: wanted(1450)}
			h := newHost(t, m)
			h.Lock = filepath.Join(t.TempDir(), "lock")
			var may []plan.Query
			h.Resources[0] = adopter{switchPart{m}, &may}
			q := q
			q.Adopt = tc.adopted
			if err := h.writeJournal(journal{Query: q, Before: wanted(1400), Want: wanted(1450)}); err != nil {
				t.Fatal(err)
			}
			if err := tc.back(t.Context(), always(h)); err != nil {
				t.Fatal(err)
			}
			var want []plan.Query
			if tc.adopted {
				want = []plan.Query{q}
			}
			if diff := cmp.Diff(want, may, equateNetip); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGoingBackThatWasCutOffIsGoneOnWith(t *testing.T) {
	for _, step := range []string{"stop docker", "ovs", "docker"} {
		t.Run(step, func(t *testing.T) {
			m := &machine{}
			h, _ := cutOff(t, m)
			m.fail = map[string]int{step: 1}
			if err := goBackWhenFree(t.Context(), always(h)); err == nil {
				t.Fatal("no error")
			}
			if err := goBackWhenFree(t.Context(), always(h)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(wanted(1400), m.state, equateNetip); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestADockerdThatHasGoneBackIsNotStoppedAgain(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	m.fail = map[string]int{"ovs": 2}
	for range 2 {
		if err := goBackWhenFree(t.Context(), always(h)); err == nil {
			t.Fatal("no error")
		}
	}
	if diff := cmp.Diff([]string{"stop docker", "ovs", "docker", "ovs", "docker"}, m.calls); diff != "" {
		t.Error(diff)
	}
}

func TestADockerdThatCannotGoBackRunsWithWhatThereIs(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	m.fail = map[string]int{"docker": 1}
	if err := goBackWhenFree(t.Context(), always(h)); err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff([]string{"stop docker", "ovs", "docker", "start docker"}, m.calls); diff != "" {
		t.Error(diff)
	}
}

func TestAtBootAllButDockerGoesBackBeforeDockerStarts(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	if err := BeforeDocker(t.Context(), always(h)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"ovs", "prepare docker"}, m.calls); diff != "" {
		t.Error(diff)
	}
	o, err := h.Observe(t.Context(), plan.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if !o.Facts.Interrupted {
		t.Error("the journal is gone before dockerd has been seen to run")
	}
}

func TestAtBootNothingIsDoneWithoutAJournal(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	if err := h.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := BeforeDocker(t.Context(), always(h)); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestAtBootAnOperatorWhoIsAtWorkAlreadyIsLeftAlone(t *testing.T) {
	m := &machine{}
	h, _ := cutOff(t, m)
	release, err := lock(h.Lock, applyBy("alice@laptop"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := BeforeDocker(t.Context(), always(h)); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestAJournalThatCannotBeReadIsNeverTakenForNone(t *testing.T) {
	m := &machine{}
	h, g := cutOff(t, m)
	damage(t, h)
	if err := goBackWhenFree(t.Context(), always(h)); err == nil {
		t.Error("no error")
	}
	if !g.armed {
		t.Error("the guard has gone")
	}
	var locked *LockedError
	if release, err := lock(h.Lock, ""); errors.As(err, &locked) {
		t.Error("the lock is kept, and nobody else can mend it")
	} else {
		release()
	}
}
