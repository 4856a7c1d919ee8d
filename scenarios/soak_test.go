//go:build privileged && soak

package scenarios_test

import (
	"cmp"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// soakFaults may strike at any moment after the journal is there.
var soakFaults = []string{
	killNode, killController, powerCut, reboot, killWatch, powerCutWhileGoingBack, powerCutAtBoot, cut, shortCut,
	killSwitch, stopSwitch, hangDatabase, hangDocker, dockerRefuses, diskFull, readOnlyEtc,
}

// soakMoments are those of each op.
var soakMoments = map[string][]string{
	"first": moments[1:], "change": slices.Concat(moments[1:], afterStop(moments[2:]...)), "destroy": goingAway,
	"migrate": slices.Concat([]string{atSwitch, atCheck}, afterStand(moments[2:]...)), // dockerd is not stopped
}

// TestSoak has random faults strike at random moments for as long as SOAK says
// (30m). SOAK_SEED repeats a run's choice of them.
func TestSoak(t *testing.T) {
	long, err := time.ParseDuration(cmp.Or(os.Getenv("SOAK"), "30m"))
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("SOAK_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("SOAK_SEED=%d", seed)
	end := time.Now().Add(long)
	lanes := bootLanes(t, "soak-test")
	cases := make([]int, len(lanes))
	var wait sync.WaitGroup
	for i, l := range lanes {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		wait.Go(func() {
			for time.Now().Before(end) && t.Context().Err() == nil {
				c := l.draw(random)
				cases[i]++
				if !t.Run(c.String(), func(t *testing.T) { l.at(t).run(c) }) && !l.at(t).reset() {
					t.Errorf("%s: the hosts cannot be brought back", strings.Join(l.hosts, ", "))
					return
				}
			}
		})
	}
	wait.Wait()
	total := 0
	for _, n := range cases {
		total += n
	}
	t.Logf("%d cases with SOAK_SEED=%d", total, seed)
}

// draw chooses a case of the lane's.
func (l *lane) draw(random *rand.Rand) faultCase {
	here := map[string][]string{"": {"first"}, "first": {"change", "destroy"}, "older": {"migrate"}}[l.base]
	op := here[random.IntN(len(here))]
	at := soakMoments[op]
	if op == "first" && len(l.hosts) > 1 {
		at = slices.Concat(at, afterStop(atSwitch), []string{atThirdSwitch})
	}
	able := slices.DeleteFunc(slices.Clone(soakFaults), func(fault string) bool {
		// destroy waits longer for its confirmation than a case should last.
		return fault == cut && op == "destroy"
	})
	return faultCase{op, able[random.IntN(len(able))], at[random.IntN(len(at))], either}
}
