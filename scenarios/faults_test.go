//go:build privileged && (faults || soak)

package scenarios_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A faultCase is an apply that meets a fault.
type faultCase struct {
	op    string // of ops
	fault string // of faults
	at    string // what the host is at: a line of its progress, or one of the other moments
	want  outcome
}

func (c faultCase) String() string { return fmt.Sprintf("%s, %s at %q", c.op, c.fault, c.at) }

// An outcome is how the hosts of a case have to end: as a whole, whatever
// the fault.
type outcome string

const (
	asBefore outcome = "as before" // as before the apply
	asWanted outcome = "as wanted" // as the file wants it
	either   outcome = "either"    // one of the two: it depends on who is first
)

// The moments of an apply, as the host's progress tells them.
const (
	atJournal = "write the journal"
	atStop    = "stop dockerd"
	atSwitch  = "apply Open vSwitch"
	atLinks   = "apply links"
	atBoot    = "apply boot"
	atDocker  = "apply Docker"
	atCheck   = "look again"
)

// The moments that the host does not tell.
const (
	atPlan      = "the question whether to apply" // the plan is made
	atGuard     = "the guard's program is there"
	atWritten   = "the journal is there"
	atSettle    = "the host waits for its confirmation" // or for the next step
	atRestored  = "daemon.json is as before the fabric"
	atConfirmed = "the journal is gone"
	atDisarm    = "the guard is half gone"
	atEnd       = "the command has ended"
)

// andThen stands between moments of which the last is meant. A change is made
// in steps: only the last one stops dockerd. So is a first apply of several
// hosts: only the second one does.
const andThen = ", and then "

// atThirdSwitch is in the third step of a first apply.
const atThirdSwitch = atStop + andThen + atDocker + andThen + atSwitch

func afterStop(at ...string) []string {
	later := make([]string, len(at))
	for i := range at {
		later[i] = atStop + andThen + at[i]
	}
	return later
}

// afterStand are moments of a migration's second step, in which the access
// bridges are used.
func afterStand(at ...string) []string {
	later := make([]string, len(at))
	for i := range at {
		later[i] = atCheck + andThen + at[i]
	}
	return later
}

var (
	moments    = []string{atJournal, atStop, atSwitch, atLinks, atBoot, atDocker, atCheck, atSettle}
	goingAway  = []string{atStop, atLinks, atSwitch, atDocker, atCheck}
	inTheMidst = []string{atStop, atLinks, atDocker}
)

// each is a fault at several moments.
func each(op, fault string, want outcome, at ...string) []faultCase {
	cases := make([]faultCase, len(at))
	for i := range at {
		cases[i] = faultCase{op, fault, at[i], want}
	}
	return cases
}

// A clock that jumps is not among them: these hosts share this machine's. What
// fabric waits for it measures by the monotonic clock; the virtual machines'
// test has one jump. What a fault keeps a part from doing strikes well before
// that part: the host's side may be there by the time it is stopped.
var faultCases = slices.Concat(
	each("first", killNode, asBefore, moments...),
	each("change", killNode, asBefore, moments...),
	each("change", killNode, asBefore, afterStop(atSwitch, atLinks, atBoot, atDocker, atCheck, atSettle)...),
	each("destroy", killNode, asBefore, goingAway...),
	each("first", killNode, asBefore, atWritten),
	each("first", killNode, asWanted, atConfirmed),
	each("first", killNodeAndReboot, asBefore, atGuard),
	each("first", killController, asBefore, inTheMidst...),
	each("change", killController, asBefore, atSwitch, atSettle),
	each("change", killController, asBefore, afterStop(atCheck)...),
	each("first", powerCut, asBefore, moments[1:]...),
	each("first", powerCut, asBefore, atWritten),
	each("change", powerCut, asBefore, atStop, atSwitch, atSettle),
	each("change", powerCut, asBefore, afterStop(atBoot, atDocker, atSettle)...),
	each("destroy", powerCut, asBefore, atLinks, atDocker, atCheck),
	each("first", powerCut, asWanted, atConfirmed, atDisarm, atEnd),
	each("first", reboot, asBefore, atStop, atDocker, atSettle),
	each("change", reboot, asBefore, afterStop(atDocker)...),
	each("first", killNode, asBefore, append(afterStop(atSwitch), atThirdSwitch)...),
	each("first", killController, asBefore, atThirdSwitch),
	each("first", powerCut, asBefore, append(afterStop(atSwitch), atThirdSwitch)...),
	each("first", killWatch, asBefore, atLinks, atSettle),
	each("change", killWatch, asBefore, afterStop(atDocker)...),
	each("first", powerCutWhileGoingBack, asBefore, atDocker, atSettle),
	each("change", powerCutWhileGoingBack, asBefore, afterStop(atCheck)...),
	each("first", powerCutAtBoot, asBefore, atDocker),
	each("change", powerCutAtBoot, asBefore, afterStop(atDocker)...),
	each("first", cut, asBefore, atDocker, atSettle),
	each("change", cut, asBefore, atStop),
	each("first", shortCut, asWanted, atDocker),
	each("first", stopSwitch, asBefore, atStop),
	each("first", stopSwitch, either, atSwitch),                // it may be stopped too late
	each("first", stopSwitch, either, atLinks),                 // it may be back before br0 is given up
	each("change", stopSwitch, either, afterStop(atDocker)...), // it may be back before it is looked for
	each("first", hangDatabase, either, atSwitch),              // the switch may have been changed already
	each("change", hangDatabase, asBefore, atStop),
	each("first", killSwitch, either, atDocker),
	each("first", hangDocker, asBefore, atJournal),
	each("change", hangDocker, either, afterStop(atSettle)...),
	each("first", dockerRefuses, asBefore, atStop),
	each("change", dockerRefuses, asBefore, afterStop(atSwitch)...),
	each("first", diskFull, asBefore, atPlan, atStop),
	each("first", noRoomForGuard, asBefore, atPlan),
	each("first", readOnlyEtc, asBefore, atJournal, atSwitch, atBoot),
	each("change", readOnlyEtc, asBefore, afterStop(atSwitch)...),
	each("destroy", readOnlyEtcGoingBack, asBefore, atRestored),
	each("first", foreignBridge, asBefore, atPlan),
	each("change", foreignPort, asWanted, atPlan, atSwitch),
	each("destroy", foreignPort, asBefore, atPlan),
	each("first", foreignPortAndKill, asBefore, atDocker),
	each("first", secondApply, asWanted, atJournal, atDocker, atSettle),
	each("first", lostWatch, asWanted, atPlan),
	each("migrate", killNode, asBefore, atJournal, atSwitch, atSettle),
	each("migrate", killNode, asBefore, afterStand(atSwitch, atSettle)...),
	each("migrate", killNode, either, afterStand(atLinks, atBoot, atDocker, atCheck)...), // some 50 ms in all: it may be confirmed
	each("migrate", killController, asBefore, atSwitch),
	each("migrate", killController, either, afterStand(atLinks)...),
	each("migrate", killController, asBefore, afterStand(atSettle)...),
	each("migrate", powerCut, asBefore, atSwitch, atSettle),
	each("migrate", powerCut, either, afterStand(atLinks, atBoot)...),
	each("migrate", powerCut, asBefore, afterStand(atSettle)...),
	each("migrate", stopSwitch, either, afterStand(atLinks)...), // it may be back before it is looked for
	each("migrate", readOnlyEtc, asBefore, afterStand(atSwitch)...),
)

// TestFaults has an apply meet faults at each of its moments, on hosts of its
// own for every case. They end as they were before, or as the file wants them.
func TestFaults(t *testing.T) {
	t.Parallel()
	lanes := bootLanes(t, "faults-test")
	queues := make(map[*lane][]faultCase)
	next := make(map[string]int)
	for _, c := range faultCases {
		able := lanesFor(lanes, c)
		l := able[next[ops[c.op].base]%len(able)]
		next[ops[c.op].base]++
		queues[l] = append(queues[l], c)
	}
	var wait sync.WaitGroup
	for _, l := range lanes {
		wait.Go(func() {
			for _, c := range queues[l] {
				if !t.Run(c.String(), func(t *testing.T) { l.at(t).run(c) }) && !l.at(t).reset() {
					t.Errorf("%s: the hosts cannot be brought back, and cases are left out", strings.Join(l.hosts, ", "))
					return
				}
			}
		})
	}
	wait.Wait()
	t.Logf("%d cases", len(faultCases))
}
