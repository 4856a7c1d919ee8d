package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  fabric version",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintf(cmd.OutOrStdout(), "fabric %s\n", cmd.Root().Version)
			return nil
		},
	}
}

// version describes a build: its version, the commit where the version does
// not name it, and what it is built for and with. info may be nil.
func version(info *debug.BuildInfo) string {
	words := []string{"(unknown)"}
	if info != nil {
		words[0] = info.Main.Version
		settings := make(map[string]string, len(info.Settings))
		for _, s := range info.Settings {
			settings[s.Key] = s.Value
		}
		revision := settings["vcs.revision"]
		revision = revision[:min(12, len(revision))]
		if revision != "" && !strings.Contains(words[0], revision) {
			if settings["vcs.modified"] == "true" {
				revision += "+dirty"
			}
			words = append(words, revision)
		}
	}
	return strings.Join(append(words, runtime.GOOS+"/"+runtime.GOARCH, runtime.Version()), " ")
}
