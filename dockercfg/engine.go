package dockercfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/api/types/swarm"
	"github.com/moby/moby/client"

	"github.com/ovsfabric/fabric/plan"
)

// Options of Docker's bridge driver
// (docs.docker.com/engine/network/drivers/bridge).
const (
	defaultBridgeNetwork = "bridge"
	optionBridgeName     = "com.docker.network.bridge.name"
	optionICC            = "com.docker.network.bridge.enable_icc"
	optionMTU            = "com.docker.network.driver.mtu"
	swarmTaskLabel       = "com.docker.swarm.task.id"
)

// connect makes a client; nothing is sent yet.
func (r *Resource) connect() (*client.Client, error) {
	return client.New(client.WithHost("unix://" + r.paths.Socket))
}

// answered waits until dockerd answers or ctx ends.
func (r *Resource) answered(ctx context.Context) error {
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		_, err := c.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true})
		if err == nil || errdefs.IsInvalidArgument(err) { // the latter says that no version of the API is known to both
			return err
		}
		select {
		case <-retry.C:
		case <-ctx.Done():
			return fmt.Errorf("dockerd does not answer on %s: %w", r.paths.Socket, errors.Join(err, ctx.Err()))
		}
	}
}

// An engine is what a running dockerd says of itself.
type engine struct {
	rootless    bool
	liveRestore bool
	swarmPort   uint16 // UDP, of overlay networks; 0 in no swarm
	ran         former
	icc         bool
	containers  []container.Summary // that run, oldest first
}

func ask(ctx context.Context, c *client.Client) (engine, error) {
	e, err := askCheaply(ctx, c)
	if err != nil {
		return engine{}, err
	}
	return e, e.askInfo(ctx, c)
}

// askInfo asks for what only /info tells. For that dockerd runs runc and
// docker-init and asks containerd, each time, which costs a host with nothing
// to do more than all else that it is asked for.
func (e *engine) askInfo(ctx context.Context, c *client.Client) error {
	info, err := c.Info(ctx, client.InfoOptions{})
	if err != nil {
		return fmt.Errorf("ask dockerd about itself: %w", err)
	}
	e.rootless = slices.Contains(info.Info.SecurityOptions, "name=rootless")
	e.liveRestore = info.Info.LiveRestoreEnabled
	e.swarmPort = swarmPort(info.Info.Swarm)
	return nil
}

// askCheaply asks for all else.
func askCheaply(ctx context.Context, c *client.Client) (engine, error) {
	e := engine{icc: true}
	list, err := c.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return engine{}, fmt.Errorf("list Docker's containers: %w", err)
	}
	e.containers = list.Items // newest first
	slices.Reverse(e.containers)

	bridge, err := c.NetworkInspect(ctx, defaultBridgeNetwork, client.NetworkInspectOptions{})
	switch {
	case errdefs.IsNotFound(err): // dockerd runs with "bridge": "none"
		return e, nil
	case err != nil:
		return engine{}, fmt.Errorf("ask dockerd about its default bridge network: %w", err)
	}
	e.icc = bridge.Network.Options[optionICC] != "false"
	e.ran, err = formerOf(bridge.Network)
	return e, err
}

// swarmPort is the data path port of the swarm that dockerd is in, which only
// managers tell (docker swarm init --data-path-port), or 0. The default is
// defaultVXLANUDPPort in moby's libnetwork/drivers/overlay/overlayutils.
func swarmPort(s swarm.Info) uint16 {
	switch {
	case s.LocalNodeState == "" || s.LocalNodeState == swarm.LocalNodeStateInactive:
		return 0
	case s.Cluster == nil || s.Cluster.DataPathPort == 0:
		return 4789
	}
	return uint16(s.Cluster.DataPathPort)
}

func formerOf(n network.Inspect) (former, error) {
	f := former{Live: plan.DockerLive{Bridge: n.Options[optionBridgeName]}}
	if mtu := n.Options[optionMTU]; mtu != "" {
		var err error
		if f.Live.MTU, err = strconv.Atoi(mtu); err != nil {
			return former{}, fmt.Errorf("%s of Docker's default bridge network: %w", optionMTU, err)
		}
	}
	for _, c := range n.IPAM.Config {
		if !c.Subnet.Addr().Is4() {
			continue
		}
		f.Live.Gateway, f.Live.Pool = c.Gateway, c.Subnet
		if c.IPRange.IsValid() {
			f.Live.Pool = c.IPRange
		}
		if !c.Gateway.IsValid() {
			// Docker 20.10 names no gateway when it has just made the
			// bridge; the containers' gateway is the bridge's address.
			f.Live.Gateway = addressOf(f.Live.Bridge, c.Subnet)
		}
		if f.Live.Gateway.IsValid() {
			f.Address = netip.PrefixFrom(f.Live.Gateway, c.Subnet.Bits())
		}
		break
	}
	return f, nil
}

// addressOf is the address of a device within a subnet, or none.
func addressOf(device string, within netip.Prefix) netip.Addr {
	dev, err := net.InterfaceByName(device)
	if err != nil {
		return netip.Addr{}
	}
	addrs, err := dev.Addrs()
	if err != nil {
		return netip.Addr{}
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && within.Contains(p.Addr()) {
			return p.Addr()
		}
	}
	return netip.Addr{}
}

func (e engine) pause() pause {
	p := pause{Ran: &e.ran}
	for _, c := range e.containers {
		// The swarm starts its tasks anew, under other names.
		if c.Labels[swarmTaskLabel] == "" {
			p.Containers = append(p.Containers, stopped{ID: c.ID, Name: nameOf(c)})
		}
	}
	return p
}

func nameOf(c container.Summary) string {
	for _, name := range c.Names {
		// A link to the container has a second slash: /other/alias.
		if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") {
			return name
		}
	}
	return c.ID
}

// deaf says why dockerd would ignore a new configuration, or "".
//
// With live-restore a dockerd that starts beside any running container,
// whatever its network, keeps the default bridge network as it was
// (initNetworkController in moby's daemon/daemon_unix.go).
func (e engine) deaf() string {
	if !e.liveRestore || len(e.containers) == 0 {
		return ""
	}
	var names []string
	for _, c := range e.containers {
		names = append(names, nameOf(c))
	}
	return fmt.Sprintf("Docker runs with live-restore beside running containers (%s), so dockerd would ignore a new network configuration",
		strings.Join(names, ", "))
}

const deafCure = `stop the containers; or set "live-restore": false in daemon.json, run systemctl reload docker, and set it back afterwards`

// resume starts the containers that ran before dockerd was stopped and have
// not come back. dockerd restarts those whose policy says so before it
// serves its API.
func (r *Resource) resume(ctx context.Context) error {
	var p pause
	exists, err := readJSON(r.pausePath(), &p)
	if err != nil || !exists {
		return err
	}
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	list, err := c.ContainerList(ctx, client.ContainerListOptions{})
	if err != nil {
		return fmt.Errorf("list Docker's containers: %w", err)
	}
	back := map[string]bool{}
	for _, s := range list.Items {
		back[s.ID] = true
	}
	var errs []error
	for _, s := range p.Containers {
		if back[s.ID] {
			continue
		}
		// One that ran with --rm is gone.
		_, err := c.ContainerStart(ctx, s.ID, client.ContainerStartOptions{})
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("container %s ran before dockerd was restarted and does not start: %w; run docker start %s when that is mended",
				s.Name, err, s.Name))
		}
	}
	if ctx.Err() != nil {
		return errors.Join(errs...)
	}
	return errors.Join(append(errs, r.forgetPause())...)
}
