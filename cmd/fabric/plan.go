package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/plan"
)

// planFlags is what the command line of plan says.
type planFlags struct {
	offline      bool
	asJSON       bool
	detailed     bool
	allowMissing bool
	adopt        bool
	out          string // where the plan is saved; "" for nowhere
	failures     []string
}

func (f *planFlags) check() error {
	switch {
	case f.out != "" && len(f.failures) > 0:
		return errors.New("--out saves what is to be applied: it does not go with --fail")
	case f.offline && f.out != "":
		return errors.New("--out saves what the hosts look like: it does not go with --offline")
	case f.offline && f.allowMissing:
		return errors.New("--offline asks no host: it does not go with --allow-missing")
	case f.offline && f.adopt:
		return errors.New("--offline asks no host: it does not go with --adopt")
	}
	return checkAdopt(f.adopt, f.allowMissing)
}

// adoptUsage describes the flag of plan and apply.
const adoptUsage = "take over what was made by hand for the same purpose: br0 with its tunnels, and Docker's settings"

// checkAdopt keeps a host that does not answer from getting another range
// than its containers have.
func checkAdopt(adopt, allowMissing bool) error {
	if adopt && allowMissing {
		return errors.New("--adopt takes over the ranges that the hosts have, so all have to answer: it does not go with --allow-missing")
	}
	return nil
}

func newPlanCommand(o *options) *cobra.Command {
	f := &planFlags{}
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change on each host",
		Long: `Asks every host what it looks like and shows the tunnels with the spanning
tree predicted for them, each host's range and address, the MTU and how it
came about, and what apply would change on each host. Nothing is changed
anywhere, and nothing is left on a host that has no fabric yet.

With --out the plan is saved, for fabric apply to carry out exactly that or
nothing. It is good for as long as the file, the lock, this program and the
hosts are what they were. It tells what runs on the hosts, but holds no keys.

With --fail it shows instead what is left of the fabric when hosts or links
fail: the tree, who is cut off, the longest path, and how long traffic stops.
No host is asked for that.`,
		Example: `  fabric plan
  fabric plan --out p.json             # for fabric apply p.json
  fabric plan --allow-missing          # without hosts that are down
  fabric plan --offline                # without asking any host
  fabric plan --json | jq '.hosts[].changes'
  fabric plan --detailed-exitcode      # 0: nothing to do, 2: changes
  fabric plan --fail host:h3 --fail link:h1-h2
  fabric plan --fail any               # the worst single failures`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if len(f.failures) > 0 {
				return predictFailures(cmd.OutOrStdout(), o, f.failures, f.asJSON)
			}
			return f.run(cmd, o)
		},
	}
	flags := c.Flags()
	flags.BoolVar(&f.offline, "offline", false, "plan from the file and the lock alone, without asking any host")
	flags.BoolVar(&f.asJSON, "json", false, "print the plan as JSON")
	flags.BoolVar(&f.detailed, "detailed-exitcode", false, "exit with 2 where there are changes")
	flags.BoolVar(&f.allowMissing, "allow-missing", false, allowMissingUsage)
	flags.BoolVar(&f.adopt, "adopt", false, adoptUsage)
	flags.StringVar(&f.out, "out", "", "save the plan to `FILE`, for fabric apply FILE")
	_ = c.MarkFlagFilename("out", "json") // the flag is there
	flags.StringArrayVar(&f.failures, "fail", nil, "show what is left without `host:NAME` or link:A-B; any lists the worst single failures")
	_ = c.RegisterFlagCompletionFunc("fail", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return failuresOf(o.file), cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

func (f *planFlags) run(cmd *cobra.Command, o *options) error {
	ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	open := openFleet
	if f.offline {
		open = loadFleet
	}
	l, fleet, err := open(ctx, o, stderr)
	if err != nil {
		return err
	}
	defer fleet.close()
	l.adopt = f.adopt
	var p *plan.Plan
	if f.offline {
		p, err = planOffline(l)
	} else {
		p, err = fleet.makePlan(ctx, l, f.allowMissing)
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		if err := writeJSON(stdout, p); err != nil {
			return err
		}
	} else {
		printPlan(stdout, p)
	}
	if err := obstacles(p.Kept()); err != nil {
		return err
	}
	if f.out != "" {
		if err := fleet.save(f.out, l, p); err != nil {
			return err
		}
		fmt.Fprintf(stderr, "saved: fabric apply %s carries it out\n", f.out)
	}
	if f.detailed && !p.Empty() {
		return exitError(2)
	}
	return nil
}

func planOffline(l *loaded) (*plan.Plan, error) {
	return plan.New(plan.Input{Topology: l.topology, Graph: l.graph, Lock: l.lock})
}

func writeJSON(w io.Writer, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(append(printable.JSON(data), '\n'))
	return err
}
