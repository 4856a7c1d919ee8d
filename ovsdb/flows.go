package ovsdb

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/plan"
)

// ordinary is the one flow of a bridge that nobody has given others: it has the
// bridge learn addresses and flood as a switch does.
const ordinary = "priority=0,actions=NORMAL"

// steered finds access bridges that somebody else tells what to forward: by a
// controller, or by flows of OpenFlow.
func (r *Resource) steered(ctx context.Context, have *snapshot, q plan.Query) []plan.Obstacle {
	var found []plan.Obstacle
	add := func(cure, format string, args ...any) {
		found = append(found, plan.Obstacle{What: fmt.Sprintf(format, args...), Cure: cure})
	}
	for _, b := range have.own(q.Fabric) {
		if b.Name == plan.BridgeName {
			continue
		}
		if n := len(b.Controller); n > 0 {
			add("ovs-vsctl del-controller "+b.Name, "bridge %s has an OpenFlow controller, which decides what it forwards", b.Name)
			continue // what flows there are is the controller's doing
		}
		if b.FailMode != nil && *b.FailMode == "secure" {
			add("ovs-vsctl del-fail-mode "+b.Name, "bridge %s has fail_mode secure, and so forwards nothing without a controller", b.Name)
			continue
		}
		flows, err := r.flows(ctx, b.Name)
		if err != nil { // it could not make the bridge, or starts: others tell of that
			continue
		}
		cure := fmt.Sprintf("echo %s | ovs-ofctl replace-flows %s -", ordinary, b.Name)
		switch {
		case len(flows) == 0:
			add(cure, "bridge %s has no OpenFlow flow, and so forwards nothing: somebody deleted them", b.Name)
		case len(flows) > 1 || flows[0] != ordinary:
			others := slices.DeleteFunc(flows, func(f string) bool { return f == ordinary })
			add(cure, "bridge %s has OpenFlow flows of somebody else's, such as %s", b.Name, others[0])
		}
	}
	return found
}

// flows lists the flows of a bridge as priority, match and actions, without the
// default priority, which Open vSwitch does not print. Table 254 is its own.
func (r *Resource) flows(ctx context.Context, bridge string) ([]string, error) {
	dump, err := r.control(ctx, "bridge/dump-flows", bridge)
	if err != nil {
		return nil, fmt.Errorf("asking ovs-vswitchd for the flows of %s: %w", bridge, err)
	}
	return parseFlows(dump), nil
}

func parseFlows(dump string) []string {
	var flows []string
	for line := range strings.Lines(dump) {
		parts := flowLine.FindStringSubmatch(strings.TrimSpace(line))
		if parts == nil || parts[1] == "254" {
			continue
		}
		flows = append(flows, strings.TrimLeft(parts[2], " ,"))
	}
	return flows
}

// flowLine is a line of bridge/dump-flows: its table where that is not 0, then
// counters, then the flow itself.
var flowLine = regexp.MustCompile(`^(?:table_id=(\d+), )?duration=\S+, n_packets=\d+, n_bytes=\d+, (.*actions=.*)$`)
