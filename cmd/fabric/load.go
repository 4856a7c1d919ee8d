package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/ipam"
	"github.com/ovsfabric/fabric/operator/remote"
	"github.com/ovsfabric/fabric/plan"
	"github.com/ovsfabric/fabric/topology"
)

// loaded is a fabric file with its lock.
type loaded struct {
	path     string
	data     []byte // of the file
	lockPath string
	topology *topology.Topology
	graph    *topology.Graph
	sum      string    // SHA-256 of the file and what it refers to, hex
	written  []byte    // the lock as it is on disk
	former   ipam.Lock // what that says
	lock     ipam.Lock // with every host of the topology
	adopt    bool      // take over what was made by hand

	resolved map[string]netip.Addr        // addresses that the file gives as names; resolve looks them up
	query    func(host string) plan.Query // what to ask a host, of the file or removed from it; resolve makes it
}

// load reads the fabric file and the lock beside it. Nothing is resolved,
// and no host is asked.
func load(path string) (*loaded, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("there is no %s: write one with fabric init, or name it with -f FILE", path)
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	sum.Write(data)
	t, graph, err := topology.Parse(path, data, func(rtt string) (map[[2]string]int64, error) { return readRTT(expand(path, rtt), sum) })
	l := &loaded{
		path: path, data: data, lockPath: strings.TrimSuffix(path, filepath.Ext(path)) + ".lock",
		topology: t, graph: graph, sum: hex.EncodeToString(sum.Sum(nil)),
	}
	if l.lockPath == path {
		return nil, fmt.Errorf("%s: a fabric file cannot be called .lock, as the lock beside it is", path)
	}
	var readErr error
	if l.written, readErr = os.ReadFile(l.lockPath); readErr != nil && !errors.Is(readErr, fs.ErrNotExist) {
		return nil, errors.Join(err, readErr)
	}
	var lockErr error
	l.former, lockErr = ipam.ParseLock(l.lockPath, l.written)
	if err := errors.Join(err, lockErr); err != nil {
		return nil, err
	}
	if err := l.assign(nil); err != nil {
		return nil, err
	}
	return l, nil
}

// assign gives every host a range. New hosts keep, of those observed, what
// they were given by hand.
func (l *loaded) assign(observed map[string]plan.Observation) error {
	t := l.topology
	wants := make([]ipam.Want, 0, len(t.Hosts))
	for _, h := range t.Hosts {
		want := ipam.Want{Name: h.Name, Was: h.Was, Weight: h.Weight, Pin: h.Range, SSH: destination(h)}
		_, known := l.former.Entry(cmp.Or(h.Was, h.Name))
		if pool, address := observed[h.Name].Adoptable(t.Network); pool.IsValid() && !want.Pin.IsValid() && !known {
			want.Pin, want.Own = pool, address
		}
		wants = append(wants, want)
	}
	lock, err := ipam.Assign(t.Network, l.former, wants)
	if err != nil {
		return located(l.path, l.data, err)
	}
	l.lock = lock
	l.recognizeRenamed()
	return l.orderByID()
}

// adoptRanges assigns the ranges that the observed hosts were given by hand,
// where they are to be adopted.
func (l *loaded) adoptRanges(observed map[string]plan.Observation) error {
	if !l.adopt {
		return nil
	}
	if err := l.assign(observed); err != nil {
		return fmt.Errorf("%w; the ranges are those that the hosts were given by hand: put those that shall be others into the file as hosts.NAME.range", err)
	}
	return nil
}

// orderByID has the graph prefer hosts as the lock numbers them, where that is not the order of their names, in which the graph
// was made: a host that comes or is renamed later shall move no root.
func (l *loaded) orderByID() error {
	ids := make(map[string]int, len(l.lock.Hosts))
	for _, e := range l.lock.Hosts {
		ids[e.Name] = e.ID
	}
	l.topology = l.topology.WithIDs(ids)
	if slices.IsSortedFunc(l.lock.Hosts, func(a, b ipam.Entry) int { return cmp.Compare(a.ID, b.ID) }) {
		return nil
	}
	graph, err := l.topology.Graph()
	if err != nil {
		return fmt.Errorf("%s: %w", l.path, err)
	}
	l.graph = graph
	return nil
}

// located gives what stands in the way of the ranges its places in the file.
func located(path string, data []byte, err error) error {
	conflicts, ok := errors.AsType[ipam.Conflicts](err)
	if !ok {
		return fmt.Errorf("%s: %w", path, err)
	}
	var problems []topology.Problem
	for _, c := range conflicts {
		problems = append(problems, topology.Problem{Path: c.Path, Message: c.Message})
	}
	return topology.Locate(path, data, problems)
}

// recognizeRenamed has nothing torn down on a machine that is in the file
// under another name.
func (l *loaded) recognizeRenamed() {
	for i, e := range l.lock.Removed {
		if slices.ContainsFunc(l.topology.Hosts, func(h topology.Host) bool { return destination(h) == e.SSH }) {
			l.lock.Removed[i].TornDown = true
		}
	}
}

// resolve looks up the addresses that the file gives as names, once, and
// says what they are.
func (l *loaded) resolve(ctx context.Context, stderr io.Writer) error {
	l.resolved = make(map[string]netip.Addr)
	var errs []error
	for _, h := range l.topology.Hosts {
		if h.Address.IsValid() {
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", h.HostName)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: hosts.%s.address: %s cannot be resolved (%w): write the IP address that tunnels shall connect to; a name that only ssh knows belongs in ssh.address", l.path, h.Name, h.HostName, err))
			continue
		}
		slices.SortFunc(addrs, func(a, b netip.Addr) int { return a.Unmap().Compare(b.Unmap()) }) // IPv4 first; the same choice every time
		l.resolved[h.Name] = addrs[0].Unmap()
		fmt.Fprintf(stderr, "hosts.%s.address: %s is %s\n", h.Name, h.HostName, l.resolved[h.Name])
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	t, err := l.topology.WithAddresses(l.resolved)
	if err != nil {
		return err
	}
	l.topology = t
	query := plan.Queries(t, l.graph)
	l.query = func(host string) plan.Query {
		q := query(host)
		q.Adopt = l.adopt
		return q
	}
	return nil
}

// writeLock makes the lock file what the plan was made with.
func (l *loaded) writeLock() error {
	data := l.lock.Bytes()
	if string(data) == string(l.written) {
		return nil
	}
	if now, err := os.ReadFile(l.lockPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	} else if string(now) != string(l.written) {
		return fmt.Errorf("%s was changed by somebody else since it was read: run the command again", l.lockPath)
	}
	if err := file.Write(l.lockPath, data, 0o644); err != nil {
		return err
	}
	l.written = data
	return nil
}

// destination is where ssh reaches a host, as [USER@]HOST[:PORT], for the
// day on which the file no longer says it.
func destination(h topology.Host) string {
	address := h.SSH.Address
	if address == "" {
		address = h.HostName
	}
	if address == "" {
		address = h.Address.String()
	}
	if h.SSH.Port != 0 {
		address = net.JoinHostPort(address, strconv.Itoa(h.SSH.Port))
	}
	if h.SSH.User != "" {
		address = h.SSH.User + "@" + address
	}
	return address
}

// target is how to reach a host of the file.
func (l *loaded) target(h topology.Host) remote.Target {
	t := remote.Target{
		Name: h.Name, Fabric: l.topology.Name, Address: h.SSH.Address, User: h.SSH.User, Port: h.SSH.Port,
		Identity: expand(l.path, h.SSH.Identity), Config: expand(l.path, h.SSH.Config), Sudo: h.SSH.Sudo,
	}
	if t.Address == "" {
		t.Address = h.Address.String()
	}
	return t
}

// targets is how to reach the hosts of the file, in its order.
func (l *loaded) targets() []remote.Target {
	var targets []remote.Target
	for _, h := range l.topology.Hosts {
		targets = append(targets, l.target(h))
	}
	return targets
}

// removedTargets is how to reach the hosts that were removed from the file
// and still have something of the fabric.
func (l *loaded) removedTargets() []remote.Target {
	var targets []remote.Target
	for _, e := range l.lock.Removed {
		if !e.TornDown {
			targets = append(targets, l.removedTarget(e))
		}
	}
	return targets
}

func names(targets []remote.Target) []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Name
	}
	return names
}

// removedTarget is how to reach a host that is no longer in the file.
func (l *loaded) removedTarget(e ipam.Entry) remote.Target {
	t := remote.Target{Name: e.Name, Fabric: l.topology.Name, Address: e.SSH, Sudo: true}
	if user, rest, ok := strings.Cut(e.SSH, "@"); ok {
		t.User, t.Address = user, rest
	}
	if host, port, err := net.SplitHostPort(t.Address); err == nil {
		if n, err := strconv.Atoi(port); err == nil {
			t.Address, t.Port = host, n
		}
	}
	for _, h := range l.topology.Hosts { // the keys are the same for all, most often
		t.Identity, t.Config = expand(l.path, h.SSH.Identity), expand(l.path, h.SSH.Config)
		break
	}
	return t
}

// expand reads a path as the file means it: ~ is the user's home, and a
// relative one starts at the fabric file.
func expand(file, path string) string {
	if path == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}
