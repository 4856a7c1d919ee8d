package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/plan"
)

// savedInput is an input with something of everything that is saved.
func savedInput(t testing.TB) plan.Input {
	t.Helper()
	in := input(t, threeHosts)
	state := makePlan(t, in).Hosts[1].Desired
	in.Programs = map[string]string{"amd64": "0123456789abcdef"}
	in.Observed = map[string]plan.Observation{
		"h1": {Facts: plan.Facts{Arch: "amd64", Containers: []plan.Container{{Name: "db", OnBridge: true}}}},
		"h2": {State: state, Facts: plan.Facts{Arch: "amd64"}},
	}
	in.Missing = map[string]string{"h3": "it does not answer"}
	return in
}

func save(t testing.TB, in plan.Input) string {
	t.Helper()
	data, err := plan.Saved{Observed: in.Observed, Missing: in.Missing, Programs: in.Programs}.Bytes(makePlan(t, in))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func remake(t *testing.T, in plan.Input, data string) (*plan.Plan, error) {
	t.Helper()
	s, err := plan.ParseSaved("p.json", []byte(data))
	if err != nil {
		return nil, err
	}
	return s.Remake("p.json", plan.Input{Topology: in.Topology, Lock: in.Lock})
}

func TestASavedPlanIsThePlanThatWasSaved(t *testing.T) {
	in := savedInput(t)
	got, err := remake(t, in, save(t, in))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(makePlan(t, in).Hosts, got.Hosts, equateNetip); diff != "" {
		t.Error(diff)
	}
}

func TestASavedPlanThatWasCutOffIsRefused(t *testing.T) {
	in := savedInput(t)
	data := strings.TrimSuffix(save(t, in), "\n")
	for cut := 0; cut < len(data); cut += 1 + len(data)/500 {
		if _, err := remake(t, in, data[:cut]); err == nil || !strings.Contains(err.Error(), "p.json is no saved plan, or is cut off") {
			t.Fatalf("cut after %d bytes: %v", cut, err)
		}
	}
}

func TestASavedPlanThatWasEditedIsRefused(t *testing.T) {
	in := savedInput(t)
	data := save(t, in)
	for name, edit := range map[string]*strings.Replacer{
		"the plan":          strings.NewReplacer(`"op":"+"`, `"op":"-"`),
		"what was observed": strings.NewReplacer(`"containers":[{"name":"db","on_bridge":true}]`, `"containers":null`),
		"a host left out":   strings.NewReplacer(`"missing":{"h3":"it does not answer"}`, `"missing":{}`),
		"the program":       strings.NewReplacer(`"amd64":"0123`, `"amd64":"4123`),
		"an unknown key":    strings.NewReplacer(`"format":2`, `"format":2,"run":"rm"`),
		"a wrong type":      strings.NewReplacer(`"lock":""`, `"lock":1`),
		"more after it":     strings.NewReplacer("\n", "\n{}"),
	} {
		t.Run(name, func(t *testing.T) {
			changed := edit.Replace(data)
			if changed == data {
				t.Fatal("nothing was edited")
			}
			if _, err := remake(t, in, changed); err == nil || !strings.Contains(err.Error(), "run fabric plan --out p.json again") && !strings.Contains(err.Error(), "no saved plan") {
				t.Errorf("error: %v", err)
			}
		})
	}
}

func TestASavedPlanOfAnotherFormatIsRefused(t *testing.T) {
	_, err := plan.ParseSaved("p.json", []byte(`{"format":9,"what":"comes later"}`))
	want := "p.json has the format 9 of saved plans, and this fabric reads 2: run fabric plan --out p.json again"
	if err == nil || err.Error() != want {
		t.Errorf("error: %v", err)
	}
}

func TestTwoPlansTellWhatDiffersOnEachHost(t *testing.T) {
	in := savedInput(t)
	in.Missing = nil
	in.Observed["h3"] = plan.Observation{}
	earlier := makePlan(t, in)
	state := in.Observed["h2"].State
	links := *state.Links
	links.Member = ""
	state.Links = &links
	in.Observed["h2"] = plan.Observation{State: state, Facts: in.Observed["h2"].Facts}
	in.Observed["h3"] = plan.Observation{Facts: plan.Facts{Arch: "amd64"}} // wants a program now
	got := makePlan(t, in).Since(earlier)
	attr := func(name, before, after string) []plan.Attr {
		return []plan.Attr{{Name: name, Before: before, After: after}}
	}
	want := []plan.Difference{
		{Host: "h2", Changes: []plan.Change{{Op: plan.Modify, Object: "link docker0", Attrs: attr("member", "fab-default", "")}}},
		{Host: "h3", Wanted: true, Changes: []plan.Change{{Op: plan.Add, Object: "program fabric", Attrs: attr("build", "", "0123456789ab")}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func FuzzParseSaved(f *testing.F) {
	in := savedInput(f)
	f.Add([]byte(save(f, in)))
	f.Add([]byte(`{"format":2,"version":"","program":"","file":"","lock":"","programs":{},"observed":{},"plan":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := plan.ParseSaved("p.json", data)
		if err != nil {
			shown(t, err)
			return
		}
		p, err := s.Remake("p.json", plan.Input{Topology: in.Topology, Lock: in.Lock})
		switch {
		case err != nil:
			shown(t, err)
		case p == nil:
			t.Error("neither a plan nor an error")
		}
	})
}

// shown is for what reaches the terminal of whoever was given a saved plan.
func shown(t *testing.T, err error) {
	t.Helper()
	if text := err.Error(); printable.Text(text) != text {
		t.Errorf("%q reaches the terminal", text)
	}
}
