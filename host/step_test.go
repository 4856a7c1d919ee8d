package host

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

func (p switchPart) Forget(context.Context) error { return p.call("forget") }

// further is a wanted state of which only the switch differs from wanted(1450).
func further() plan.HostState {
	want := wanted(1450)
	want.OVS.RSTP = true
	return want
}

func next(from, want plan.HostState) wire.Request {
	return wire.Request{Apply: &wire.ApplyRequest{From: from, Want: want, ConfirmWithin: time.Hour}}
}

func TestAStepOfTheSwitchTouchesNothingElse(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	h.Switch = switchPart{m}
	o := serve(t, h)
	o.apply(time.Hour)
	m.calls = nil
	if reply := o.call(next(wanted(1450), further())); reply.Error != nil {
		t.Fatal(reply.Error)
	}
	if diff := cmp.Diff([]string{"ovs"}, m.calls); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(further(), m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
		t.Errorf("a lost session leads to where the second step began, not the first: %s", diff)
	}
}

func TestAStepThatFailsGoesBackToBeforeTheFirst(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	h.Switch = switchPart{m}
	o := serve(t, h)
	o.apply(time.Hour)
	m.fail = map[string]int{"ovs": 1}
	reply := o.call(next(wanted(1450), further()))
	if reply.Error == nil || !reply.Error.RolledBack {
		t.Errorf("answered %+v", reply.Error)
	}
	if diff := cmp.Diff(plan.HostState{}, m.state, equateNetip); diff != "" {
		t.Error(diff)
	}
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
}

func TestAStepFromAnotherStateThanTheHostIsInGoesBack(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	h.Switch = switchPart{m}
	o := serve(t, h)
	o.apply(time.Hour)
	reply := o.call(next(wanted(1500), further()))
	if reply.Error == nil || !reply.Error.RolledBack {
		t.Errorf("answered %+v", reply.Error)
	}
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
}

func TestAStepHeedsWhatHasComeInItsWay(t *testing.T) {
	for name, want := range map[string]plan.HostState{"dockerd too": wanted(1500), "the switch alone": further()} {
		t.Run(name, func(t *testing.T) {
			m := &machine{}
			h := newHost(t, m)
			h.Switch = switchPart{m}
			o := serve(t, h)
			o.apply(time.Hour)
			m.obstacles = []plan.Obstacle{{What: "dockerd does not run", Cure: "start it"}}
			reply := o.call(next(wanted(1450), want))
			switch {
			case reply.Error == nil && want.Docker.Config.MTU != 1450:
				t.Error("dockerd is changed although something is in the way")
			case reply.Error != nil && want.Docker.Config.MTU == 1450:
				t.Errorf("frames wait for what has nothing to do with them: %v", reply.Error)
			case reply.Error != nil && (!reply.Error.RolledBack || !strings.Contains(reply.Error.Message, "dockerd does not run: start it")):
				t.Errorf("answered %+v", reply.Error)
			}
			o.end()
			if err := <-o.done; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestTheSwitchForgetsWhenTold(t *testing.T) {
	m := &machine{}
	h := newHost(t, m)
	h.Switch = switchPart{m}
	o := serve(t, h)
	if reply := o.call(wire.Request{Forget: &wire.Empty{}}); reply.Error != nil {
		t.Fatal(reply.Error)
	}
	if diff := cmp.Diff([]string{"forget"}, m.calls); diff != "" {
		t.Error(diff)
	}
	o.end()
	if err := <-o.done; err != nil {
		t.Fatal(err)
	}
}
