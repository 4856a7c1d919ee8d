package verify_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
)

func TestASplitFabricIsNamedByItsParts(t *testing.T) {
	exp := verifytest.Hosts(4)
	res := verifytest.Results(exp)
	res.Containers, res.Transfers = nil, nil
	for _, pair := range verify.Matrix(exp) {
		if (pair.From < "h3") != (pair.To < "h3") {
			lose(res.Pings.Small, pair)
		}
	}
	want := "the fabric is split: h1, h2 | h3, h4 do not reach each other"
	for _, f := range findings(verify.Evaluate(exp, res)) {
		if f.Cause != want {
			t.Errorf("%s: cause %q, want %q", f.Where, f.Cause, want)
		}
	}
}

func TestADuplicateAddressExplainsWhatItBreaks(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	res.Containers = nil
	res.ARP["h1"][1].MACs = []string{exp.Hosts[1].LinkMAC, exp.Hosts[2].LinkMAC}
	lose(res.Pings.Small, verify.Pair{From: "h2", To: "h1"})
	lose(res.Pings.Full, verify.Pair{From: "h3", To: "h2"})
	lose(res.Pings.Oversize, verify.Pair{From: "h3", To: "h2"})
	want := "the address of h2, 172.17.2.1, is on another machine too"
	for _, f := range findings(verify.Evaluate(exp, res)) {
		if f.Status == verify.Fail && f.Cause != want && f.Where != "addresses h2" {
			t.Errorf("%s: cause %q, want %q", f.Where, f.Cause, want)
		}
	}
}

func TestTheWorstPathDecidesTheMTU(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	lose(res.Pings.Full, verify.Pair{From: "h1", To: "h2"}, verify.Pair{From: "h2", To: "h1"}, verify.Pair{From: "h3", To: "h1"})
	res.Largest = map[string]int{"h1": 1400, "h2": 1350}
	res.Pings.Full["h3"][0].MTU = 1380 // what a router said
	want := "set underlay.mtu in the fabric's file to 1400 and run fabric apply, or raise the underlay's MTU to 1500"
	for _, f := range findings(verify.Evaluate(exp, res)) {
		if f.Status == verify.Fail && f.Cure != want {
			t.Errorf("%s: cure %q, want %q", f.Where, f.Cure, want)
		}
	}
}

func TestWhatFollowsFromALostPingIsSkipped(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	res.Containers = nil
	pair := verify.Pair{From: "h1", To: "h2"}
	lose(res.Pings.Small, pair)
	lose(res.Pings.Full, pair)
	lose(res.Pings.Oversize, pair)
	res.Transfers[0].Error = "unable to connect to server"

	got := make(map[string]verify.Status)
	for _, f := range findings(verify.Evaluate(exp, res)) {
		got[f.Where] = f.Status
	}
	want := map[string]verify.Status{
		"ping h1 h2": verify.Fail, "mtu h1 h2": verify.Skipped,
		"oversize h1 h2": verify.Skipped, "throughput h1 h2": verify.Skipped,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAPortThatIsNotTheFabricsIsLeftAlone(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	tree := res.Trees["h1"]
	tree.Ports = append(tree.Ports, wire.TreePort{Name: "eth1", Role: "alternate", State: "discarding", Link: "up"})
	res.Trees["h1"] = tree
	if report := verify.Evaluate(exp, res); !report.Passed || report.Blocked != 1 {
		t.Errorf("passed %v with %d ports blocked: %v", report.Passed, report.Blocked, findings(report))
	}
}

func TestThroughputIsMeasuredInARingOfManyHosts(t *testing.T) {
	var got []string
	for _, pair := range verify.ThroughputPairs(verifytest.Hosts(5)) {
		got = append(got, pair.String())
	}
	want := []string{"h1→h2", "h2→h3", "h3→h4", "h4→h5", "h5→h1"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAMACThatIsNotPredictedMayAnswerUnlessTheOwnerHearsIt(t *testing.T) {
	exp := verifytest.Three()
	res := verifytest.Results(exp)
	exp.Hosts[0].LinkMAC = ""
	if report := verify.Evaluate(exp, res); !report.Passed {
		t.Error(findings(report))
	}
	res.ARP["h1"][0].MACs = []string{"02:42:ac:11:00:02"}
	if report := verify.Evaluate(exp, res); report.Passed {
		t.Error("passed though h1 hears another for its own address")
	}
}

func TestALargeFabricOfWhichNothingWorksIsEvaluatedSoon(t *testing.T) {
	exp := verifytest.Hosts(150)
	res := verifytest.Results(exp)
	lose(res.Pings.Small, involving(exp, "h3")...)
	lose(res.Pings.Full, verify.Matrix(exp)...)
	report := verify.Evaluate(exp, res)
	if report.Passed || len(report.RTTs) != 149*148 {
		t.Errorf("passed %v, %d round-trip times", report.Passed, len(report.RTTs))
	}
}
