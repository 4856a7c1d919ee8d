package verify_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/operator/verify/verifytest"
)

var everything = verify.Options{Iperf: true, Containers: true}

// run runs a verification on a clock of its own, which jumps ahead when all
// wait.
func run(t *testing.T, fabric *verifytest.Fabric, opts verify.Options) verify.Report {
	t.Helper()
	report, err := verify.Run(t.Context(), fabric.Nodes(), fabric.Expected, opts)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func TestRunProbesEverythingAndLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		report := run(t, fabric, everything)
		if found := findings(report); len(found) > 0 {
			t.Error(found)
		}
		if len(report.RTTs) != 6 || len(report.UnderlayRTTs) != 6 || len(report.Throughput) != 3 {
			t.Errorf("%d round-trip times, %d of the underlay, %d throughputs; want 6, 6 and 3", len(report.RTTs), len(report.UnderlayRTTs), len(report.Throughput))
		}
		if left := fabric.Containers(); len(left) > 0 {
			t.Errorf("containers are left on %v", left)
		}
	})
}

func TestRunMeasuresNoThroughputAndStartsNoContainerUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, check := range run(t, verifytest.New(verifytest.Three()), verify.Options{}).Checks {
			if check.Name == verify.CheckThroughput || check.Name == verify.CheckContainers {
				t.Error(check)
			}
		}
	})
}

func TestRunWaitsUntilTheTreeHasSettled(t *testing.T) {
	settling := func(host string, count int, tree *wire.TreeStatus) {
		if host == "h3" && count < 20 {
			tree.Ports[1].State = "learning"
		}
	}
	for _, settle := range []time.Duration{0, time.Second, 10 * time.Second} {
		passed := settle == 10*time.Second
		synctest.Test(t, func(t *testing.T) {
			fabric := verifytest.New(verifytest.Three())
			fabric.Tree = settling
			if report := run(t, fabric, verify.Options{Settle: settle}); report.Passed != passed {
				t.Errorf("passed %v within %v, want %v", report.Passed, settle, passed)
			}
		})
	}
}

func TestRunFindsTheSizeThatPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		fabric.Carries = func(pair verify.Pair, size int) bool {
			return pair.From != "h2" || pair.To != "h3" || size <= 1337
		}
		found := findings(run(t, fabric, verify.Options{}))
		want := []finding{{
			Where: "mtu h2 h3", Status: verify.Fail,
			Cause: "the underlay carries less than the 1500 bytes that a packet of 1450 takes with its tunnel: no more than 1337 pass",
			Cure:  "set underlay.mtu in the fabric's file to 1387 and run fabric apply, or raise the underlay's MTU to 1500",
		}}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRunDoesNotTakeATunnelThatFlapsForASmallOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		up := make(map[int]time.Time) // by size: when packets of it come through at last
		fabric.Carries = func(_ verify.Pair, size int) bool {
			if _, tried := up[size]; !tried {
				up[size] = time.Now().Add(time.Second)
			}
			return size < 1450 || time.Now().After(up[size])
		}
		report := run(t, fabric, verify.Options{Containers: true, Parallel: 1, Settle: 7 * time.Second})
		if found := findings(report); len(found) > 0 {
			t.Error(found)
		}
	})
}

func TestRunReportsAHostThatCannotProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		fabric.Fail = func(host string, req wire.ProbeRequest) error {
			if host == "h2" && req.ContainerStart != nil {
				return errors.New("dockerd does not answer")
			}
			return nil
		}
		report := run(t, fabric, everything)
		var failed []string
		for _, check := range report.Checks {
			if check.Status == verify.Fail {
				failed = append(failed, check.Name+" "+check.Host+": "+check.Detail)
			}
		}
		if diff := cmp.Diff([]string{"containers h2: dockerd does not answer"}, failed); diff != "" {
			t.Error(diff)
		}
		if left := fabric.Containers(); len(left) > 0 {
			t.Errorf("containers are left on %v", left)
		}
	})
}

func TestRunProbesAHostWithoutANodeFromTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		nodes := fabric.Nodes()
		delete(nodes, "h3")
		report, err := verify.Run(t.Context(), nodes, fabric.Expected, verify.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var pings []string
		for _, check := range report.Checks {
			if check.Name == verify.CheckPing {
				pings = append(pings, check.Host+" "+check.Peer+" "+string(check.Status))
			}
		}
		want := []string{
			"h1 h2 pass", "h1 h3 pass", "h2 h1 pass", "h2 h3 pass",
			"h3 h1 skipped", "h3 h2 skipped",
		}
		if diff := cmp.Diff(want, pings); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRunRemovesContainersWhenItIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		ctx, cancel := context.WithCancel(t.Context())
		opts := verify.Options{Containers: true, Progress: func(message string) {
			if strings.Contains(message, "between containers") {
				cancel()
			}
		}}
		if _, err := verify.Run(ctx, fabric.Nodes(), fabric.Expected, opts); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
		if left := fabric.Containers(); len(left) > 0 {
			t.Errorf("containers are left on %v", left)
		}
	})
}

func TestRunKeepsToItsLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Hosts(20))
		start := time.Now()
		run(t, fabric, verify.Options{Parallel: 1})
		// Tree, three sizes of pings, the underlay and ARP twice, one host after
		// the other, a millisecond each.
		if took, want := time.Since(start), 7*20*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
	})
}

func TestHostsThatPingAtOnceShareARate(t *testing.T) {
	for _, tc := range []struct {
		hosts, parallel int
		want            time.Duration // between two echoes of a host
	}{
		{3, 0, 3 * time.Second / 1000},
		{3, 1, time.Second / 1000},
		{20, 16, 16 * time.Second / 1000},
		{200, 16, 16 * time.Second / (200 * 199 * 3 / 5)}, // all within 5 s
	} {
		synctest.Test(t, func(t *testing.T) {
			fabric := verifytest.New(verifytest.Hosts(tc.hosts))
			var mu sync.Mutex
			got := make(map[time.Duration]bool)
			fabric.Fail = func(_ string, req wire.ProbeRequest) error {
				mu.Lock()
				defer mu.Unlock()
				if req.Ping != nil && req.Ping.Source.IsValid() && req.Ping.Count == 3 {
					got[req.Ping.Spacing] = true
				}
				return nil
			}
			run(t, fabric, verify.Options{Parallel: tc.parallel})
			if diff := cmp.Diff(map[time.Duration]bool{tc.want: true}, got); diff != "" {
				t.Errorf("%d hosts, %d at once: %s", tc.hosts, tc.parallel, diff)
			}
		})
	}
}

func TestReachAsksOnlyForTheWaysOfSomeHosts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		fabric.Carries = func(pair verify.Pair, _ int) bool { return pair.From == "h1" || pair.To == "h1" }
		for host, want := range map[string]int{"h1": 0, "h2": 2} { // both ways between h2 and h3 are lost
			failed, err := verify.Reach(t.Context(), fabric.Nodes(), fabric.Expected, map[string]bool{host: true}, verify.Options{Settle: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			if len(failed) != want {
				t.Errorf("%s: %d checks fail, want %d: %v", host, len(failed), want, failed)
			}
		}
	})
}

func TestReachTakesAnyTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fabric := verifytest.New(verifytest.Three())
		fabric.Tree = func(_ string, _ int, tree *wire.TreeStatus) { tree.Root.MAC = "02:00:00:00:00:01" }
		failed, err := verify.Reach(t.Context(), fabric.Nodes(), fabric.Expected, map[string]bool{"h1": true}, verify.Options{})
		if err != nil || len(failed) > 0 {
			t.Errorf("%v, %v", failed, err)
		}
	})
}
