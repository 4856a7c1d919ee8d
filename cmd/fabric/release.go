package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/ipam"
)

func newReleaseCommand(o *options) *cobra.Command {
	var force bool
	c := &cobra.Command{
		Use:   "release HOST",
		Short: "Give up what is reserved for a removed host",
		Long: `Gives up the range and the identity that the lock file keeps for a host that
was removed from the fabric file, so that another can have them. The host is
not contacted. One on which the fabric's parts were not taken away may go on
using its addresses, so it is only released with --force.`,
		Example: `  fabric release h9
  fabric release --force h9            # it is gone for good`,
		Args: oneHost,
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			l, err := load(o.file)
			if err != nil || len(args) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			var names []string
			for _, e := range l.lock.Removed {
				names = append(names, e.Name)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := load(o.file)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(l.lock.Removed, func(e ipam.Entry) bool { return e.Name == args[0] })
			if i >= 0 && !l.lock.Removed[i].TornDown && !force {
				return fmt.Errorf("%s still has what the fabric made there: run fabric apply, which takes it away, or fabric release --force %[1]s if the host is gone for good", args[0])
			}
			if l.lock, err = l.lock.Release(args[0]); err != nil {
				return err
			}
			if err := l.writeLock(); err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is released; commit %s\n", args[0], l.lockPath)
			return nil
		},
	}
	c.Flags().BoolVar(&force, "force", false, "release a host that was not cleared, for it is gone for good")
	return c
}

func oneHost(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("%s takes the name of one removed host, not %d: the lock lists them", cmd.CommandPath(), len(args))
}
