package main

import (
	"slices"

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
			if err := f.ask(ctx, l, false); err != nil {
				return err
			}
			if err := f.recover(ctx, stderr, l.query); err != nil {
				return err
			}
			p := plan.Teardown(l.topology.Name, l.topology.Network, f.observed, f.missing, names(slices.Concat(l.targets(), l.removedTargets())))
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
			c := newCarry(f, l, stderr, o.parallel, confirmWithin)
			results, err := c.out(ctx, p)
			c.show.end()
			if err := printResults(stdout, results, asJSON); err != nil {
				return err
			}
			if err != nil || len(l.written) == 0 {
				return err
			}
			return settleLock(l, p)
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&asJSON, "json", false, "print how each host ended as JSON")
	return c
}
