package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

// confirmWithin is how long a host that has applied waits for a word from the
// operator, who sends one four times as often.
const confirmWithin = time.Minute

// applyFlags is what the command line of apply says.
type applyFlags struct {
	saved         string // a plan to carry out; "" to make one
	yes           bool
	asJSON        bool
	allowMissing  bool
	adopt         bool
	canary        int
	keepGoing     bool
	confirmWithin time.Duration
	settle        time.Duration // 0: by the protocol of the tree
}

func (a *applyFlags) check() error {
	switch {
	case a.confirmWithin < time.Second:
		return fmt.Errorf("--confirm-within %s: hosts have to be told, so at least 1s is needed", a.confirmWithin)
	case a.canary < 0:
		return fmt.Errorf("--canary %d: that many hosts cannot apply first", a.canary)
	case a.saved != "" && a.allowMissing:
		return errors.New("--allow-missing goes with fabric plan --out: a saved plan says which hosts it does without")
	case a.saved != "" && a.adopt:
		return errors.New("--adopt goes with fabric plan --out: a saved plan says whether it adopts")
	}
	return errors.Join(checkAdopt(a.adopt, a.allowMissing), checkSettle(a.settle))
}

func newApplyCommand(o *options) *cobra.Command {
	a := &applyFlags{confirmWithin: confirmWithin}
	c := &cobra.Command{
		Use:   "apply [PLAN]",
		Short: "Make the hosts what the file says",
		Long: `Plans, shows the plan, asks, and carries it out on all hosts. With a PLAN that
fabric plan --out has saved, exactly that is carried out; if the file, the lock
or any host has changed since, nothing is.

Every host is asked before any is changed. The changes stay only once all hosts
have made them and the spanning tree is the predicted one; otherwise, and after
Ctrl-C or a lost connection, each host goes back to what it was.

With --canary the first hosts that change, in the order of the plan, have to
apply and to reach each other and the rest before any other host begins.
With --keep-going a host that fails goes back alone: what the others applied
stays, as long as they reach each other. The next apply completes it.`,
		Example: `  fabric apply
  fabric apply --yes                   # without asking
  fabric plan --out p.json && fabric apply p.json
  fabric apply --canary 1              # one host first, then the others
  fabric apply --parallel 1 --keep-going
  fabric apply --allow-missing         # go on without hosts that are down
  fabric apply --adopt                 # hosts that were made a network by hand
  fabric apply --yes --json | jq '.[] | select(.state != "applied")'`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%s takes one saved plan, but was given %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				a.saved = args[0]
			}
			if err := a.check(); err != nil {
				return err
			}
			return a.run(cmd, o)
		},
	}
	flags := c.Flags()
	flags.BoolVarP(&a.yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&a.asJSON, "json", false, "print how each host ended as JSON")
	flags.BoolVar(&a.allowMissing, "allow-missing", false, allowMissingUsage)
	flags.BoolVar(&a.adopt, "adopt", false, adoptUsage)
	flags.IntVar(&a.canary, "canary", 0, "apply on `N` hosts first, and on the others once these are well")
	flags.BoolVar(&a.keepGoing, "keep-going", false, "go on with the other hosts where one fails, and keep what they applied")
	flags.DurationVar(&a.confirmWithin, "confirm-within", a.confirmWithin, "a host that has applied goes back by itself when it hears nothing for `TIME`")
	addSettleFlag(c, &a.settle, applySettle)
	return c
}

// allowMissingUsage is what --allow-missing does, for plan and apply.
const allowMissingUsage = "go on without hosts that do not answer: they stay as they are until the next apply"

func (a *applyFlags) run(cmd *cobra.Command, o *options) error {
	ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	l, f, err := openFleet(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer f.close()
	p, err := a.plan(ctx, l, f, stderr)
	if err != nil {
		return err
	}
	if a.keepGoing || a.canary > 0 && p.Begins() { // hosts that are to be well on their own
		p.Apart()
	}
	if !a.asJSON {
		printPlan(stdout, p)
	}
	if err := obstacles(p.Kept()); err != nil {
		return err
	}
	if p.Empty() {
		if a.asJSON {
			if err := writeJSON(stdout, []rollout.Result{}); err != nil {
				return err
			}
		}
		return settleLock(l, p)
	}
	if !a.yes {
		if err := ask(ctx, cmd.InOrStdin(), stderr, "Apply this?"); err != nil {
			return err
		}
	}
	if err := l.writeLock(); err != nil {
		return err
	}
	results, err := a.carryOut(ctx, l, f, p, newCarry(f, l, stderr, o.parallel, a.confirmWithin))
	if err := printResults(stdout, results, a.asJSON); err != nil {
		return err
	}
	for _, name := range p.Missing() {
		fmt.Fprintf(stderr, "warning: %s did not answer and stays as it is: run fabric apply when it is back\n", name)
	}
	return err
}

// plan is the saved plan, or one that is made now. For the latter, hosts on
// which an apply was cut off go back first.
func (a *applyFlags) plan(ctx context.Context, l *loaded, f *fleet, stderr io.Writer) (*plan.Plan, error) {
	if a.saved != "" {
		s, err := readSaved(a.saved, l)
		if err != nil {
			return nil, err
		}
		return f.planned(ctx, l, s)
	}
	l.adopt = a.adopt
	p, err := f.makePlan(ctx, l, a.allowMissing)
	if err != nil || len(f.interrupted()) == 0 {
		return p, err
	}
	if err := f.recover(ctx, stderr, l.query); err != nil {
		return nil, err
	}
	return f.plan(l)
}

// carryOut changes the hosts that stay, and then those that were removed.
func (a *applyFlags) carryOut(ctx context.Context, l *loaded, f *fleet, p *plan.Plan, c carry) ([]rollout.Result, error) {
	defer c.show.end()
	kept := p.Kept()
	first := c
	first.canary, first.keepGoing = a.canary, a.keepGoing
	settle := cmp.Or(a.settle, applySettle*patience.Stretch(ctx, settleTime(kept)))
	first.stand = stand(kept, f.nodes, settle)
	first.check = check(l, kept, f, settle, func(text string) { c.show.host("fabric", text) })
	results, err := first.out(ctx, kept)
	if err != nil {
		return results, err
	}
	gone, err := tearDown(ctx, l, p.Gone(), c)
	return append(results, gone...), err
}

// tearDown takes the fabric away from hosts that were removed from the file,
// each on its own: what keeps one from it is no reason for the others, and
// the hosts that stay have been confirmed already.
func tearDown(ctx context.Context, l *loaded, p *plan.Plan, c carry) ([]rollout.Result, error) {
	var results []rollout.Result
	errs := make(map[string]error)
	for _, h := range p.Hosts {
		one := *p
		one.Hosts = []plan.Host{h}
		ended := []rollout.Result{{Host: h.Name, State: rollout.Untouched}}
		err := obstacles(&one)
		if err == nil {
			ended, err = c.out(ctx, &one)
		}
		results = append(results, ended...)
		if err == nil {
			err = settleLock(l, &one)
		}
		if err != nil {
			errs[h.Name] = fmt.Errorf("%w\n%s is no longer in the fabric, but what the fabric made there stays until an apply can take it away; fabric release --force %[2]s gives it up", err, h.Name)
		}
	}
	return results, joinErrors(errs)
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
