package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ovsfabric/fabric/lab"
)

func newLabCommand() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "lab",
		Short: "Boot ordinary Debian hosts on this machine to try things on",
		Long: `Boot ordinary Debian hosts on this machine to try things on.

The hosts run systemd, sshd, Open vSwitch and Docker. They share one Ethernet
segment, apart from this machine's network, with a controller that reaches them
by ssh as root or ops. A lab needs root.

Two drivers run hosts. With nspawn they share this machine's kernel: they boot in
seconds, take about 150 MB of memory each, and use Open vSwitch's userspace
datapath. With qemu they are virtual machines with Debian's own kernel, and so
with the datapath, tunnels and boots of real hosts: up to 1 GB each, and minutes
to boot on a machine that has to emulate their processors.

The first lab of a Debian release builds its image in /var/cache/fabric-lab.`,
		Example: `  sudo fabric lab up scenarios/three-hosts
  sudo fabric lab ctl fabric plan -f scenarios/three-hosts/fabric.yaml
  sudo fabric lab ctl ssh h1 uptime
  sudo fabric lab sh h1
  sudo fabric lab down`,
		Args: knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&name, "name", "", "the lab's name (default: the only lab there is; for up, the name of the folder)")
	cmd.AddCommand(
		newLabUpCommand(&name),
		newLabDownCommand(&name),
		newLabStartCommand(&name),
		newLabShCommand(&name),
		newLabCtlCommand(&name),
		newLabListCommand(),
		newLabImageCommand(),
	)
	return cmd
}

func newLabUpCommand(name *string) *cobra.Command {
	var (
		driver   string
		patience time.Duration
	)
	cmd := &cobra.Command{
		Use:   "up DIR",
		Short: "Boot the hosts of a scenario's folder",
		Long: `Boot the hosts that lab.yaml in a scenario's folder lists, and return when they
are up: sshd answers, Open vSwitch and Docker run. If that fails, or is
interrupted, nothing is left.

Each host is run by the driver that lab.yaml names, nspawn if it names none;
--driver takes the place of all of them.`,
		Example: `  sudo fabric lab up scenarios/three-hosts
  sudo fabric lab up scenarios/three-hosts --name second
  sudo fabric lab up scenarios/three-hosts --driver qemu
  sudo fabric lab up scenarios/three-hosts --driver qemu --patience 30m`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec, err := lab.Load(args[0])
			if err != nil {
				return err
			}
			if *name != "" {
				spec.Name = *name
			}
			if driver != "" {
				if err := spec.SetDriver(driver); err != nil {
					return err
				}
			}
			spec.Patience = patience
			_, err = lab.Up(cmd.Context(), spec, cmd.ErrOrStderr())
			return err
		},
	}
	cmd.Flags().StringVar(&driver, "driver", "", "what runs all hosts: "+strings.Join(lab.Drivers(), " or ")+" (default: as lab.yaml says)")
	cmd.Flags().DurationVar(&patience, "patience", 0, "how long a host may take to boot, now and in lab start (default: 2m for nspawn, 15m for qemu)")
	completeDrivers(cmd)
	return cmd
}

func completeDrivers(cmd *cobra.Command) {
	// It only fails for a flag that is not there.
	_ = cmd.RegisterFlagCompletionFunc("driver", cobra.FixedCompletions(lab.Drivers(), cobra.ShellCompDirectiveNoFileComp))
}

func newLabDownCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "down [NAME]",
		Short: "Take a lab away, with all that its hosts hold",
		Long: `Take a lab away, with all that its hosts hold. That also clears what is left of
a lab that failed half way or was up when this machine went down. Images stay.`,
		Example: `  sudo fabric lab down
  sudo fabric lab down three-hosts`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			labs, err := lab.List()
			if err != nil {
				return err
			}
			chosen := *name
			switch {
			case len(args) == 1:
				chosen = args[0]
			case chosen == "" && len(labs) == 0:
				fmt.Fprintln(cmd.ErrOrStderr(), "no lab is up")
				return nil
			case chosen == "":
				if chosen, err = onlyLab(labs); err != nil {
					return err
				}
			}
			if err := lab.Remove(cmd.Context(), chosen); err != nil {
				return err
			}
			outcome := "down"
			if !slices.ContainsFunc(labs, func(l lab.Info) bool { return l.Name == chosen }) {
				outcome = "was not up"
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "lab %s: %s\n", chosen, outcome)
			return nil
		},
	}
}

func newLabStartCommand(name *string) *cobra.Command {
	return &cobra.Command{
		Use:   "start HOST",
		Short: "Boot a host that is off",
		Long: `Boot a host that was powered off, and return when it is up. It has all that it
had.`,
		Example: `  sudo fabric lab sh h1 poweroff
  sudo fabric lab start h1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(*name)
			if err != nil {
				return err
			}
			l.Progress = cmd.ErrOrStderr()
			return l.Start(cmd.Context(), args[0])
		},
	}
}

func newLabShCommand(name *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sh HOST [COMMAND [ARGUMENT...]]",
		Short: "Run a command, or a shell, as root inside a host",
		Long: `Run a command as root inside a host; without a command, a login shell. It needs
no network, so it works on a host that has cut itself off. The exit status is
the command's.`,
		Example: `  sudo fabric lab sh h1
  sudo fabric lab sh h1 ovs-vsctl show
  sudo fabric lab sh h1 reboot`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(*name)
			if err != nil {
				return err
			}
			return become(l.Sh(cmd.Context(), args[0], args[1:]...))
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newLabCtlCommand(name *string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ctl [COMMAND [ARGUMENT...]]",
		Short: "Run a command, or a shell, where the hosts can be reached",
		Long: `Run a command of this machine at the lab's controller: on the hosts' network,
with their names in /etc/hosts, and with an ssh key and known_hosts for them in
place of root's ~/.ssh. Without a command, a shell. The exit status is the
command's.`,
		Example: `  sudo fabric lab ctl ssh h1 uptime
  sudo fabric lab ctl fabric apply -f scenarios/three-hosts/fabric.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := openLab(*name)
			if err != nil {
				return err
			}
			return become(l.Ctl(cmd.Context(), args...))
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func newLabListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the labs on this machine and their hosts",
		Example: `  fabric lab list
  fabric lab list --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			labs, err := lab.List()
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				return enc.Encode(labs)
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			if len(labs) > 0 {
				fmt.Fprintln(w, "LAB\tHOST\tADDRESS\tRELEASE\tDRIVER\tSTATE")
			}
			for _, l := range labs {
				if len(l.Hosts) == 0 {
					fmt.Fprintf(w, "%s\t(half made: fabric lab down %[1]s)\n", l.Name)
				}
				for _, h := range l.Hosts {
					state := "off"
					if h.Running {
						state = "running"
					}
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", l.Name, h.Name, h.Address, h.Release, h.Driver, state)
				}
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newLabImageCommand() *cobra.Command {
	driver := lab.Nspawn
	cmd := &cobra.Command{
		Use:   "image RELEASE",
		Short: "Build a Debian release's image ahead of the first lab",
		Long:  `Build a Debian release's image, unless it is there, and print its folder.`,
		Example: `  sudo fabric lab image trixie
  sudo fabric lab image trixie --driver qemu`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			image, err := lab.Image(cmd.Context(), args[0], driver, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), image)
			return nil
		},
	}
	cmd.Flags().StringVar(&driver, "driver", driver, "what will run the hosts: "+strings.Join(lab.Drivers(), " or "))
	completeDrivers(cmd)
	return cmd
}

// openLab opens a lab by name, or the only one there is.
func openLab(name string) (*lab.Lab, error) {
	if err := lab.CheckMachine(); err != nil {
		return nil, err
	}
	if name == "" {
		labs, err := lab.List()
		if err != nil {
			return nil, err
		}
		if name, err = onlyLab(labs); err != nil {
			return nil, err
		}
	}
	return lab.Open(name)
}

func onlyLab(labs []lab.Info) (string, error) {
	switch len(labs) {
	case 0:
		return "", errors.New("no lab is up: fabric lab up scenarios/three-hosts")
	case 1:
		return labs[0].Name, nil
	}
	var names []string
	for _, l := range labs {
		names = append(names, l.Name)
	}
	return "", fmt.Errorf("several labs are up, choose one with --name: %s", strings.Join(names, ", "))
}

// become replaces this process by the command, so that terminal, signals and
// exit status are the command's own. It only returns if that fails.
func become(cmd *exec.Cmd) error {
	if cmd.Err != nil {
		return cmd.Err
	}
	if err := unix.Exec(cmd.Path, cmd.Args, os.Environ()); err != nil {
		return fmt.Errorf("%s: %w", cmd.Path, err)
	}
	return nil
}
