package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// fork has two ways from h1 to h4, and one from there to h5.
const fork = `
version: 1
name: demo
network: 172.17.0.0/16
graph: {strategy: explicit}
tree: {root: h1, backup: h2}
hosts:
  h1: {address: 192.0.2.11}
  h2: {address: 192.0.2.12}
  h3: {address: 192.0.2.13}
  h4: {address: 192.0.2.14}
  h5: {address: 192.0.2.15}
links:
  - {between: [h1, h2]}
  - {between: [h1, h3]}
  - {between: [h2, h4]}
  - {between: [h3, h4], cost: 3000}
  - {between: [h4, h5]}
`

func fail(t *testing.T, p *plan.Plan, what ...string) plan.Outcome {
	t.Helper()
	var failures []topology.Failure
	for _, text := range what {
		f, err := p.Tree.ParseFailure(text)
		if err != nil {
			t.Fatal(err)
		}
		failures = append(failures, f)
	}
	return p.Fail(failures...)
}

func TestAnOutageIsDetectionAndConvergence(t *testing.T) {
	rstp := makePlan(t, input(t, fork))
	stp := makePlan(t, input(t, strings.Replace(fork, "tree: {", "tree: {protocol: stp, ", 1)))
	for lost, want := range map[string][2]int{
		"host:h2":    {300 + 2*50, 50_000}, // h5 is three hops from h1, but the link that takes over ends at h4, two hops away
		"host:h1":    {300 + 2*50, 50_000},
		"link:h3-h4": {0, 0},
		"link:h4-h5": {0, 0},
		"host:h5":    {0, 0},
	} {
		got := [2]int{fail(t, rstp, lost).OutageMS, fail(t, stp, lost).OutageMS}
		if got != want {
			t.Errorf("%s: %v ms with RSTP and STP, want %v", lost, got, want)
		}
	}
}

func TestALostRootTakesLongerWhereALoopRemains(t *testing.T) {
	mesh := strings.Replace(threeHosts, "  h3:", "  h4: {address: 192.0.2.14}\n  h3:", 1)
	for file, want := range map[string]int{threeHosts: 300 + 50, mesh: 24_000} {
		if got := fail(t, makePlan(t, input(t, file)), "host:h1").OutageMS; got != want {
			t.Errorf("%d ms, want %d:%s", got, want, file)
		}
	}
}

func TestBFDThatIsSlowerFindsAFailureLater(t *testing.T) {
	p := makePlan(t, input(t, strings.Replace(threeHosts, "tree: {", "tree: {bfd: 1000, ", 1)))
	if got, want := fail(t, p, "host:h1").OutageMS, 3*1000+50; got != want {
		t.Errorf("%d ms, want %d", got, want)
	}
	want := map[string]string{"enable": "true", "min_rx": "1000", "min_tx": "1000"}
	if diff := cmp.Diff(want, p.Hosts[0].Desired.OVS.Ports[0].BFD); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAnOutcomeTellsWhatIsLeft(t *testing.T) {
	p := makePlan(t, input(t, fork))
	got := fail(t, p, "host:h1", "link:h4-h5")
	want := plan.Outcome{Failures: []string{"host:h1", "link:h4-h5"}, Root: "h2", CutOff: []string{"h5"}, Diameter: 3, Rerouted: 1, OutageMS: 300 + 2*50}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(plan.Outcome{}, "Tree")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if parent := got.Tree.Node("h3").Parent; parent != "h4" {
		t.Errorf("h3 hangs from %s, want h4", parent)
	}
}

func TestTheWorstFailureCutsOffTheMostThenReroutesTheMost(t *testing.T) {
	p := makePlan(t, input(t, fork))
	var got []string
	for _, o := range p.WorstFailures() {
		got = append(got, o.Failures[0])
	}
	want := []string{"link:h4-h5", "host:h4", "link:h1-h2", "link:h2-h4", "host:h2", "link:h1-h3", "host:h1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
