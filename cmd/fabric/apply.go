package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

func newApplyCommand(o *options) *cobra.Command {
	var yes, asJSON, adopt bool
	confirmWithin := 5 * time.Minute
	c := &cobra.Command{
		Use:   "apply",
		Short: "Make the hosts what the file says",
		Long: `Plans, shows the plan, asks, and carries it out on all hosts. Every host is
asked before any is changed. The changes stay only once all hosts have made
them and the spanning tree is the predicted one; otherwise, and after
Ctrl-C or a lost connection, each host goes back to what it was.`,
		Example: `  fabric apply
  fabric apply --yes                   # without asking
  fabric apply --parallel 4            # four hosts at a time
  fabric apply --adopt                 # hosts that were made a network by hand`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if confirmWithin <= 0 {
				return fmt.Errorf("--confirm-within %s: hosts need time to be told", confirmWithin)
			}
			l, f, err := openFleet(ctx, o, stderr)
			if err != nil {
				return err
			}
			defer f.close()
			l.adopt = adopt
			p, err := f.makePlan(ctx, l)
			if err != nil {
				return err
			}
			if len(f.interrupted()) > 0 {
				if err := f.recover(ctx, stderr, l.query); err != nil {
					return err
				}
				if p, err = f.plan(l); err != nil {
					return err
				}
			}
			if !asJSON {
				printPlan(stdout, p)
			}
			if err := obstacles(p.Kept()); err != nil {
				return err
			}
			if p.Empty() {
				if asJSON {
					if err := writeJSON(stdout, []rollout.Result{}); err != nil {
						return err
					}
				}
				return settleLock(l, p)
			}
			if !yes {
				if err := ask(ctx, cmd.InOrStdin(), stderr, "Apply this?"); err != nil {
					return err
				}
			}
			if err := l.writeLock(); err != nil {
				return err
			}
			show := newProgress(stderr)
			c := carry{
				parallel: o.parallel, confirmWithin: confirmWithin, asJSON: asJSON, query: l.query, show: show,
				settle: settle(l, p, f, func(text string) { show.host("fabric", text) }),
			}
			if err := carryOut(ctx, f, p.Kept(), c, stdout); err != nil {
				return err
			}
			return tearDown(ctx, l, f, p.Gone(), c, stdout)
		},
	}
	c.Flags().BoolVar(&adopt, "adopt", false, adoptUsage)
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&asJSON, "json", false, "print how each host ended as JSON")
	c.Flags().DurationVar(&confirmWithin, "confirm-within", confirmWithin, "a host goes back by itself if it is not told within `TIME` to keep its changes")
	return c
}

// tearDown takes the fabric away from hosts that were removed from the file,
// each on its own: what keeps one from it is no reason for the others, and
// the hosts that stay have been confirmed already.
func tearDown(ctx context.Context, l *loaded, f *fleet, p *plan.Plan, c carry, stdout io.Writer) error {
	c.settle = nil
	errs := make(map[string]error)
	for _, h := range p.Hosts {
		one := *p
		one.Hosts = []plan.Host{h}
		err := obstacles(&one)
		if err == nil {
			err = carryOut(ctx, f, &one, c, stdout)
		}
		if err == nil {
			err = settleLock(l, &one)
		}
		if err != nil {
			errs[h.Name] = fmt.Errorf("%w\n%s is no longer in the fabric, but what the fabric made there stays until an apply can take it away; fabric release --force %[2]s gives it up", err, h.Name)
		}
	}
	return joinErrors(errs)
}

// settleLock keeps in the lock that removed hosts have nothing of the
// fabric left.
func settleLock(l *loaded, p *plan.Plan) error {
	for _, h := range p.Hosts {
		for i := range l.lock.Removed {
			if h.Removed && l.lock.Removed[i].Name == h.Name {
				l.lock.Removed[i].TornDown = true
			}
		}
	}
	return l.writeLock()
}

// errDeclined is the answer no.
var errDeclined = errors.New("nothing was changed")

// ask returns nil for the answer yes.
func ask(ctx context.Context, stdin io.Reader, stderr io.Writer, question string) error {
	if f, ok := stdin.(*os.File); ok && !term.IsTerminal(int(f.Fd())) {
		return errors.New("there is no terminal to ask on: say --yes to apply without asking")
	}
	fmt.Fprintf(stderr, "%s [y/N] ", question)
	answered := make(chan string, 1)
	go func() { // a read of a terminal cannot be ended; the program ends soon after
		answer, _ := bufio.NewReader(stdin).ReadString('\n') // no answer is the answer no
		answered <- answer
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(stderr)
		return ctx.Err()
	case answer := <-answered:
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "y", "yes":
			return nil
		}
		return errDeclined
	}
}

// carry is how a plan is carried out.
type carry struct {
	parallel      int
	confirmWithin time.Duration
	asJSON        bool
	query         func(host string) plan.Query
	show          *progress
	settle        func(context.Context) error // may be nil
}

// carryOut carries out a plan, says how each host ended, and why.
func carryOut(ctx context.Context, f *fleet, p *plan.Plan, c carry, stdout io.Writer) error {
	results, err := rollout.Apply(ctx, p, rollout.Options{
		Parallel: c.parallel, ConfirmWithin: c.confirmWithin, Settle: c.settle,
		Progress: c.show.host, Query: c.query,
		Session: func(host string) rollout.Session { return f.sessions[host] },
	})
	c.show.end()
	if c.asJSON {
		if werr := writeJSON(stdout, results); werr != nil {
			return werr
		}
	} else {
		for _, r := range results {
			fmt.Fprintf(stdout, "%s: %s\n", r.Host, r.State)
		}
	}
	if err != nil {
		return explainFailure(results, err)
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
