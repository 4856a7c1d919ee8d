package plan_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

func TestAVersionThatCannotDoWhatTheFileAsksForIsAnObstacle(t *testing.T) {
	for _, tc := range []struct {
		name, file, ovs, kernel string
		want                    string // in What; "" for none
		cure                    string
	}{
		{"current ones", "", "4.0.0", "7.2.12+deb14-cloud-amd64", "", ""},
		{"the oldest that is tried", "", "3.1.0", "6.1.0-40-amd64", "", ""},
		{"a build of a branch", "", "4.0.90", "6.12.41", "", ""},
		{"one that tells no version", "", "", "", "", ""},
		{"a switch without mtu_request", "", "2.5.9", "4.4.0", "Open vSwitch 2.5.9 on kernel 4.4.0: the fabric needs Open vSwitch 2.6", "upgrade the package openvswitch-switch"},
		{"tunnels of a kernel that is too old", "", "4.0.0", "3.10.0-1160.el7", "make tunnels in the kernel only from Linux 4.3 on", "set datapath: netdev"},
		{"an older switch on it", "", "3.7.1", "3.10.0-1160.el7", "", ""},
		{"the userspace datapath on it", "datapath: netdev\n", "4.0.0", "3.10.0-1160.el7", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			in := input(t, threeHosts+tc.file)
			in.Observed = map[string]plan.Observation{"h2": {Facts: plan.Facts{OVSVersion: tc.ovs, Kernel: tc.kernel}}}
			found := makePlan(t, in).Hosts[1].Obstacles
			if tc.want == "" {
				if len(found) > 0 {
					t.Errorf("obstacles %+v", found)
				}
				return
			}
			if !slices.ContainsFunc(found, func(o plan.Obstacle) bool {
				return strings.Contains(o.What, tc.want) && strings.Contains(o.Cure, tc.cure)
			}) {
				t.Errorf("obstacles %+v, want one that says %q and %q", found, tc.want, tc.cure)
			}
		})
	}
}

func TestADockerdThatWouldNotStartAgainIsInTheWayOnlyWhereItIsRestarted(t *testing.T) {
	in := input(t, threeHosts)
	cannot := plan.Facts{NoRestart: []plan.Obstacle{{What: "dockerd would not start again", Cure: "let it"}}}
	done := makePlan(t, in).Hosts[1].Desired
	in.Observed = map[string]plan.Observation{"h1": {Facts: cannot}, "h2": {State: done, Facts: cannot}}
	p := makePlan(t, in)
	if diff := cmp.Diff(cannot.NoRestart, p.Hosts[0].Obstacles); diff != "" {
		t.Errorf("a first apply: %s", diff)
	}
	if len(p.Hosts[1].Obstacles) > 0 {
		t.Errorf("nothing to do: %v", p.Hosts[1].Obstacles)
	}
	gone := plan.Teardown("demo", in.Topology.Network, in.Observed, nil, []string{"h2"})
	if diff := cmp.Diff(cannot.NoRestart, gone.Hosts[0].Obstacles); diff != "" {
		t.Errorf("a destroy: %s", diff)
	}
}
