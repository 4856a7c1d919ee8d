package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newValidateCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Check the file without touching a host",
		Long:  "Checks the file and the lock beside it, and prints everything that is wrong with them, each with its place.",
		Example: `  fabric validate
  fabric validate -f paris.yaml && git commit paris.yaml`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := load(o.file)
			if err != nil {
				return err
			}
			for _, warning := range l.graph.Warnings {
				fmt.Fprintf(cmd.ErrOrStderr(), "warning: %s\n", warning)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: fabric %s, %s, %s\n", o.file, l.topology.Name,
				count(len(l.topology.Hosts), "host", "hosts"), count(len(l.graph.Links), "tunnel", "tunnels"))
			return nil
		},
	}
}
