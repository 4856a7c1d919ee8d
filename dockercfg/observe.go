package dockercfg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/ovsfabric/fabric/host/command"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// answerWithin is how long an observation waits for dockerd, which may be
// starting.
const answerWithin = 10 * time.Second

// Observe adds Docker's part to o. Whatever keeps the fabric from using
// this Docker is an obstacle there; an error is a host that could not be
// looked at. Nothing is changed: a dockerd that is stopped stays so.
func (r *Resource) Observe(ctx context.Context, q plan.Query, o *plan.Observation) error {
	ours, err := readJSON(r.paths.Record, &record{})
	if err != nil {
		return err
	}
	if err := r.observeFile(ours, q.Adopt, o); err != nil {
		return err
	}
	u, err := r.unit(ctx, serviceUnit)
	if obstacle, ok := noSystemd(err); ok && ctx.Err() == nil {
		o.Obstacles = append(o.Obstacles, obstacle)
		return nil
	}
	if err != nil {
		return err
	}
	if u.masked && !u.ready() {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: fmt.Sprintf("dockerd does not run: %s is masked", serviceUnit),
			Cure: fmt.Sprintf("systemctl unmask %s %s && systemctl start %s", serviceUnit, socketUnit, serviceUnit),
		})
		return nil
	}
	if !u.loaded && !u.masked {
		o.Obstacles = append(o.Obstacles, r.noService(ctx))
		return nil
	}
	if !u.ready() && !u.starting() {
		// A dockerd of the fabric's that has ended is a difference, which
		// Apply mends.
		if !ours {
			o.Obstacles = append(o.Obstacles, plan.Obstacle{
				What: fmt.Sprintf("dockerd does not run (%s is %s)", serviceUnit, u.state),
				Cure: fmt.Sprintf("start it with systemctl start %s; journalctl -u %s says why it has ended", serviceUnit, serviceUnit),
			})
		}
		return nil
	}
	if err := r.observeFlags(ctx, u.pid, !ours && q.Adopt, o); err != nil {
		return err
	}
	if err := r.observeForwarding(u.pid, o); err != nil {
		return err
	}
	return r.observeEngine(ctx, q, u.pid, ours, o)
}

// observeFile reads daemon.json: with a record its keys are the fabric's
// state, without one they are in the way unless they are to be adopted.
func (r *Resource) observeFile(ours, adopt bool, o *plan.Observation) error {
	path := r.paths.DaemonJSON
	now, err := r.load()
	if errors.Is(err, fs.ErrPermission) {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: err.Error(),
			Cure: "use root, or a user that may run sudo",
		})
		return nil
	}
	if err != nil {
		return err
	}
	config, err := Read(now.data)
	if err != nil {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What:   fmt.Sprintf("%s: %v", path, err),
			Cure:   "mend the file; dockerd --validate says whether dockerd takes it (Docker 23 and later)",
			Always: true,
		})
	}
	if ours {
		o.State.Docker = &plan.Docker{Config: config}
		return nil
	}
	if adopt && config != (plan.DockerConfig{}) {
		o.State.Docker = &plan.Docker{Config: config, Foreign: true}
		return nil
	}
	values := texts(config)
	for _, key := range ownedKeys {
		if value := values[key]; value != "" {
			o.Obstacles = append(o.Obstacles, plan.Obstacle{
				What: fmt.Sprintf("%s sets %q to %s, which the fabric has to set itself", path, key, value),
				Cure: fmt.Sprintf("take %q out of %s and restart dockerd", key, path) + plan.OrAdopt,
			})
		}
	}
	return nil
}

func noSystemd(err error) (plan.Obstacle, bool) {
	var failed *command.Error
	if !errors.Is(err, exec.ErrNotFound) && !errors.As(err, &failed) {
		return plan.Obstacle{}, false
	}
	return plan.Obstacle{
		What: fmt.Sprintf("systemd does not answer: %v", err),
		Cure: "the fabric starts dockerd by systemd's docker.service: use a host that systemd has booted",
	}, true
}

// noService tells a Docker that systemd's docker.service does not run from
// none at all.
func (r *Resource) noService(ctx context.Context) plan.Obstacle {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", r.paths.Socket)
	if err != nil {
		return plan.Obstacle{
			What: "Docker is not installed: there is no " + serviceUnit,
			Cure: "install it with apt-get install docker.io",
		}
	}
	conn.Close()
	return plan.Obstacle{
		What: fmt.Sprintf("something answers on %s, but there is no %s: a Docker from a snap, or one started by hand", r.paths.Socket, serviceUnit),
		Cure: "use a Docker that runs as " + serviceUnit + ": apt-get install docker.io",
	}
}

// collidingFlags are the flags of dockerd(8) that stand for the fabric's
// keys. dockerd does not start with a key in both places.
var collidingFlags = map[string]string{
	"--bip": "bip", "--bridge": "bridge", "-b": "bridge", "--fixed-cidr": "fixed-cidr", "--mtu": "mtu",
}

// observeFlags looks for what dockerd was told on its command line. What is
// to be adopted, and will not be there when dockerd starts next, is taken as
// if daemon.json said it, which is how it can be had again.
func (r *Resource) observeFlags(ctx context.Context, pid int, adopt bool, o *plan.Observation) error {
	data, err := os.ReadFile(r.cmdline(pid))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read dockerd's command line: %w", err)
	}
	const cure = "take it out and restart dockerd: it comes from DOCKER_OPTS in /etc/default/docker, from docker.service, or from a drop-in (systemctl cat docker.service shows both)"
	const cureToAdopt = "take it out there, run systemctl daemon-reload, do not restart dockerd, and run this again: the adoption restarts it once"
	for _, flag := range flags(strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")) {
		key := collidingFlags[flag.name]
		if flag.name == "--config-file" && flag.value != r.paths.DaemonJSON {
			o.Obstacles = append(o.Obstacles, plan.Obstacle{
				What: fmt.Sprintf("dockerd is started with --config-file %s and does not read %s", flag.value, r.paths.DaemonJSON),
				Cure: cure,
			})
		}
		if key == "" {
			continue
		}
		obstacle := plan.Obstacle{
			What: fmt.Sprintf("dockerd is started with %s %s, which the fabric has to set in %s as %q", flag.name, flag.value, r.paths.DaemonJSON, key),
			Cure: cure,
		}
		if adopt {
			place, err := r.comesAgain(ctx, flag.name)
			if err != nil {
				return err
			}
			if place == "" && adoptFlag(o, key, flag.value) {
				continue
			}
			obstacle.What += ", by " + place
			obstacle.Cure = cureToAdopt
		}
		o.Obstacles = append(o.Obstacles, obstacle)
	}
	return nil
}

// observeForwarding finds a dockerd that would not start again: with the nftables
// backend, which came with Docker 29, it does not switch IPv4 forwarding on, and
// makes no bridge network without it (moby pull request 50646).
func (r *Resource) observeForwarding(pid int, o *plan.Observation) error {
	set := make(map[string]string)
	if now, err := r.load(); err == nil { // observeFile has told of one that cannot be read
		if doc, err := parseOrNew(now.data); err == nil {
			for _, key := range []string{"firewall-backend", "ip-forward"} {
				set[key] = strings.Trim(doc.value(key), `"`)
			}
		}
	}
	if args, err := os.ReadFile(r.cmdline(pid)); err == nil {
		for _, flag := range flags(strings.Split(strings.TrimSuffix(string(args), "\x00"), "\x00")) {
			if key, isLong := strings.CutPrefix(flag.name, "--"); isLong && (key == "firewall-backend" || key == "ip-forward") {
				set[key] = flag.value
			}
		}
	}
	if set["firewall-backend"] != "nftables" || set["ip-forward"] == "false" {
		return nil
	}
	forwards, err := os.ReadFile(filepath.Join(r.proc, "sys/net/ipv4/ip_forward"))
	if err != nil {
		return fmt.Errorf("ask whether IPv4 is forwarded: %w", err)
	}
	if strings.TrimSpace(string(forwards)) == "0" {
		o.Facts.NoRestart = append(o.Facts.NoRestart, plan.Obstacle{
			What: "dockerd uses nftables, and IPv4 forwarding is off: it would not start again, since it does not switch forwarding on itself then",
			Cure: "sysctl -w net.ipv4.ip_forward=1, and the same in a file of /etc/sysctl.d; or \"firewall-backend\": \"iptables\" in daemon.json",
		})
	}
	return nil
}

// cmdline is the file of a process's arguments, proc_pid_cmdline(5).
func (r *Resource) cmdline(pid int) string {
	return filepath.Join(r.proc, strconv.Itoa(pid), "cmdline")
}

type flag struct{ name, value string }

// flags finds flags with a value among arguments, as pflag reads them:
// --name value, --name=value, -n value, -n=value and -nvalue.
func flags(args []string) []flag {
	var out []flag
	for i, arg := range args {
		name, value, joined := strings.Cut(arg, "=")
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			name, value, joined = arg[:2], strings.TrimPrefix(arg[2:], "="), true
		}
		if !joined && i+1 < len(args) {
			value = args[i+1]
		}
		if strings.HasPrefix(name, "-") {
			out = append(out, flag{name, value})
		}
	}
	return out
}

func (r *Resource) observeEngine(ctx context.Context, q plan.Query, pid int, ours bool, o *plan.Observation) error {
	waiting, cancel := patience.Timeout(ctx, answerWithin)
	defer cancel()
	if conn, err := (&net.Dialer{}).DialContext(waiting, "unix", r.paths.Socket); errors.Is(err, fs.ErrPermission) {
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: fmt.Sprintf("permission denied on Docker's socket %s", r.paths.Socket),
			Cure: "use root, or a user that may run sudo",
		})
		return nil
	} else if err == nil {
		conn.Close()
	}
	if err := r.answered(waiting); err != nil {
		if ctx.Err() != nil {
			return err
		}
		if errdefs.IsInvalidArgument(err) {
			o.Obstacles = append(o.Obstacles, plan.Obstacle{
				What: fmt.Sprintf("dockerd speaks another version of its API than the fabric: %v", err),
				Cure: "use Docker 19.03 or later",
			})
			return nil
		}
		o.Obstacles = append(o.Obstacles, plan.Obstacle{
			What: fmt.Sprintf("dockerd runs but has not answered on %s for %v", r.paths.Socket, patience.Stretch(ctx, answerWithin)),
			Cure: "look at journalctl -u " + serviceUnit,
		})
		return nil
	}
	c, err := r.connect()
	if err != nil {
		return err
	}
	defer c.Close()
	e, err := askCheaply(ctx, c)
	if err != nil {
		return err
	}
	list, err := c.NetworkList(ctx, client.NetworkListOptions{})
	if err != nil {
		return fmt.Errorf("list Docker's networks: %w", err)
	}
	if !ours || r.mayRestore(pid) || inSwarm(list.Items) {
		if err := e.askInfo(ctx, c); err != nil {
			return err
		}
	}
	o.Facts.LiveRestore, o.Facts.SwarmPort = e.liveRestore, e.swarmPort
	if o.State.Docker != nil {
		o.State.Docker.Live = e.ran.Live
	}
	if o.Facts.Containers, err = containers(ctx, c, e); err != nil {
		return err
	}
	o.Facts.Networks = networks(list.Items)
	o.Obstacles = append(o.Obstacles, e.obstacles(ours)...)
	o.Obstacles = append(o.Obstacles, overlaps(q, o.Facts.Networks)...)
	return nil
}

// obstacles lists what about a running dockerd is in the way. ours says
// that it has the fabric's configuration already.
func (e engine) obstacles(ours bool) []plan.Obstacle {
	var out []plan.Obstacle
	if e.rootless {
		out = append(out, plan.Obstacle{
			What: "dockerd runs rootless, in a network namespace of its own",
			Cure: "use a dockerd that root runs",
		})
	}
	if why := e.deaf(); why != "" && !ours {
		out = append(out, plan.Obstacle{What: why, Cure: deafCure})
	}
	if !e.icc {
		// The rule is about all that is bridged from docker0 to docker0,
		// and so holds for containers on other hosts too.
		out = append(out, plan.Obstacle{
			What: `dockerd runs with "icc": false, which drops what containers of other hosts send`,
			Cure: `take "icc": false out of daemon.json or of dockerd's flags and restart dockerd`,
		})
	}
	return out
}

func overlaps(q plan.Query, networks []plan.Network) []plan.Obstacle {
	var out []plan.Obstacle
	for _, n := range networks {
		for _, subnet := range n.Subnets {
			if q.Network.IsValid() && subnet.Overlaps(q.Network) {
				out = append(out, plan.Obstacle{
					What: fmt.Sprintf("Docker's network %q has the subnet %s, which overlaps the fabric's network %s", n.Name, subnet, q.Network),
					Cure: fmt.Sprintf("make it anew with another subnet (docker network rm %s), or give the fabric another network", n.Name),
				})
			}
		}
	}
	return out
}

// containers lists the running ones by name.
func containers(ctx context.Context, c *client.Client, e engine) ([]plan.Container, error) {
	var out []plan.Container
	for _, s := range e.containers {
		inspected, err := c.ContainerInspect(ctx, s.ID, client.ContainerInspectOptions{})
		if errdefs.IsNotFound(err) {
			continue // ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("inspect container %s: %w", nameOf(s), err)
		}
		p := plan.Container{Name: nameOf(s)}
		if s.NetworkSettings != nil {
			_, p.OnBridge = s.NetworkSettings.Networks[defaultBridgeNetwork]
		}
		if host := inspected.Container.HostConfig; host != nil {
			p.AutoRemove = host.AutoRemove
		}
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b plan.Container) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// networks lists Docker's networks that have subnets, but for the default
// bridge network, by name.
func networks(list []network.Summary) []plan.Network {
	var out []plan.Network
	for _, n := range list {
		p := plan.Network{Name: n.Name}
		for _, c := range n.IPAM.Config {
			if c.Subnet.IsValid() {
				p.Subnets = append(p.Subnets, c.Subnet)
			}
		}
		if n.Name == defaultBridgeNetwork || len(p.Subnets) == 0 {
			continue
		}
		slices.SortFunc(p.Subnets, func(a, b netip.Prefix) int { return a.Compare(b) })
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b plan.Network) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// mayRestore tells whether a dockerd of the fabric's can run with live-restore:
// its file or its flags name it. One that was told otherwise since, and did not
// hear of it, is found before it is stopped.
func (r *Resource) mayRestore(pid int) bool {
	for _, path := range []string{r.paths.DaemonJSON, r.cmdline(pid)} {
		if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte("live-restore")) {
			return true
		}
	}
	return false
}

// inSwarm tells whether the networks are those of a host in a swarm, or that
// was in one: dockerd makes docker_gwbridge and ingress when it joins.
func inSwarm(list []network.Summary) bool {
	return slices.ContainsFunc(list, func(n network.Summary) bool { return n.Scope == "swarm" || n.Name == "docker_gwbridge" })
}
