package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/operator/verify"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// How long a tree may take to settle. RSTP hands over at once where BFD
// tells it, and after three hellos of 2 s where nothing does (802.1D-2004
// 17.21.23). In STP a port listens and learns for 15 s each, after a message
// age of 20 s where it has to find out that the root is gone (802.1D-1998
// 8.10.2). An apply waits for a multiple of that before it goes back.
const (
	settleRSTP  = 7 * time.Second
	settleSTP   = 55 * time.Second
	applySettle = 3 // times these, for an apply
)

func newVerifyCommand(o *options) *cobra.Command {
	var asJSON, iperf bool
	var settle time.Duration
	containers := true
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the fabric works",
		Long: `Pings between all hosts in both directions, at the exact MTU and one byte
over it, compares the live spanning tree with the predicted one, has each host
and a container on it reach the others by broadcast, looks for duplicate
addresses, and has the containers ping each other. Every failure comes with its
cause and what to do.`,
		Example: `  fabric verify
  fabric verify --iperf                # throughput too
  fabric verify --json > report.json
  fabric verify --settle 2m            # hosts that are short of time`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if err := checkSettle(settle); err != nil {
				return err
			}
			l, f, err := openFleet(ctx, o, stderr)
			if err != nil {
				return err
			}
			defer f.close()
			p, err := f.planOfReachable(ctx, l, stderr)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(p.Hosts, func(h plan.Host) bool { return h.Observed && !h.Removed && len(h.Changes) > 0 }) {
				fmt.Fprintln(stderr, "warning: the hosts are not what the file says; fabric plan shows the differences")
			}
			report, err := verify.Run(ctx, f.nodes(), expected(l.topology, p, plan.Host.Before), verify.Options{
				Iperf: iperf, Containers: containers, Parallel: o.parallel, Settle: cmp.Or(settle, patience.Stretch(ctx, settleTime(p))),
				Progress: func(text string) { fmt.Fprintln(stderr, text) },
			})
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(stdout, report)
			} else {
				err = report.WriteTable(stdout, colored(stdout))
			}
			if err == nil && !report.Passed {
				return exitError(1)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	c.Flags().BoolVar(&iperf, "iperf", false, "measure throughput with iperf3 too")
	addSettleFlag(c, &settle, 1)
	c.Flags().BoolVar(&containers, "containers", containers, "start a container on each host and have it ping the others")
	return c
}

// node lets a session be probed.
type node struct{ session rollout.Session }

func (n node) Probe(ctx context.Context, req wire.ProbeRequest) (wire.ProbeResult, error) {
	reply, err := n.session.Call(ctx, wire.Request{Probe: &req}, nil)
	if err != nil {
		return wire.ProbeResult{}, err
	}
	if reply.Probe == nil {
		return wire.ProbeResult{}, errors.New("the host's answer has no result in it")
	}
	return *reply.Probe, nil
}

func (f *fleet) nodes() map[string]verify.Node {
	nodes := make(map[string]verify.Node, len(f.sessions))
	for name, s := range f.sessions {
		nodes[name] = node{s}
	}
	return nodes
}

// addSettleFlag adds --settle, whose default is so many settle times.
func addSettleFlag(c *cobra.Command, settle *time.Duration, times time.Duration) {
	c.Flags().DurationVar(settle, "settle", 0, fmt.Sprintf("how long the fabric is given to come right, in `TIME` (default %s with RSTP, %s with STP)",
		times*settleRSTP, times*settleSTP))
}

func checkSettle(settle time.Duration) error {
	if settle < 0 {
		return fmt.Errorf("--settle %s: a fabric cannot come right before it is looked at", settle)
	}
	return nil
}

func settleTime(p *plan.Plan) time.Duration {
	if p.Protocol == string(topology.STP) {
		return settleSTP
	}
	return settleRSTP
}

// check is what an apply waits for after each wave. Once all hosts are what
// the plan wants, the live tree has to be the predicted one, and all hosts have
// to reach each other. Before that, and without the hosts that are missing, no
// tree is predicted: hosts that have applied have to reach those to which
// tunnels lead.
func check(l *loaded, p *plan.Plan, f *fleet, settle time.Duration, progress func(text string)) rollout.Check {
	options := verify.Options{Settle: settle, Progress: progress}
	all := expected(l.topology, p, plan.Host.After)
	return func(ctx context.Context, applied map[string]bool) error {
		if complete(p, applied) {
			failed, err := verify.Settle(ctx, f.nodes(), all, options)
			return errors.Join(err, unsettled(failed, options.Settle))
		}
		for _, group := range p.Joined(applied) {
			if len(group) == 1 || !slices.ContainsFunc(group, func(name string) bool { return applied[name] }) {
				continue
			}
			failed, err := verify.Reach(ctx, f.nodes(), among(all, p, group, applied), applied, options)
			if err := errors.Join(err, unsettled(failed, options.Settle)); err != nil {
				return err
			}
		}
		return nil
	}
}

// complete reports whether all hosts are what the plan wants once these have
// applied.
func complete(p *plan.Plan, applied map[string]bool) bool {
	return !slices.ContainsFunc(p.Hosts, func(h plan.Host) bool {
		return h.Missing != "" || len(h.Changes) > 0 && !applied[h.Name]
	})
}

// among is what is expected of some hosts, by the addresses that they have
// while only some have applied.
func among(all verify.Expected, p *plan.Plan, names []string, applied map[string]bool) verify.Expected {
	part := all
	part.Hosts = nil
	for i, h := range p.Hosts {
		if slices.Contains(names, h.Name) {
			host := all.Hosts[i]
			state := h.State(applied[h.Name])
			host.Address, host.Member = state.Links.Address.Addr(), state.Joined()
			part.Hosts = append(part.Hosts, host)
		}
	}
	return part
}

// mostUnsettled is how many checks an error names: of many hosts, most are
// about one cause.
const mostUnsettled = 10

// unsettled is an error of the checks that fail.
func unsettled(failed []verify.Check, within time.Duration) error {
	if len(failed) == 0 {
		return nil
	}
	lines := []string{fmt.Sprintf("the fabric did not settle within %s", within)}
	for i, c := range failed {
		if i == mostUnsettled {
			lines = append(lines, fmt.Sprintf("and %d more like these", len(failed)-i))
			break
		}
		lines = append(lines, fmt.Sprintf("%s: %s: %s: %s", c.Host, c.Detail, c.Cause, c.Cure))
	}
	return errors.New(strings.Join(lines, "\n"))
}

// meetingTime is how long BFD may take to come through, and then to be up: it
// sends once a second until then.
const meetingTime = 3 * time.Second

// stand waits for the conditions of each step. Those of a fabric that begins are not
// waited for longer than meetingTime: a tunnel that stays down is told of with its
// cause once the hosts are as planned.
func stand(p *plan.Plan, nodes func() map[string]verify.Node, settle time.Duration) rollout.Stand {
	return func(ctx context.Context, step int) error {
		var must, may verify.Footing
		for _, c := range p.Await(step) {
			switch c := c.(type) {
			case plan.Placed:
				must.Tunnels = append(must.Tunnels, c...)
			case plan.RootKnown:
				must.Root = wire.BridgeID{Priority: int(c.Root.Priority), MAC: net.HardwareAddr(c.Root.MAC[:]).String()}
				must.Know = c.By
			case plan.Heard:
				may.Heard = append(may.Heard, c...)
			case plan.Up:
				may.Up = append(may.Up, c...)
			}
		}
		if _, err := verify.Stand(ctx, nodes(), may, patience.Stretch(ctx, meetingTime)); err != nil {
			return err
		}
		lacking, err := verify.Stand(ctx, nodes(), must, settle)
		if err != nil || len(lacking) == 0 {
			return err
		}
		return errors.New(strings.Join(append([]string{fmt.Sprintf("the tree was not ready within %s for the step %q", settle, p.StepName(step))}, lacking...), "\n"))
	}
}

// expected is what the plan predicts, in the terms of a verification. The hosts
// are in the state that is theirs now.
func expected(t *topology.Topology, p *plan.Plan, state func(plan.Host) plan.HostState) verify.Expected {
	e := verify.Expected{
		Fabric: p.Fabric, Network: p.Network, MTU: p.MTU.Value, Overhead: p.MTU.Overhead,
		Tunnel: p.MTU.Tunnel, Bridge: t.Docker.Bridge, Trunk: plan.BridgeName, Protocol: p.Protocol, Root: p.Tree.Root,
	}
	ports := make(map[string][]verify.Port)
	for _, port := range p.Tree.Ports {
		ports[port.Bridge] = append(ports[port.Bridge], verify.Port{Peer: port.Peer, Role: string(port.Role), State: string(port.State)})
	}
	for _, h := range p.Hosts {
		if h.Removed {
			if len(h.Changes) > 0 {
				e.Removed = append(e.Removed, h.Name)
			}
			continue
		}
		e.Hosts = append(e.Hosts, verify.Host{
			Name: h.Name, Address: h.Gateway, Underlay: h.Address, Range: h.Range, BridgeMAC: h.BridgeMAC, LinkMAC: h.Desired.Links.MAC,
			Userspace: h.Desired.OVS.DatapathType == string(topology.DatapathNetdev), Ports: ports[h.Name],
			Networks: h.Networks(), Member: state(h).Joined(), Switch: h.Switch,
		})
	}
	return e
}
