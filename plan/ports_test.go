package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/plan"
)

func held(port uint16, by string) plan.Facts {
	return plan.Facts{UDP: []plan.UDPPort{{Port: port, By: by, Cure: "stop it"}}}
}

func observed(facts map[string]plan.Facts) map[string]plan.Observation {
	all := make(map[string]plan.Observation)
	for name, f := range facts {
		all[name] = plan.Observation{Facts: f}
	}
	return all
}

func TestAPortThatSomebodyHoldsComesWithOneThatIsFreeEverywhere(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = observed(map[string]plan.Facts{
		"h1": held(4789, "flannel.1, a vxlan link,"), "h2": held(4790, "weaver (process 7)"), "h3": {SwarmPort: 4793},
	})
	p := makePlan(t, in)
	want := []plan.Obstacle{{
		What: "flannel.1, a vxlan link, holds UDP port 4789",
		Cure: "set tunnel: {port: 4794}, which is free on every host that was asked; or give up the other use of it: stop it",
	}}
	if diff := cmp.Diff(want, p.Hosts[0].Obstacles); diff != "" {
		t.Errorf("h1 (-want +got):\n%s", diff)
	}
	for _, h := range p.Hosts[1:] {
		if len(h.Obstacles) > 0 {
			t.Errorf("%s: %+v, want no obstacle", h.Name, h.Obstacles)
		}
	}
}

func TestNoPortIsProposedThatTheFabricHasOrWhereNoneIsFree(t *testing.T) {
	in := input(t, threeHosts+"tunnel: {port: 4790}\n")
	in.Observed = observed(map[string]plan.Facts{"h1": held(4790, "x")})
	if got := makePlan(t, in).Hosts[0].Obstacles; len(got) != 1 || !strings.Contains(got[0].Cure, "port: 4793") {
		t.Errorf("obstacles %+v, want 4793 proposed", got)
	}
	facts := held(4790, "x")
	for _, port := range plan.SparePorts {
		facts.UDP = append(facts.UDP, plan.UDPPort{Port: port, By: "y"})
	}
	in.Observed = observed(map[string]plan.Facts{"h1": facts})
	for _, o := range makePlan(t, in).Hosts[0].Obstacles {
		if !strings.Contains(o.Cure, "choose another tunnel.port") {
			t.Errorf("%+v, want no port proposed", o)
		}
	}
}

func TestATunnelElsewhereIsTheSwarmsWhereThereIsOne(t *testing.T) {
	facts := held(4789, "")
	for _, tc := range []struct {
		swarm uint16
		want  string
	}{
		{0, "a kernel tunnel in another network namespace holds UDP port 4789"},
		{4789, "Docker Swarm, for its overlay networks, holds UDP port 4789"},
		{7789, "a kernel tunnel in another network namespace holds UDP port 4789"},
	} {
		facts.SwarmPort = tc.swarm
		if got := plan.PortObstacles(4789, 0, facts); len(got) != 1 || got[0].What != tc.want {
			t.Errorf("swarm on port %d: %+v, want %q", tc.swarm, got, tc.want)
		}
	}
}

func TestASwarmThatWillWantThePortIsAWarning(t *testing.T) {
	in := input(t, threeHosts)
	in.Observed = observed(map[string]plan.Facts{"h2": {SwarmPort: 4789}, "h3": {SwarmPort: 7789}})
	p := makePlan(t, in)
	want := []string{"h2: dockerd is in a swarm, whose overlay networks take UDP port 4789, as the fabric's tunnels do: only one of the two works; " +
		"tunnel: {port: 4790} is free on every host that was asked"}
	if diff := cmp.Diff(want, p.Warnings); diff != "" || len(p.Obstructed()) > 0 {
		t.Errorf("obstacles on %d hosts, warnings (-want +got):\n%s", len(p.Obstructed()), diff)
	}
}
