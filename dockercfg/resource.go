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

	"github.com/ovsfabric/fabric/host/command"
	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// Paths is where Docker's parts are on a host.
type Paths struct {
	DaemonJSON string // dockerd's configuration
	Record     string // what daemon.json was before the fabric; its folder is the fabric's own
	Socket     string // dockerd's API
}

// DefaultPaths returns Docker's own places, and the fabric's.
func DefaultPaths() Paths {
	return Paths{
		DaemonJSON: "/etc/docker/daemon.json",
		Record:     "/var/lib/fabric/daemon.json.orig",
		Socket:     "/var/run/docker.sock",
	}
}

// Resource is Docker on this host. It is not for use by two goroutines at
// once.
type Resource struct {
	paths  Paths
	proc   string                 // proc(5)
	exists func(link string) bool // a network link
	unit   func(ctx context.Context, name string) (unit, error)
	run    func(ctx context.Context, name string, args ...string) ([]byte, error)
	adopt  bool // what somebody has set of the fabric's keys is taken over
}

// New returns the Docker of this host. Nothing is asked or opened yet.
func New(paths Paths) *Resource {
	exists := func(link string) bool {
		_, err := net.InterfaceByName(link)
		return err == nil
	}
	return &Resource{paths: paths, proc: "/proc", exists: exists, unit: askSystemd, run: command.Run}
}

// Adopt has Apply take over what somebody has set of the fabric's keys by
// hand, and bring it back where it is wanted as theirs.
func (r *Resource) Adopt(plan.Query) { r.adopt = true }

// Name is the resource's name in messages.
func (r *Resource) Name() string { return "Docker" }

// Stop stops dockerd so that nothing wakes it before Apply. Which containers
// ran is written down first, for Apply to start them again. Stop refuses
// where dockerd would ignore what is changed meanwhile. A dockerd that does
// not run is no error.
func (r *Resource) Stop(ctx context.Context) error {
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	return r.stop(ctx, now)
}

func (r *Resource) stop(ctx context.Context, now *engine) error {
	if now != nil {
		if why := now.deaf(); why != "" {
			return fmt.Errorf("%s: %s", why, deafCure)
		}
		if err := r.writePause(now.pause()); err != nil {
			return err
		}
	}
	return r.stopUnits(ctx)
}

// Former is the address that dockerd gave its bridge before the fabric; the
// zero Prefix where it was not the one to choose it.
func (r *Resource) Former() (netip.Prefix, error) {
	var rec record
	if _, err := readJSON(r.paths.Record, &rec); err != nil || rec.Ran == nil {
		return netip.Prefix{}, err
	}
	return rec.Ran.Address, nil
}

// Start starts dockerd with the configuration that is there, for when Apply
// could not write another one. A dockerd that runs is left alone.
func (r *Resource) Start(ctx context.Context) error {
	u, err := r.unit(ctx, serviceUnit)
	if err != nil || u.ready() {
		return err
	}
	return r.start(ctx)
}

// now asks dockerd, or returns nil if it does not serve. It does not wake
// dockerd, as a connection to docker.socket would.
func (r *Resource) now(ctx context.Context) (*engine, error) {
	u, err := r.unit(ctx, serviceUnit)
	if err != nil || !u.ready() {
		return nil, err
	}
	c, err := r.connect()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	waiting, cancel := patience.Timeout(ctx, answerWithin)
	defer cancel()
	e, err := ask(waiting, c)
	if err == nil {
		return &e, nil
	}
	// A stop that was asked for before may have come between: whoever asked
	// has not waited for it.
	if u, unitErr := r.unit(ctx, serviceUnit); unitErr == nil && !u.ready() {
		return nil, nil
	}
	return nil, err
}

// writePause adds to what an earlier stop has left to bring back.
func (r *Resource) writePause(p pause) error {
	var before pause
	exists, err := readJSON(r.pausePath(), &before)
	if err != nil {
		return err
	}
	if exists {
		has := map[string]bool{}
		for _, s := range before.Containers {
			has[s.ID] = true
		}
		for _, s := range p.Containers {
			if !has[s.ID] {
				before.Containers = append(before.Containers, s)
			}
		}
		p.Containers = before.Containers
	}
	return writeJSON(r.pausePath(), p)
}

func (r *Resource) forgetPause() error {
	return file.Remove(r.pausePath())
}

// Apply makes dockerd run as wanted, or as it ran before the fabric if
// want.Docker is nil. dockerd is restarted only if it runs otherwise, and
// started if it does not run. Apply waits until dockerd answers, at most
// until ctx ends, and checks what it made of the configuration. It comes
// after the bridge is as wanted, with Stop before or without. After a crash
// at any point, Apply again with the same or the former state mends it.
func (r *Resource) Apply(ctx context.Context, want plan.HostState) error {
	if err := file.Sweep(r.paths.DaemonJSON, r.paths.Record, r.pausePath()); err != nil {
		return err
	}
	if want.Docker == nil {
		return r.leave(ctx)
	}
	return r.enter(ctx, *want.Docker)
}

func (r *Resource) enter(ctx context.Context, want plan.Docker) error {
	before, err := r.load()
	if err != nil {
		return err
	}
	merged, err := r.merge(before, want)
	if err != nil {
		return err
	}
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	// Without a wanted Live any is right that comes of the file.
	asMeant := want.Live == plan.DockerLive{}
	restart := now == nil || !asMeant && now.ran.Live != want.Live || asMeant && !bytes.Equal(before.data, merged)
	if restart && now != nil {
		if err := r.stop(ctx, now); err != nil {
			return err
		}
	}
	if !want.Foreign {
		if err := r.keepOriginal(before, now); err != nil {
			return err
		}
	}
	if err := r.store(before, merged, false); err != nil {
		return err
	}
	if restart {
		if err := r.start(ctx); err != nil {
			return err
		}
		if !asMeant {
			if err := r.check(ctx, want.Live); err != nil {
				return err
			}
		}
	}
	if want.Foreign {
		if err := file.Remove(r.paths.Record); err != nil {
			return err
		}
	}
	return r.resume(ctx)
}

// merge is daemon.json as wanted.
func (r *Resource) merge(before configFile, want plan.Docker) ([]byte, error) {
	base := before.data
	if want.Foreign { // it goes back from an adoption
		var rec record
		exists, err := readJSON(r.paths.Record, &rec)
		if err != nil {
			return nil, err
		}
		if exists {
			base = []byte(cmp.Or(rec.Adopted, rec.Content))
		}
	}
	merged, err := Merge(base, want.Config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.paths.DaemonJSON, err)
	}
	return merged, nil
}

// keepOriginal writes the record before daemon.json is changed for the first
// time.
func (r *Resource) keepOriginal(before configFile, now *engine) error {
	var rec record
	exists, err := readJSON(r.paths.Record, &rec)
	if err != nil || exists {
		return err
	}
	err = file.Rename(r.leftRecord(), r.paths.Record)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	rec = record{Existed: before.exists, Content: string(before.data)}
	if theirs, err := Read(before.data); err == nil && r.adopt && theirs != (plan.DockerConfig{}) {
		return r.keepAdopted(before)
	}
	if now != nil {
		rec.Ran = &now.ran
	} else {
		var p pause
		if _, err := readJSON(r.pausePath(), &p); err != nil {
			return err
		}
		rec.Ran = p.Ran
	}
	return writeJSON(r.paths.Record, rec)
}

// keepAdopted writes the record of a daemon.json whose keys are adopted. How
// dockerd ran with them is nothing to come back to.
func (r *Resource) keepAdopted(before configFile) error {
	without, err := Merge(before.data, plan.DockerConfig{})
	if err != nil {
		return err
	}
	return writeJSON(r.paths.Record, record{Existed: before.exists, Content: string(without), Adopted: string(before.data)})
}

// check compares what dockerd made of its configuration with what was meant.
// dockerd only warns about a fixed-cidr outside the network, and takes an
// address that it remembers over the one of the bridge.
func (r *Resource) check(ctx context.Context, want plan.DockerLive) error {
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	if now == nil {
		return r.startError(ctx, errors.New("it ended soon after it answered"))
	}
	if got := now.ran.Live; got != want {
		return fmt.Errorf("dockerd runs its default bridge network on %s with address %s, containers from %s and MTU %d, but shall on %s with %s, %s and %d: "+
			"look for a warning in journalctl -u %s",
			got.Bridge, got.Gateway, got.Pool, got.MTU, want.Bridge, want.Gateway, want.Pool, want.MTU, serviceUnit)
	}
	return nil
}

// leave takes the fabric out of daemon.json and has dockerd run as before.
func (r *Resource) leave(ctx context.Context) error {
	var rec record
	exists, err := readJSON(r.paths.Record, &rec)
	if err != nil {
		return err
	}
	if !exists {
		return r.restartPaused(ctx)
	}
	before, err := r.load()
	if err != nil {
		return err
	}
	restored, remove, err := Restore(before.data, []byte(rec.Content), rec.Existed)
	if err != nil {
		return fmt.Errorf("%s: %w", r.paths.DaemonJSON, err)
	}
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	same := before.exists != remove && bytes.Equal(before.data, restored)
	if !same || now == nil || rec.Ran == nil || now.ran != *rec.Ran {
		if now != nil {
			if err := r.stop(ctx, now); err != nil {
				return err
			}
		}
		if err := r.startAsBefore(ctx, before, restored, remove, rec.Ran); err != nil {
			return err
		}
	}
	if err := r.resume(ctx); err != nil {
		return err
	}
	return file.Rename(r.paths.Record, r.leftRecord())
}

// leftRecord is where the record stays until it is settled that the fabric has
// left: what goes back from that may find a dockerd that does not run, of which
// nothing can be learned.
func (r *Resource) leftRecord() string { return r.paths.Record + ".left" }

// Settled takes away what was kept for going back.
func (r *Resource) Settled() error { return file.Remove(r.leftRecord()) }

// startAsBefore starts dockerd with the restored daemon.json.
func (r *Resource) startAsBefore(ctx context.Context, before configFile, restored []byte, remove bool, ran *former) error {
	if err := r.storeForStart(ctx, before, restored, remove, ran); err != nil {
		return err
	}
	if err := r.start(ctx); err != nil {
		return err
	}
	stored, err := r.load()
	if err != nil {
		return err
	}
	return r.store(stored, restored, remove)
}

// storeForStart has daemon.json hold what dockerd has to start with once to
// run with the restored one. dockerd keeps the last address of docker0 in
// /var/lib/docker/network and would give it to docker0 again, the fabric's: so
// the former one is in the file as bip while dockerd starts, which makes that
// the one to remember.
func (r *Resource) storeForStart(ctx context.Context, before configFile, restored []byte, remove bool, ran *former) error {
	config, err := Read(restored)
	if err != nil {
		return fmt.Errorf("%s as it was before: %w", r.paths.DaemonJSON, err)
	}
	starting := restored
	if config.BIP == "" && config.Bridge == "" && ran != nil && ran.Address.IsValid() {
		config.BIP = ran.Address.String()
		if starting, err = Merge(restored, config); err != nil {
			return err
		}
		if err := r.readdress(ctx, ran.Address); err != nil {
			return err
		}
	}
	return r.store(before, starting, remove && blank(starting))
}

// Prepare writes daemon.json for a dockerd that starts after it: at boot,
// when Apply, which starts dockerd, has to wait for that. It does not ask
// dockerd, and Apply has to follow.
func (r *Resource) Prepare(ctx context.Context, want plan.HostState) error {
	before, err := r.load()
	if err != nil {
		return err
	}
	if want.Docker != nil {
		merged, err := r.merge(before, *want.Docker)
		if err != nil {
			return err
		}
		return r.store(before, merged, false)
	}
	var rec record
	exists, err := readJSON(r.paths.Record, &rec)
	if err != nil || !exists {
		return err
	}
	restored, remove, err := Restore(before.data, []byte(rec.Content), rec.Existed)
	if err != nil {
		return fmt.Errorf("%s: %w", r.paths.DaemonJSON, err)
	}
	return r.storeForStart(ctx, before, restored, remove, rec.Ran)
}

// readdress gives the former address to a docker0 that others' addresses or
// members have kept. dockerd removes the first address that it finds there
// if the one it wants is missing.
func (r *Resource) readdress(ctx context.Context, address netip.Prefix) error {
	if !r.exists("docker0") {
		return nil
	}
	_, err := r.run(ctx, "ip", "address", "replace", address.String(), "dev", "docker0")
	return err
}

// restartPaused starts a dockerd that Stop has stopped and that was never
// the fabric's.
func (r *Resource) restartPaused(ctx context.Context) error {
	var p pause
	exists, err := readJSON(r.pausePath(), &p)
	if err != nil || !exists {
		return err
	}
	now, err := r.now(ctx)
	if err != nil {
		return err
	}
	if now == nil {
		if err := r.start(ctx); err != nil {
			return err
		}
	}
	return r.resume(ctx)
}
