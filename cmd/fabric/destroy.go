package main

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/operator/rollout"
	"github.com/ovsfabric/fabric/plan"
)

func newDestroyCommand(o *options) *cobra.Command {
	var yes, asJSON bool
	c := &cobra.Command{
		Use:   "destroy",
		Short: "Take away what the fabric made, and nothing else",
		Long: `Takes the bridge, its tunnels, the address and the boot units away from every
host, makes daemon.json what it was without the fabric, and restarts dockerd
once. The lock file stays, so that the same hosts get the same ranges again.`,
		Example: `  fabric destroy
  fabric destroy --yes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			l, f, err := openFleet(ctx, o, stderr)
			if err != nil {
				return err
			}
			defer f.close()
			if err := f.ask(ctx, l); err != nil {
				return err
			}
			if err := f.recover(ctx, stderr, l.query); err != nil {
				return err
			}
			p := plan.Teardown(l.topology.Name, l.topology.Network, f.observed, names(slices.Concat(l.targets(), l.removedTargets())))
			p.Warnings = f.warnings
			if !asJSON {
				printPlan(stdout, p)
			}
			if err := obstacles(p); err != nil {
				return err
			}
			if p.Empty() {
				if asJSON {
					return writeJSON(stdout, []rollout.Result{})
				}
				return nil
			}
			if !yes {
				if err := ask(ctx, cmd.InOrStdin(), stderr, "Take all of this away?"); err != nil {
					return err
				}
			}
			if err := carryOut(ctx, f, p, carry{
				parallel: o.parallel, confirmWithin: 5 * time.Minute, asJSON: asJSON, query: l.query, show: newProgress(stderr),
			}, stdout); err != nil || len(l.written) == 0 {
				return err
			}
			return settleLock(l, p)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&asJSON, "json", false, "print how each host ended as JSON")
	return c
}
