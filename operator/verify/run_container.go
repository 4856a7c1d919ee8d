package verify

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

// containers starts a container on each host, has each ping all others, and
// removes them, whatever happens.
func (r *runner) containers(ctx context.Context) (err error) {
	if !r.opts.Containers {
		return nil
	}
	r.progress("starting a container on each host")
	found := &ContainerResults{Addresses: make(map[string]netip.Addr)}
	r.res.Containers = found
	defer func() {
		// What a cancelled start left behind has to go too.
		stopCtx, cancel := patience.TimeoutAfter(ctx, stopTimeout)
		defer cancel()
		if stopErr := r.stopContainers(stopCtx); err == nil {
			err = stopErr
		}
	}()
	answers, err := r.each(ctx, func(Host) *wire.ProbeRequest {
		return &wire.ProbeRequest{ContainerStart: &wire.ContainerStartRequest{Fabric: r.exp.Fabric}}
	})
	if err != nil {
		return err
	}
	deadline := r.flapDeadline(ctx)
	for _, a := range answers {
		if a.err == nil && a.result.ContainerStart == nil {
			a.err = errNoAnswer
		}
		if a.err != nil {
			r.fail(CheckContainers, a)
			deadline = time.Now() // this failure stays, so there is nothing to wait for
			continue
		}
		found.Addresses[a.host] = a.result.ContainerStart.Address
	}
	r.progress("pinging between containers")
	started := slices.Clone(r.res.Errors)
	err = r.settle(ctx, deadline, CheckBroadcast, func(ctx context.Context) (err error) {
		r.res.Errors = slices.Clone(started)
		found.Broadcast, err = r.arps(ctx, CheckBroadcast, r.containerARP(ctx))
		return err
	})
	if err != nil {
		return err
	}
	started = slices.Clone(r.res.Errors)
	return r.settle(ctx, deadline, CheckContainers, func(ctx context.Context) (err error) {
		r.res.Errors = slices.Clone(started)
		if found.Pings.Small, err = r.pings(ctx, CheckContainers, r.containerPing(ctx, smallSize, false, pingCount)); err != nil {
			return err
		}
		if found.Pings.Full, err = r.pings(ctx, CheckContainers, r.containerPing(ctx, r.exp.MTU, true, sizeCount)); err != nil {
			return err
		}
		found.Pings.Oversize, err = r.pings(ctx, CheckContainers, r.containerPing(ctx, r.exp.MTU+1, true, 1))
		return err
	})
}

// containerPing makes the request of each host whose container runs to ping
// all other containers.
func (r *runner) containerPing(ctx context.Context, size int, df bool, count int) func(Host) *wire.ProbeRequest {
	return func(host Host) *wire.ProbeRequest {
		targets := r.otherContainers(host)
		if len(targets) == 0 {
			return nil
		}
		return &wire.ProbeRequest{ContainerPing: &wire.ContainerPingRequest{Ping: wire.PingRequest{
			Targets: targets, Size: size, DF: df,
			Count: count, Interval: pingInterval, Spacing: r.spacing(count), Timeout: patience.Stretch(ctx, pingTimeout),
		}}}
	}
}

// containerInterface is that of a container on Docker's default bridge.
const containerInterface = "eth0"

// containerARP makes the request of each host whose container runs to ask all
// other containers by broadcast.
func (r *runner) containerARP(ctx context.Context) func(Host) *wire.ProbeRequest {
	return func(host Host) *wire.ProbeRequest {
		targets := r.otherContainers(host)
		if len(targets) == 0 {
			return nil
		}
		return &wire.ProbeRequest{ContainerARP: &wire.ContainerARPRequest{ARP: wire.ARPRequest{
			Interface: containerInterface, Addresses: targets, Wait: patience.Stretch(ctx, arpWait), Enough: true,
		}}}
	}
}

// otherContainers are the addresses of the containers on all other hosts, none
// for a host whose own does not run.
func (r *runner) otherContainers(host Host) []netip.Addr {
	var targets []netip.Addr
	if _, runs := r.res.Containers.Addresses[host.Name]; !runs {
		return nil
	}
	for _, other := range r.exp.Hosts {
		if address, runs := r.res.Containers.Addresses[other.Name]; runs && other.Name != host.Name {
			targets = append(targets, address)
		}
	}
	return targets
}

func (r *runner) stopContainers(ctx context.Context) error {
	answers, err := r.each(ctx, func(Host) *wire.ProbeRequest {
		return &wire.ProbeRequest{ContainerStop: &wire.ContainerStopRequest{}}
	})
	for _, a := range answers {
		if a.err != nil {
			r.fail(CheckContainers, a)
		}
	}
	return err
}
