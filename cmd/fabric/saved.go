package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/ovsfabric/fabric/host/file"
	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/operator/remote"
	"github.com/ovsfabric/fabric/plan"
)

// maxSaved bounds a saved plan, in bytes. A first one of 10,000 hosts has a sixth.
const maxSaved = 1 << 30

// save writes a plan with all that it was made from.
func (f *fleet) save(path string, l *loaded, p *plan.Plan) error {
	if interrupted := f.interrupted(); len(interrupted) > 0 {
		return fmt.Errorf("no plan was saved: on %s an apply was cut off, and what is there will be taken back first: run fabric apply, then plan again", strings.Join(interrupted, ", "))
	}
	if err := sameFile(path, l.path, l.lockPath); err != nil {
		return err
	}
	own, err := ownBuild()
	if err != nil {
		return err
	}
	data, err := plan.Saved{
		Version: ownVersion(), Program: own, File: l.sum, Lock: l.lockSum(), Adopt: l.adopt, Resolved: l.resolved,
		Programs: f.programs.Builds(), Observed: f.observed, Missing: f.missing,
	}.Bytes(p)
	if err != nil {
		return err
	}
	if len(data) > maxSaved {
		return fmt.Errorf("no plan was saved: it has %d bytes, and fabric apply reads %d", len(data), maxSaved)
	}
	// It tells what runs on the hosts.
	return file.Write(path, data, 0o600)
}

// sameFile is an error where path is one of the others.
func sameFile(path string, others ...string) error {
	info, err := os.Stat(path)
	if err != nil {
		return nil // there is nothing to lose
	}
	for _, other := range others {
		if i, err := os.Stat(other); err == nil && os.SameFile(info, i) {
			return fmt.Errorf("no plan was saved: --out %s would overwrite %s", path, other)
		}
	}
	return nil
}

// savedPlan is a plan read from a file, which was made from the fabric file
// and the lock that are there now, by this program.
type savedPlan struct {
	*plan.Saved
	path string
	plan *plan.Plan
}

// readSaved reads a saved plan. No host is asked.
func readSaved(path string, l *loaded) (*savedPlan, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSaved+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxSaved {
		return nil, fmt.Errorf("%s is larger than any saved plan", path)
	}
	s := &savedPlan{path: path}
	if s.Saved, err = plan.ParseSaved(path, data); err != nil {
		return nil, err
	}
	l.adopt = s.Adopt
	if err := l.adoptRanges(s.Observed); err != nil {
		return nil, err
	}
	if err := s.fits(l); err != nil {
		return nil, err
	}
	s.plan, err = s.Remake(path, plan.Input{Topology: l.topology, Graph: l.graph, Lock: l.lock})
	return s, err
}

// fits is an error unless the plan was made from what is there now.
func (s *savedPlan) fits(l *loaded) error {
	own, err := ownBuild()
	if err != nil {
		return err
	}
	var errs []error
	differs := func(format string, args ...any) {
		errs = append(errs, errors.New(printable.Line(fmt.Sprintf(format+": run fabric plan --out %s again", append(args, s.path)...))))
	}
	if s.Program != own {
		differs("%s was made by another fabric: %s (%.12s), and this is %s (%.12s)", s.path, s.Version, s.Program, ownVersion(), own)
	}
	if s.File != l.sum {
		differs("%s has changed since %s was made, or is another file", l.inputs(), s.path)
	}
	if s.Lock != l.lockSum() {
		differs("%s has changed since %s was made", l.lockPath, s.path)
	}
	if s.File == l.sum {
		for _, name := range slices.Sorted(maps.Keys(l.resolved)) {
			if was, now := s.Resolved[name], l.resolved[name]; was != now {
				differs("hosts.%s.address was %s when %s was made, and is %s now", name, was, s.path, now)
			}
		}
	}
	return errors.Join(errs...)
}

// planned asks the hosts of a saved plan what they look like now. One that is
// not what it was when the plan was made, or that cannot be asked, is an
// error. The plan returned changes on every host what the saved one does, and
// says what their containers feel of it today.
func (f *fleet) planned(ctx context.Context, l *loaded, s *savedPlan) (*plan.Plan, error) {
	targets := slices.DeleteFunc(slices.Concat(l.targets(), l.removedTargets()), func(t remote.Target) bool {
		_, observed := s.Observed[t.Name]
		return !observed
	})
	if err := f.failures(f.dial(ctx, targets, l.query)); err != nil {
		return nil, err
	}
	f.missing = s.Missing
	now, err := f.plan(l)
	if err != nil {
		return nil, err
	}
	errs := s.differences(now)
	for _, name := range f.interrupted() {
		errs[name] = fmt.Errorf("%s: an apply was cut off here since %s was made: run fabric apply, which takes it back first", name, s.path)
	}
	if err := joinErrors(errs); err != nil {
		return nil, fmt.Errorf("%w\nnothing was changed anywhere: run fabric plan --out %s again", err, s.path)
	}
	return now, nil
}

// differences are what differs on each host from what the plan was made from.
func (s *savedPlan) differences(now *plan.Plan) map[string]error {
	errs := make(map[string]error)
	for _, d := range now.Since(s.plan) {
		lines := []string{fmt.Sprintf("%s: changed since %s was made:", d.Host, s.path)}
		if d.Wanted {
			lines[0] = fmt.Sprintf("%s: would have to become something else now than when %s was made:", d.Host, s.path)
		}
		for _, c := range d.Changes {
			lines = append(lines, fmt.Sprintf("%s:   %s", d.Host, c))
		}
		errs[d.Host] = errors.New(strings.Join(lines, "\n"))
	}
	for _, h := range now.Kept().Obstructed() {
		if errs[h.Name] == nil {
			errs[h.Name] = obstacleError(h.Name, h.Obstacles)
		}
	}
	return errs
}

// inputs names the files that a plan is made from beside the lock.
func (l *loaded) inputs() string {
	if rtt := l.topology.GraphSpec.RTT; rtt != "" {
		return l.path + " or " + expand(l.path, rtt)
	}
	return l.path
}

// lockSum is the SHA-256 of the lock that plans are made with, hex: of the
// content that an apply writes, so that it is the same before and after.
func (l *loaded) lockSum() string {
	sum := sha256.Sum256(l.lock.Bytes())
	return hex.EncodeToString(sum[:])
}

func ownVersion() string {
	info, _ := debug.ReadBuildInfo()
	return version(info)
}
