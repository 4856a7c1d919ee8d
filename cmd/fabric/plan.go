package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/plan"
)

func newPlanCommand(o *options) *cobra.Command {
	var offline, asJSON, detailed, adopt bool
	var failures []string
	c := &cobra.Command{
		Use:   "plan",
		Short: "Show what would change on each host",
		Long: `Asks every host what it looks like and shows the tunnels with the spanning
tree predicted for them, each host's range and address, the MTU and how it
came about, and what apply would change on each host. Nothing is changed
anywhere, and nothing is left on a host that has no fabric yet.

With --fail it shows instead what is left of the fabric when hosts or links
fail: the tree, who is cut off, the longest path, and how long traffic stops.
No host is asked for that.`,
		Example: `  fabric plan
  fabric plan --offline                # without asking any host
  fabric plan --json | jq '.hosts[].changes'
  fabric plan --detailed-exitcode      # 0: nothing to do, 2: changes
  fabric plan --fail host:h3 --fail link:h1-h2
  fabric plan --fail any               # the worst single failures`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			if len(failures) > 0 {
				return predictFailures(ctx, stdout, o, failures, asJSON)
			}
			l, f, err := openFleet(ctx, o, stderr)
			if err != nil {
				return err
			}
			defer f.close()
			l.adopt = adopt
			makePlan := f.makePlan
			if offline {
				makePlan = planOffline
			}
			p, err := makePlan(ctx, l)
			if err != nil {
				return err
			}
			if asJSON {
				if err := writeJSON(stdout, p); err != nil {
					return err
				}
			} else {
				printPlan(stdout, p)
			}
			if err := obstacles(p.Kept()); err != nil {
				return err
			}
			if detailed && !p.Empty() {
				return exitError(2)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&adopt, "adopt", false, adoptUsage)
	c.Flags().BoolVar(&offline, "offline", false, "plan from the file and the lock alone, without asking any host")
	c.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 where there are changes")
	c.Flags().StringArrayVar(&failures, "fail", nil, "show what is left without `host:NAME` or link:A-B; any lists the worst single failures")
	c.MarkFlagsMutuallyExclusive("adopt", "offline")
	return c
}

// adoptUsage describes the flag of plan and apply.
const adoptUsage = "take over what was made by hand for the same purpose: br0 with its tunnels, and Docker's settings"

func planOffline(_ context.Context, l *loaded) (*plan.Plan, error) {
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
