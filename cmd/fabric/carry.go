package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

// carry is how a plan is carried out.
type carry struct {
	fleet         *fleet
	parallel      int
	canary        int
	keepGoing     bool
	confirmWithin time.Duration
	query         func(host string) plan.Query
	show          *progress
	check         rollout.Check // may be nil
	stand         rollout.Stand // may be nil
}

func newCarry(f *fleet, l *loaded, stderr io.Writer, parallel int, confirmWithin time.Duration) carry {
	return carry{fleet: f, parallel: parallel, confirmWithin: confirmWithin, query: l.query, show: newProgress(stderr)}
}

// out carries out a plan. The error says why hosts failed and what to do now.
func (c carry) out(ctx context.Context, p *plan.Plan) ([]rollout.Result, error) {
	results, err := rollout.Apply(ctx, p, rollout.Options{
		Parallel: c.parallel, Canary: c.canary, KeepGoing: c.keepGoing, ConfirmWithin: c.confirmWithin,
		Check: c.check, Stand: c.stand, Progress: c.show.host, Query: c.query,
		Session: func(host string) rollout.Session { return c.fleet.sessions[host] },
	})
	if err != nil {
		err = explainFailure(results, err)
	}
	return results, err
}

// printResults says how each host ended.
func printResults(stdout io.Writer, results []rollout.Result, asJSON bool) error {
	if asJSON {
		return writeJSON(stdout, results)
	}
	for _, r := range results {
		fmt.Fprintf(stdout, "%s: %s\n", r.Host, r.State)
	}
	return nil
}

// explainFailure says why an apply failed and what to do now.
func explainFailure(results []rollout.Result, err error) error {
	var lines []string
	began := false
	for _, r := range results {
		if r.Error != "" {
			lines = append(lines, fmt.Sprintf("%s: %s", r.Host, r.Error))
		}
		began = began || r.State == rollout.Applied || r.State == rollout.Unknown
	}
	if len(lines) == 0 {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		lines = append(lines, err.Error())
	}
	if began {
		lines = append(lines, "the hosts are not all in the same state: run fabric plan to see what is left, and fabric apply to complete it")
	} else {
		lines = append(lines, "no host was changed for good")
	}
	return errors.New(strings.Join(lines, "\n"))
}
