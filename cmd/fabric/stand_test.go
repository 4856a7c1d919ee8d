package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/remote"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/plan"
)

// firstPlan is the plan of two hosts without a fabric.
func firstPlan(t *testing.T) *plan.Plan {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fabric.yaml")
	file := "version: 1\nname: demo\nnetwork: 172.17.0.0/16\nhosts:\n  h1: {address: 192.0.2.11}\n  h2: {address: 192.0.2.12}\n"
	if err := os.WriteFile(path, []byte(file), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := load(path)
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{programs: remote.NewPrograms(""), observed: map[string]plan.Observation{"h1": {}, "h2": {}}}
	p, err := f.plan(l)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// tunnelEnd is a host with one tunnel that comes up at a time.
type tunnelEnd struct {
	port   string
	up     time.Time
	before string // what BFD says until then
}

func (e tunnelEnd) Probe(context.Context, wire.ProbeRequest) (wire.ProbeResult, error) {
	port := wire.TreePort{Name: e.port, Role: "designated", State: "discarding", BFD: "up"}
	if time.Now().Before(e.up) {
		port.Role, port.State, port.BFD = "disabled", "disabled", e.before
	}
	return wire.ProbeResult{Tree: &wire.TreeStatus{Ports: []wire.TreePort{port}}}, nil
}

func TestAFabricThatBeginsWaitsForItsTunnelsButNotForEver(t *testing.T) {
	p := firstPlan(t)
	const heard, up = 2, 3 // the steps before which BFD has to have come through, and to be up
	for _, c := range []struct {
		name        string
		step        int
		before      string        // what BFD says on h2
		up          time.Duration // when h2's end is
		least, most time.Duration
	}{
		{"there is no BFD yet", 1, "", time.Hour, 0, 0},
		{"BFD has come through", heard, "init", time.Hour, 0, 0},
		{"BFD comes through", heard, "down", time.Second, time.Second, 2 * time.Second},
		{"BFD does not", heard, "down", time.Hour, meetingTime / 2, meetingTime},
		{"tunnels are up", up, "init", 0, 0, 0},
		{"a tunnel comes up", up, "init", time.Second, time.Second, 2 * time.Second},
		{"a tunnel stays down", up, "init", time.Hour, meetingTime / 2, meetingTime},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				nodes := map[string]verify.Node{"h1": tunnelEnd{"vx-h2", begun, ""}, "h2": tunnelEnd{"vx-h1", begun.Add(c.up), c.before}}
				wait := stand(p, func() map[string]verify.Node { return nodes }, time.Minute)
				if err := wait(t.Context(), c.step); err != nil {
					t.Errorf("what stays down is told of later: %v", err)
				}
				if took := time.Since(begun); took < c.least || took > c.most {
					t.Errorf("it took %v, want %v to %v", took, c.least, c.most)
				}
			})
		})
	}
}
