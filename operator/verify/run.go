package verify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

// Run has the hosts probe the fabric and evaluates what they found. A host
// that has no node is probed by the others and reported as not asked. What
// fails on a host is in the report; an error means that ctx has ended.
func Run(ctx context.Context, nodes map[string]Node, exp Expected, opts Options) (Report, error) {
	r := &runner{nodes: nodes, exp: exp, opts: opts}
	deadline := time.Now().Add(opts.Settle)
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return r.tree(ctx, deadline) },
		func(ctx context.Context) error { return r.ping(ctx, deadline) },
		func(ctx context.Context) error { return r.broadcast(ctx, deadline) },
		r.sizes,
		r.largest,
		r.underlay,
		r.arp,
		r.iperf,
		r.containers,
	} {
		if err := step(ctx); err != nil {
			return Report{}, fmt.Errorf("verify %s: %w", exp.Fabric, err)
		}
	}
	return Evaluate(exp, r.res), nil
}

// runner is one call of Run and what it has found so far.
type runner struct {
	nodes map[string]Node
	exp   Expected
	opts  Options
	some  map[string]bool // pings are sent only from or to these; nil: between all
	res   Results
}

func (r *runner) progress(format string, args ...any) {
	if r.opts.Progress != nil {
		r.opts.Progress(fmt.Sprintf(format, args...))
	}
}

// answer is what one host answered to one request.
type answer struct {
	host   string
	result wire.ProbeResult
	err    error
}

// each sends a request to the hosts, made for each, and gives their answers
// in the order of the hosts. A host for which there is no request is left
// out. The error is that of ctx.
func (r *runner) each(ctx context.Context, request func(Host) *wire.ProbeRequest) ([]answer, error) {
	var mu sync.Mutex
	byHost := make(map[string]answer)
	var group errgroup.Group
	if r.opts.Parallel > 0 {
		group.SetLimit(r.opts.Parallel)
	}
	for _, host := range r.exp.Hosts {
		node, asked := r.nodes[host.Name]
		req := request(host)
		if !asked || req == nil {
			continue
		}
		group.Go(func() error {
			result, err := node.Probe(ctx, *req)
			mu.Lock()
			defer mu.Unlock()
			byHost[host.Name] = answer{host: host.Name, result: result, err: err}
			return nil
		})
	}
	_ = group.Wait() // the functions return no errors
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var answers []answer
	for _, host := range r.exp.Hosts {
		if a, ok := byHost[host.Name]; ok {
			answers = append(answers, a)
		}
	}
	return answers, nil
}

// fail keeps that a probe could not be made.
func (r *runner) fail(check string, a answer) {
	r.res.Errors = append(r.res.Errors, ProbeError{Check: check, Host: a.host, Err: a.err.Error()})
}

// forget drops the errors of a check before it is tried again.
func (r *runner) forget(check string) {
	r.res.Errors = slices.DeleteFunc(r.res.Errors, func(e ProbeError) bool { return e.Check == check })
}

// settle repeats a step until the report has no failure of its check or the
// deadline has passed.
func (r *runner) settle(ctx context.Context, deadline time.Time, check string, step func(context.Context) error) error {
	return r.until(ctx, deadline, check, func() (bool, error) {
		r.forget(check)
		if err := step(ctx); err != nil {
			return false, err
		}
		return !slices.ContainsFunc(Evaluate(r.exp, r.res).Checks, func(c Check) bool {
			return c.Name == check && (c.Status == Fail || c.Status == Warn)
		}), nil
	})
}

// until looks until what is looked at is right or the deadline has passed.
func (r *runner) until(ctx context.Context, deadline time.Time, what string, look func() (right bool, err error)) error {
	wait := min(settlePause*time.Duration(max(1, len(r.exp.Hosts)/2)), longestSettlePause, time.Until(deadline)/leastLooks)
	for told := false; ; told = true {
		right, err := look()
		if err != nil || right || !time.Now().Add(wait).Before(deadline) {
			return err
		}
		if !told {
			r.progress("%s: not yet as planned, waiting", what)
		}
		if err := patience.Pause(ctx, wait); err != nil {
			return err
		}
	}
}

// trees asks all hosts for their tree: an answer has one, or an error.
func (r *runner) trees(ctx context.Context) ([]answer, error) {
	answers, err := r.each(ctx, func(Host) *wire.ProbeRequest {
		return &wire.ProbeRequest{Tree: &wire.TreeRequest{}}
	})
	for i, a := range answers {
		if a.err == nil && a.result.Tree == nil {
			answers[i].err = errNoAnswer
		}
	}
	return answers, err
}

func (r *runner) tree(ctx context.Context, deadline time.Time) error {
	r.progress("reading the spanning tree")
	return r.settle(ctx, deadline, CheckTree, func(ctx context.Context) error {
		answers, err := r.trees(ctx)
		r.res.Trees = make(map[string]wire.TreeStatus)
		for _, a := range answers {
			if a.err != nil {
				r.fail(CheckTree, a)
				continue
			}
			r.res.Trees[a.host] = *a.result.Tree
		}
		return err
	})
}

func (r *runner) ping(ctx context.Context, deadline time.Time) error {
	r.progress("pinging between %d hosts", len(r.exp.Hosts))
	return r.settle(ctx, deadline, CheckPing, func(ctx context.Context) error {
		var err error
		r.res.Pings.Small, err = r.pings(ctx, CheckPing, r.hostPing(ctx, smallSize, false, pingCount))
		return err
	})
}

// underlay times the ways that tunnels take. It is for the report only: an
// underlay that answers no pings may well carry tunnels.
func (r *runner) underlay(ctx context.Context) error {
	r.progress("timing the underlay")
	answers, err := r.each(ctx, func(host Host) *wire.ProbeRequest {
		var targets []netip.Addr
		for _, other := range r.exp.Hosts {
			if other.Name != host.Name && other.Underlay.Is4() { // what a host can ping
				targets = append(targets, other.Underlay)
			}
		}
		if len(targets) == 0 {
			return nil
		}
		return &wire.ProbeRequest{Ping: &wire.PingRequest{
			Targets: targets, Size: smallSize, Count: pingCount, Interval: pingInterval, Timeout: patience.Stretch(ctx, pingTimeout),
		}}
	})
	r.res.Underlay = make(map[string][]wire.PingResult)
	for _, a := range answers {
		r.res.Underlay[a.host] = a.result.Ping
	}
	return err
}

func (r *runner) sizes(ctx context.Context) (err error) {
	r.progress("trying packets of %d and %d bytes", r.exp.MTU, r.exp.MTU+1)
	err = r.settle(ctx, r.flapDeadline(ctx), CheckMTU, func(ctx context.Context) (err error) {
		r.res.Pings.Full, err = r.pings(ctx, CheckMTU, r.hostPing(ctx, r.exp.MTU, true, sizeCount))
		return err
	})
	if err != nil {
		return err
	}
	r.res.Pings.Oversize, err = r.pings(ctx, CheckOversize, r.hostPing(ctx, r.exp.MTU+1, true, 1))
	return err
}

// flapDeadline is until when a probe at full size is repeated.
func (r *runner) flapDeadline(ctx context.Context) time.Time {
	return time.Now().Add(min(r.opts.Settle, patience.Stretch(ctx, flapTime)))
}

// pings sends a ping request to each host and collects the results.
func (r *runner) pings(ctx context.Context, check string, request func(Host) *wire.ProbeRequest) (map[string][]wire.PingResult, error) {
	answers, err := r.each(ctx, request)
	results := make(map[string][]wire.PingResult)
	for _, a := range answers {
		if a.err != nil {
			r.fail(check, a)
			continue
		}
		results[a.host] = a.result.Ping
	}
	return results, err
}

// spacing is between two echoes of a host. Hosts that all send at once to all
// others would have the root, which forwards most of it, drop some.
func (r *runner) spacing(count int) time.Duration {
	hosts := len(r.exp.Hosts)
	sending := hosts
	if r.opts.Parallel > 0 {
		sending = min(hosts, r.opts.Parallel)
	}
	rate := max(echoRate, hosts*(hosts-1)*count*int(time.Second)/int(echoTime))
	return time.Duration(sending) * time.Second / time.Duration(rate)
}

// hostPing makes each host's request to ping all others.
func (r *runner) hostPing(ctx context.Context, size int, df bool, count int) func(Host) *wire.ProbeRequest {
	return func(host Host) *wire.ProbeRequest {
		targets := r.others(host)
		if len(targets) == 0 {
			return nil
		}
		return &wire.ProbeRequest{Ping: &wire.PingRequest{
			Targets: targets, Source: host.Address, Size: size, DF: df,
			Count: count, Interval: pingInterval, Spacing: r.spacing(count), Timeout: patience.Stretch(ctx, pingTimeout),
		}}
	}
}

// others are the addresses of all hosts that a host is to reach.
func (r *runner) others(host Host) []netip.Addr {
	var addresses []netip.Addr
	for _, other := range r.exp.Hosts {
		if other.Name != host.Name && (r.some == nil || r.some[host.Name] || r.some[other.Name]) {
			addresses = append(addresses, other.Address)
		}
	}
	return addresses
}

func (r *runner) broadcast(ctx context.Context, deadline time.Time) error {
	r.progress("asking all hosts by broadcast")
	return r.settle(ctx, deadline, CheckBroadcast, func(ctx context.Context) (err error) {
		r.res.Broadcast, err = r.arps(ctx, CheckBroadcast, func(host Host) *wire.ProbeRequest {
			var addresses []netip.Addr
			for _, other := range r.exp.Hosts {
				// Nothing is asked of hosts that are as they were: theirs may be an older fabric.
				if other.Name != host.Name && (r.some == nil || r.some[host.Name] && r.some[other.Name]) {
					addresses = append(addresses, other.Address)
				}
			}
			if len(addresses) == 0 {
				return nil
			}
			return &wire.ProbeRequest{ARP: &wire.ARPRequest{
				Interface: r.exp.Bridge, Addresses: addresses, Wait: patience.Stretch(ctx, arpWait), Enough: true, Spacing: r.spacing(1),
			}}
		})
		return err
	})
}

func (r *runner) arp(ctx context.Context) (err error) {
	r.progress("looking for duplicate addresses")
	var addresses []netip.Addr
	for _, host := range r.exp.Hosts {
		addresses = append(addresses, host.Address)
	}
	r.res.ARP, err = r.arps(ctx, CheckAddresses, func(Host) *wire.ProbeRequest {
		return &wire.ProbeRequest{ARP: &wire.ARPRequest{
			Interface: r.exp.Bridge, Addresses: addresses, Wait: patience.Stretch(ctx, arpWait),
		}}
	})
	return err
}

// arps sends a request for ARP probes to each host and collects the results.
func (r *runner) arps(ctx context.Context, check string, request func(Host) *wire.ProbeRequest) (map[string][]wire.ARPResult, error) {
	answers, err := r.each(ctx, request)
	results := make(map[string][]wire.ARPResult)
	for _, a := range answers {
		if a.err != nil {
			r.fail(check, a)
			continue
		}
		results[a.host] = a.result.ARP
	}
	return results, err
}

// iperf measures one pair after the other, so that they do not share a link.
func (r *runner) iperf(ctx context.Context) error {
	if !r.opts.Iperf {
		return nil
	}
	hosts := make(map[string]Host)
	for _, host := range r.exp.Hosts {
		hosts[host.Name] = host
	}
	for _, pair := range ThroughputPairs(r.exp) {
		client, server := r.nodes[pair.From], r.nodes[pair.To]
		if client == nil || server == nil {
			continue
		}
		r.progress("measuring throughput %v", pair)
		result, err := r.transfer(ctx, client, hosts[pair.From], server, hosts[pair.To])
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed, ok := errors.AsType[*probeError](err); ok {
			r.res.Errors = append(r.res.Errors, ProbeError{Check: CheckThroughput, Host: failed.host, Err: failed.err.Error()})
			continue
		}
		r.res.Transfers = append(r.res.Transfers, Transfer{Pair: pair, IperfClientResult: result})
	}
	return nil
}

// probeError is an error of one of the two hosts of a transfer.
type probeError struct {
	host string
	err  error
}

func (e *probeError) Error() string { return e.host + ": " + e.err.Error() }

func (r *runner) transfer(ctx context.Context, client Node, from Host, server Node, to Host) (wire.IperfClientResult, error) {
	started, err := server.Probe(ctx, wire.ProbeRequest{IperfServer: &wire.IperfServerRequest{Address: to.Address}})
	if err == nil && started.IperfServer == nil {
		err = errNoAnswer
	}
	if err != nil {
		return wire.IperfClientResult{}, &probeError{host: to.Name, err: err}
	}
	measured, err := client.Probe(ctx, wire.ProbeRequest{IperfClient: &wire.IperfClientRequest{
		Server:   netip.AddrPortFrom(to.Address, started.IperfServer.Port),
		Source:   from.Address,
		Duration: iperfDuration,
	}})
	if err == nil && measured.IperfClient == nil {
		err = errNoAnswer
	}
	if err != nil {
		return wire.IperfClientResult{}, &probeError{host: from.Name, err: err}
	}
	return *measured.IperfClient, nil
}

// errNoAnswer is a result without the member that fits its request.
var errNoAnswer = errors.New("the host answered something else: is the fabric program there of another version?")
