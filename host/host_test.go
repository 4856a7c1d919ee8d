package host

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// machine is a host in memory. Its two resources note what was done to them
// and fail when told to.
type machine struct {
	state     plan.HostState
	obstacles []plan.Obstacle
	udp       []plan.UDPPort
	calls     []string
	fail      map[string]int                  // how often the call still fails
	docker    func(*plan.Docker) *plan.Docker // what dockerd makes of its file; nil: what is wanted
	former    netip.Prefix                    // of docker0 before the fabric
}

func (m *machine) call(name string) error {
	m.calls = append(m.calls, name)
	if m.fail[name] > 0 {
		m.fail[name]--
		return errors.New(name + " fails")
	}
	return nil
}

func (m *machine) Stop(context.Context) error  { return m.call("stop docker") }
func (m *machine) Start(context.Context) error { return m.call("start docker") }

func (m *machine) Former() (netip.Prefix, error) { return m.former, nil }

func (m *machine) Prepare(_ context.Context, want plan.HostState) error {
	m.state.Docker = want.Docker
	return m.call("prepare docker")
}

// guard notes whether it is armed.
type guard struct {
	armed bool
	fail  error
}

func (g *guard) Arm(context.Context) error {
	g.armed = true
	return g.fail
}

func (g *guard) Disarm(context.Context) error {
	g.armed = false
	return nil
}

type switchPart struct{ *machine }

func (switchPart) Name() string { return "ovs" }

func (p switchPart) Observe(_ context.Context, _ plan.Query, o *plan.Observation) error {
	o.State.OVS = p.state.OVS
	o.Obstacles = append(o.Obstacles, p.obstacles...)
	o.Facts.UDP = p.udp
	return nil
}

func (p switchPart) Apply(_ context.Context, want plan.HostState) error {
	if err := p.call("ovs"); err != nil {
		return err
	}
	p.state.OVS = want.OVS
	return nil
}

type dockerPart struct{ *machine }

func (dockerPart) Name() string { return "docker" }

func (p dockerPart) Observe(_ context.Context, _ plan.Query, o *plan.Observation) error {
	o.State.Docker = p.state.Docker
	return nil
}

func (p dockerPart) Apply(_ context.Context, want plan.HostState) error {
	if err := p.call("docker"); err != nil {
		return err
	}
	p.state.Docker = want.Docker
	if p.docker != nil && want.Docker != nil {
		p.state.Docker = p.docker(want.Docker)
	}
	return nil
}

// claims notes which addresses are claimed.
type claims struct {
	switchPart
	seen []string
}

func (c *claims) Claim(_ context.Context, address netip.Prefix) error {
	c.calls = append(c.calls, "claim")
	c.seen = append(c.seen, address.String())
	return nil
}

func newHost(t *testing.T, m *machine) *Host {
	t.Helper()
	return &Host{
		Resources: []Resource{switchPart{m}, dockerPart{m}},
		Docker:    dockerPart{m},
		Guard:     &guard{},
		Dir:       filepath.Join(t.TempDir(), "state"),
		Log:       slog.New(slog.DiscardHandler),
	}
}

func wanted(mtu int) plan.HostState {
	return plan.HostState{
		OVS:    &plan.OVS{Bridge: plan.Bridge{Name: "br0", MTU: mtu}},
		Docker: &plan.Docker{Config: plan.DockerConfig{MTU: mtu}},
	}
}

func quiet(string) {}

var equateNetip = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

func TestApplyStopsDockerFirstAndStartsItLast(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	if err := h.Apply(t.Context(), wire.ApplyRequest{Want: wanted(1450)}, quiet); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"stop docker", "ovs", "docker"}, m.calls); diff != "" {
		t.Error(diff)
	}
}

func TestApplyLeavesDockerRunningWhereOnlyTheSwitchChanges(t *testing.T) {
	m := &machine{state: wanted(1450)}
	want := wanted(1450)
	want.OVS = &plan.OVS{Bridge: plan.Bridge{Name: "br0", MTU: 1450, RSTP: true}}
	if err := newHost(t, m).Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: want}, quiet); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(m.calls, "stop docker") {
		t.Errorf("dockerd was stopped: %v", m.calls)
	}
}

func TestApplyWhereNothingDiffersMakesReadyForTheStepsToCome(t *testing.T) {
	m := &machine{state: wanted(1450)}
	h := newHost(t, m)
	g := &guard{}
	h.Guard = g
	if err := h.Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: wanted(1450)}, quiet); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
	if _, err := os.Stat(filepath.Join(h.Dir, "journal.json")); err != nil || !g.armed {
		t.Errorf("journal: %v, guarded: %v", err, g.armed)
	}
	if err := h.Next(t.Context(), wire.ApplyRequest{From: m.state, Want: wanted(1400)}, quiet); err != nil {
		t.Error(err)
	}
}

func TestApplyIsGuardedUntilItIsConfirmed(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	g := &guard{}
	h.Guard = g
	if err := h.Apply(t.Context(), wire.ApplyRequest{Want: wanted(1450)}, quiet); err != nil {
		t.Fatal(err)
	}
	if !g.armed {
		t.Error("an apply without a confirmation is not guarded")
	}
	if err := h.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if g.armed {
		t.Error("the guard outlasts the confirmation")
	}
}

func TestNothingOfAJournalIsLeft(t *testing.T) {
	h := newHost(t, &machine{})
	if err := h.Apply(t.Context(), wire.ApplyRequest{Want: wanted(1450)}, quiet); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.Dir, ".journal.json.0badcafe"), nil, 0o600); err != nil { // a step that was killed
		t.Fatal(err)
	}
	if err := h.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(h.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestApplyThatCannotBeGuardedChangesNothing(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	g := &guard{fail: errors.New("no room")}
	h.Guard = g
	err := h.Apply(t.Context(), wire.ApplyRequest{Want: wanted(1450)}, quiet)
	if failed, ok := errors.AsType[*wire.Error](err); !ok || !failed.Untouched || !strings.Contains(err.Error(), "no room") {
		t.Fatalf("error %v", err)
	}
	if len(m.calls) > 0 || g.armed {
		t.Errorf("calls: %v, armed: %v", m.calls, g.armed)
	}
	if _, err := os.Stat(h.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestApplyGoesBackWhereAResourceFails(t *testing.T) {
	for _, step := range []string{"stop docker", "ovs", "docker"} {
		t.Run(step, func(t *testing.T) {
			before := wanted(1400)
			m := &machine{state: before, fail: map[string]int{step: 1}}
			h := newHost(t, m)
			err := h.Apply(t.Context(), wire.ApplyRequest{From: before, Want: wanted(1450)}, quiet)
			var failed *wire.Error
			if !errors.As(err, &failed) || !failed.RolledBack {
				t.Fatalf("error %v does not say that the host went back", err)
			}
			if diff := cmp.Diff(before, m.state, equateNetip); diff != "" {
				t.Error(diff)
			}
			if _, err := os.Stat(h.journalPath()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the journal stays: %v", err)
			}
		})
	}
}

func TestApplyKeepsTheJournalWhereGoingBackFails(t *testing.T) {
	m := &machine{state: wanted(1400), fail: map[string]int{"docker": 2}}
	h := newHost(t, m)
	err := h.Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: wanted(1450)}, quiet)
	var failed *wire.Error
	if !errors.As(err, &failed) || failed.RolledBack || failed.Untouched {
		t.Fatalf("error %v claims a clean host", err)
	}
	if err := h.Rollback(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(1400), m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestAResourceThatCannotGoBackDoesNotKeepDockerStopped(t *testing.T) {
	m := &machine{state: wanted(1400), fail: map[string]int{"ovs": 9}}
	if err := newHost(t, m).Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: wanted(1450)}, quiet); err == nil {
		t.Fatal("no error")
	}
	if last := m.calls[len(m.calls)-1]; last != "docker" {
		t.Errorf("the last thing done is %q, want docker: %v", last, m.calls)
	}
}

func TestDockerdsFormerAddressIsClaimedBeforeItIsStopped(t *testing.T) {
	running := func(mtu int, gateway string) plan.HostState {
		s := wanted(mtu)
		s.Docker.Live.Gateway = netip.MustParseAddr(gateway)
		return s
	}
	m := &machine{state: running(1400, "10.30.0.1"), former: netip.MustParsePrefix("172.17.0.1/16")}
	h, c := newHost(t, m), &claims{switchPart: switchPart{m}}
	h.Resources[0] = c
	if err := h.Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: running(1450, "10.30.0.1")}, quiet); err != nil {
		t.Fatal(err)
	}
	if len(c.seen) > 0 {
		t.Errorf("claimed of a dockerd that runs as the fabric has it: %q", c.seen)
	}
	m.calls, m.state = nil, running(1450, "172.17.0.1") // it was started without its file
	m.docker = func(d *plan.Docker) *plan.Docker { return running(d.Config.MTU, "10.30.0.1").Docker }
	if err := h.Rollback(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"claim", "stop docker", "ovs", "docker"}, m.calls); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"172.17.0.1/16"}, c.seen); diff != "" {
		t.Error(diff)
	}
}

func TestGoingBackToADockerdThatDidNotRunIsPossible(t *testing.T) {
	before := wanted(1400) // its Live is zero: dockerd was stopped
	want := wanted(1450)
	want.Docker.Live.MTU = 1450
	m := &machine{state: before}
	h := newHost(t, m)
	if err := h.Apply(t.Context(), wire.ApplyRequest{From: before, Want: want}, quiet); err != nil {
		t.Fatal(err)
	}
	m.docker = func(d *plan.Docker) *plan.Docker { // dockerd runs with whatever its file says
		return &plan.Docker{Config: d.Config, Live: plan.DockerLive{MTU: d.Config.MTU}}
	}
	if err := h.Rollback(t.Context(), quiet); err != nil {
		t.Fatal(err)
	}
}

func TestAHostOfAnotherFabricIsNotTouched(t *testing.T) {
	m := &machine{state: plan.HostState{OVS: &plan.OVS{Bridge: plan.Bridge{Name: "br0", ExternalIDs: map[string]string{plan.OwnerKey: "theirs"}}}}}
	h := newHost(t, m)
	o, err := h.Observe(t.Context(), plan.Query{Fabric: "ours"})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Obstacles) != 1 || !strings.Contains(o.Obstacles[0].What, "theirs") {
		t.Errorf("obstacles: %v", o.Obstacles)
	}
	if err := h.Apply(t.Context(), wire.ApplyRequest{Query: plan.Query{Fabric: "ours"}}, quiet); err != nil {
		t.Fatal(err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestAnApplyThatCannotBeTakenBackIsGivenUpByRecover(t *testing.T) {
	m := &machine{state: wanted(1400), fail: map[string]int{"docker": 3}}
	h := newHost(t, m)
	if err := h.Apply(t.Context(), wire.ApplyRequest{From: m.state, Want: wanted(1450)}, quiet); err == nil {
		t.Fatal("no error")
	}
	if err := h.Recover(t.Context(), quiet); err == nil {
		t.Fatal("no error, though going back fails")
	}
	if o, err := h.Observe(t.Context(), plan.Query{}); err != nil || o.Facts.Interrupted {
		t.Errorf("error %v, interrupted %v", err, o.Facts.Interrupted)
	}
}

func TestApplyRefusesAHostThatChangedSinceThePlan(t *testing.T) {
	m := &machine{state: wanted(1300)}
	h := newHost(t, m)
	err := h.Apply(t.Context(), wire.ApplyRequest{From: wanted(1400), Want: wanted(1450)}, quiet)
	var failed *wire.Error
	if !errors.As(err, &failed) || !failed.Untouched || !strings.Contains(err.Error(), "mtu 1400 → 1300") {
		t.Fatalf("error: %v", err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestApplyRefusesWhatIsInTheWay(t *testing.T) {
	for what, m := range map[string]*machine{
		"bridge br0 is somebody else's": {obstacles: []plan.Obstacle{{What: "bridge br0 is somebody else's", Cure: "rename it"}}},
		"flannel.1 holds UDP port 4789": {udp: []plan.UDPPort{{Port: 4789, By: "flannel.1"}}},
	} {
		req := wire.ApplyRequest{Query: plan.Query{TunnelPort: 4789}, Want: wanted(1450)}
		err := newHost(t, m).Apply(t.Context(), req, quiet)
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("error %v, want %q", err, what)
		}
		if len(m.calls) > 0 {
			t.Errorf("%s: calls: %v", what, m.calls)
		}
	}
}

// operator talks to a server as the operator's side does.
type operator struct {
	t    *testing.T
	conn *wire.Conn
	end  func()
	done chan error
}

func serve(t *testing.T, h *Host) *operator {
	t.Helper()
	return serveFor(t, h, wire.Start{Fabric: "demo", Operator: "alice@laptop"})
}

func serveFor(t *testing.T, h *Host, start wire.Start) *operator {
	t.Helper()
	h.Lock = filepath.Join(t.TempDir(), "lock")
	toHost, fromOperator := io.Pipe()
	toOperator, fromHost := io.Pipe()
	o := &operator{t: t, conn: wire.NewConn(toOperator, fromOperator), done: make(chan error, 1)}
	o.end = func() { fromOperator.Close(); toOperator.Close() }
	t.Cleanup(func() { toOperator.Close() })
	go func() {
		o.done <- Serve(context.WithoutCancel(t.Context()), "sum", func(string) (*Host, Prober) { return h, nil }, toHost, fromHost)
		fromHost.Close()
	}()
	var hello wire.Hello
	if err := o.conn.Receive(&hello); err != nil {
		t.Fatal(err)
	}
	if err := o.conn.Send(start); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *operator) call(req wire.Request) wire.Reply {
	o.t.Helper()
	if err := o.conn.Send(req); err != nil {
		o.t.Fatal(err)
	}
	for {
		var reply wire.Reply
		if err := o.conn.Receive(&reply); err != nil {
			o.t.Fatal(err)
		}
		if reply.Progress == "" {
			return reply
		}
	}
}

func (o *operator) apply(within time.Duration) {
	o.t.Helper()
	reply := o.call(wire.Request{Apply: &wire.ApplyRequest{Want: wanted(1450), ConfirmWithin: within}})
	if reply.Error != nil {
		o.t.Fatal(reply.Error)
	}
}

func TestAConfirmedApplyStays(t *testing.T) {
	m := &machine{}
	o := serve(t, newHost(t, m))
	o.apply(time.Hour)
	if reply := o.call(wire.Request{Confirm: &wire.Empty{}}); reply.Error != nil {
		t.Fatal(reply.Error)
	}
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted(1450), m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestALostSessionGoesBack(t *testing.T) {
	m := &machine{}
	o := serve(t, newHost(t, m))
	o.apply(time.Hour)
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestAnAbortGoesBack(t *testing.T) {
	m := &machine{}
	o := serve(t, newHost(t, m))
	o.apply(time.Hour)
	if reply := o.call(wire.Request{Abort: &wire.Empty{}}); reply.Error != nil {
		t.Fatal(reply.Error)
	}
	if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestAnApplyThatIsNotConfirmedInTimeGoesBack(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	o := serve(t, h)
	o.apply(time.Nanosecond)
	var reply wire.Reply // the progress of going back
	if err := o.conn.Receive(&reply); err != nil {
		t.Fatal(err)
	}
	reply = o.call(wire.Request{Confirm: &wire.Empty{}})
	if reply.Error == nil || !reply.Error.RolledBack {
		t.Fatalf("the late confirmation was answered with %+v", reply)
	}
	if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestAHostWaitsForAsLongAsTheOperatorIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &machine{}
		o := serve(t, newHost(t, m))
		o.apply(time.Minute)
		for range 3 {
			time.Sleep(50 * time.Second)
			if reply := o.call(wire.Request{Hold: &wire.Empty{}}); reply.Error != nil {
				t.Fatal(reply.Error)
			}
		}
		if reply := o.call(wire.Request{Confirm: &wire.Empty{}}); reply.Error != nil {
			t.Fatal(reply.Error)
		}
		if diff := cmp.Diff(wanted(1450), m.state, equateNetip); diff != "" {
			t.Error(diff)
		}
		o.end()
		if err := <-o.done; err != nil {
			t.Error(err)
		}
	})
}

func TestAHostThatHasGoneBackSaysSoWhenItIsToldToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := serve(t, newHost(t, &machine{}))
		o.apply(time.Minute)
		time.Sleep(time.Minute)
		if reply := o.call(wire.Request{Hold: &wire.Empty{}}); reply.Error == nil || !reply.Error.RolledBack {
			t.Errorf("answered %+v", reply)
		}
		o.end()
		if err := <-o.done; err != nil {
			t.Error(err)
		}
	})
}

func TestASecondApplyIsToldWhoIsAtWorkSinceWhen(t *testing.T) {
	h := newHost(t, &machine{})
	before := time.Now().Truncate(time.Second)
	o := serve(t, h)
	o.apply(time.Hour)
	_, err := lock(h.Lock, applyBy("bob@desk"))
	locked, ok := errors.AsType[*LockedError](err)
	if !ok {
		t.Fatalf("error %v, want a *LockedError", err)
	}
	if locked.Since.Before(before) || locked.Since.After(time.Now()) {
		t.Errorf("since %v, want about %v", locked.Since, before)
	}
	locked.Since = time.Date(2026, 3, 4, 14, 3, 4, 0, time.FixedZone("", 2*60*60))
	want := "another fabric apply by alice@laptop has been at work on this host since 12:03:04 UTC: try again when it has ended"
	if diff := cmp.Diff(want, locked.Error()); diff != "" {
		t.Error(diff)
	}
}

func TestANameFromElsewhereIsShownAsANameOnly(t *testing.T) {
	for name, want := range map[string]string{
		"alice@laptop":                     "another fabric apply by alice@laptop",
		"":                                 "another fabric apply",
		"a\nb\x1b[31m":                     `another fabric apply by a\x0ab\x1b[31m`,
		strings.Repeat("a", maxOperator+1): "another fabric apply by " + strings.Repeat("a", maxOperator),
	} {
		if diff := cmp.Diff(want, applyBy(operatorName(name))); diff != "" {
			t.Errorf("%q: %s", name, diff)
		}
	}
}

func TestALockThatSaysNothingIsALockAllTheSame(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := lock(path, applyBy("alice@laptop"))
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = lock(path, applyBy("bob@desk"))
	if _, ok := errors.AsType[*LockedError](err); !ok || err.Error() != "another fabric apply is at work on this host: try again when it has ended" {
		t.Errorf("error %v", err)
	}
}

func TestAHostInTheMiddleOfAnotherApplySaysSo(t *testing.T) {
	m := &machine{obstacles: []plan.Obstacle{{What: "dockerd does not run"}}}
	h := newHost(t, m)
	o := serve(t, h)
	if err := h.writeJournal(journal{Want: wanted(1450)}); err != nil {
		t.Fatal(err)
	}
	if reply := o.call(wire.Request{Observe: &plan.Query{}}); !reply.Observation.Facts.Interrupted {
		t.Error("an apply that was cut off is not told")
	}
	release, err := lock(h.Lock, "")
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	reply := o.call(wire.Request{Observe: &plan.Query{}})
	if reply.Observation.Facts.Interrupted {
		t.Error("an apply under way is taken for one that was cut off")
	}
	want := []plan.Obstacle{{What: "another fabric apply is at work on this host", Cure: "try again when it has ended", Always: true}}
	if diff := cmp.Diff(want, reply.Observation.Obstacles); diff != "" {
		t.Error(diff)
	}
}

func TestOnlySomeObstaclesKeepTheFabricFromBeingTakenAway(t *testing.T) {
	m := &machine{state: wanted(1450), obstacles: []plan.Obstacle{{What: "a route overlaps"}}}
	h := newHost(t, m)
	request := wire.ApplyRequest{From: wanted(1450)}
	if err := h.Apply(t.Context(), request, quiet); err != nil {
		t.Fatal(err)
	}
	m.state = wanted(1450)
	m.obstacles[0].Always = true
	if err := h.Apply(t.Context(), request, quiet); err == nil {
		t.Error("nothing was in the way")
	}
}

func TestAnUnreadableJournalIsNeverOverwritten(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	damage(t, h)
	err := h.Apply(t.Context(), wire.ApplyRequest{Want: wanted(1450)}, quiet)
	if err == nil || !strings.Contains(err.Error(), h.journalPath()) {
		t.Fatalf("error: %v", err)
	}
	if len(m.calls) > 0 {
		t.Errorf("calls: %v", m.calls)
	}
}

func TestNothingIsReadWhereOthersCouldHaveWrittenIt(t *testing.T) {
	m := &machine{obstacles: []plan.Obstacle{{What: "read"}}}
	h := newHost(t, m)
	h.Own = []string{h.Dir}
	if err := errors.Join(os.Mkdir(h.Dir, 0o777), os.Chmod(h.Dir, 0o777)); err != nil {
		t.Fatal(err)
	}
	o, err := h.Observe(t.Context(), plan.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Obstacles) != 1 || !o.Obstacles[0].Always || !strings.Contains(o.Obstacles[0].What, h.Dir) {
		t.Errorf("obstacles %+v, want one that names %s", o.Obstacles, h.Dir)
	}
	if err := h.Rollback(t.Context(), quiet); err == nil {
		t.Error("a journal is read there")
	}
}

// damage leaves a journal that cannot be read.
func damage(t *testing.T, h *Host) {
	t.Helper()
	if err := os.MkdirAll(h.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.journalPath(), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
}
