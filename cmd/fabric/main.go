// Command fabric makes plain Docker hosts one network, from one YAML file.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/internal/patience"
)

func main() { start(build.Portable) }

// start runs the program and ends it. portable says whether a build of it can run
// on any host.
func start(portable func(path string) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, portable)
	stop()
	os.Exit(exitCode(err))
}

// run is the whole program. What was asked for goes to stdout, everything
// else to stderr.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, portable func(path string) error) error {
	root := newRootCommand(portable)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil || isSilent(err) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "fabric: %s\n", strings.TrimRight(line, "\n"))
	}
	return err
}

// exitError ends the program with a status of its own, after everything
// that there is to say has been printed.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func isSilent(err error) bool {
	_, ok := errors.AsType[exitError](err)
	return ok
}

func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if code, ok := errors.AsType[exitError](err); ok {
		return int(code)
	}
	return 1
}

func newRootCommand(portable func(path string) error) *cobra.Command {
	root := &cobra.Command{
		Use:   "fabric",
		Short: "Make plain Docker hosts one network, from one YAML file",
		Long: `fabric makes containers on plain Docker hosts reach each other by IP.

One YAML file names the hosts. fabric plans a spanning-tree-safe graph of
Open vSwitch tunnels between them, gives each host a fixed range of one
network, applies that over SSH, and proves that it works.`,
		Example: `  fabric init                  # write a starter fabric.yaml
  fabric plan                  # see what would change, on which host
  fabric apply                 # do it
  fabric verify                # prove that it works`,
		SilenceUsage:               true,
		SilenceErrors:              true,
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE:                       func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	o := &options{portable: portable}
	info, _ := debug.ReadBuildInfo()
	root.Version = version(info)
	root.SetVersionTemplate("fabric {{.Version}}\n")
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		cmd.SetContext(patience.With(cmd.Context(), o.patience))
		return o.check()
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %s --help", err, cmd.CommandPath())
	})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	flags := root.PersistentFlags()
	flags.StringVarP(&o.file, "file", "f", "fabric.yaml", "the fabric's `FILE`")
	_ = root.MarkPersistentFlagFilename("file", "yaml", "yml") // the flag is there
	flags.IntVar(&o.parallel, "parallel", 16, "work on at most `N` hosts at once")
	flags.Float64Var(&o.patience, "timeout-multiplier", 1, "multiply every deadline by `N`, for hosts that are slow")
	root.AddCommand(
		newInitCommand(o),
		newValidateCommand(o),
		newPlanCommand(o),
		newApplyCommand(o),
		newVerifyCommand(o),
		newStatusCommand(o),
		newGraphCommand(o),
		newDestroyCommand(o),
		newReleaseCommand(o),
		newLabCommand(),
		newVersionCommand(),
		newNodeCommand(),
	)
	return root
}

// noArgs is for commands that work on the fabric's file, which is often
// given as an argument by mistake.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no argument, but was given %q: the fabric's file is named with -f FILE", cmd.CommandPath(), args[0])
}

// knownCommand is for commands that only group others.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "see " + cmd.CommandPath() + " --help"
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		hint = "did you mean " + strings.Join(similar, " or ") + "?"
	}
	return fmt.Errorf("there is no command %q in %s: %s", args[0], cmd.CommandPath(), hint)
}

// options are the flags that every command has.
type options struct {
	file     string
	parallel int
	patience float64 // see package patience
	portable func(path string) error
}

func (o *options) check() error {
	if o.parallel < 1 {
		return fmt.Errorf("--parallel %d: at least 1 host has to be worked on at once", o.parallel)
	}
	if !patience.Valid(o.patience) {
		return fmt.Errorf("--timeout-multiplier %v: deadlines can be multiplied by 1 to %d", o.patience, patience.Max)
	}
	return nil
}
