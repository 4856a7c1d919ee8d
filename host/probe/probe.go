// Package probe tries on a host what the operator wants to know of the
// fabric: who answers, at what size, under which MAC address, how fast, and
// from within a container.
package probe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

// Prober makes the probes of one session. It keeps what they started, an
// iperf3 server and a container, so all probes of a session need the same
// Prober, and Close at the end. It makes one probe at a time.
type Prober struct {
	// Tree reads the live spanning tree.
	Tree func(context.Context) (wire.TreeStatus, error)
	// DockerHost is the URL of dockerd's socket, "unix:///run/docker.sock".
	DockerHost string
	// Program is the path of the fabric binary that goes into a container,
	// "/proc/self/exe".
	Program string
	// Iperf is the path of the iperf3 binary or its name in PATH.
	Iperf string

	server    *iperfServer
	container *container
}

// closeTimeout bounds the clearing up, which must also work when the
// probe's own context has ended.
const closeTimeout = 30 * time.Second

// Do makes the probe that the request asks for. An error means that it
// could not be made; what it found, good or bad, is in the result.
func (p *Prober) Do(ctx context.Context, req wire.ProbeRequest) (wire.ProbeResult, error) {
	if err := req.Validate(); err != nil {
		return wire.ProbeResult{}, err
	}
	var res wire.ProbeResult
	var err error
	switch {
	case req.Tree != nil:
		var tree wire.TreeStatus
		tree, err = p.Tree(ctx)
		res.Tree = &tree
	case req.Ping != nil:
		res.Ping, err = Ping(ctx, *req.Ping)
	case req.ARP != nil:
		res.ARP, err = ARP(ctx, *req.ARP)
	case req.IperfServer != nil:
		var server wire.IperfServerResult
		server, err = p.startIperf(ctx, *req.IperfServer)
		res.IperfServer = &server
	case req.IperfClient != nil:
		var client wire.IperfClientResult
		client, err = p.runIperf(ctx, *req.IperfClient)
		res.IperfClient = &client
	case req.ContainerStart != nil:
		var started wire.ContainerStartResult
		started, err = p.startContainer(ctx, *req.ContainerStart)
		res.ContainerStart = &started
	case req.ContainerPing != nil:
		res.Ping, err = p.pingFromContainer(ctx, req.ContainerPing.Ping)
	case req.ContainerARP != nil:
		res.ARP, err = p.arpFromContainer(ctx, req.ContainerARP.ARP)
	case req.ContainerStop != nil:
		err = p.stopContainer(ctx)
	}
	if err != nil {
		return wire.ProbeResult{}, err
	}
	return res, nil
}

// Close ends and removes everything that probes have started, also when ctx
// has ended.
func (p *Prober) Close(ctx context.Context) error {
	ctx, cancel := patience.TimeoutAfter(ctx, closeTimeout)
	defer cancel()
	if err := errors.Join(p.stopIperf(), p.stopContainer(ctx)); err != nil {
		return fmt.Errorf("clear up after the probes: %w", err)
	}
	return nil
}
