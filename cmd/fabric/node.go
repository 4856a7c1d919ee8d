package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"log/syslog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ovsfabric/fabric/dockercfg"
	"github.com/ovsfabric/fabric/host"
	"github.com/ovsfabric/fabric/host/boot"
	"github.com/ovsfabric/fabric/host/link"
	"github.com/ovsfabric/fabric/host/probe"
	"github.com/ovsfabric/fabric/internal/build"
	"github.com/ovsfabric/fabric/ovsdb"
	"github.com/ovsfabric/fabric/templates"
)

// stateDir is where a host keeps its journal.
const stateDir = "/var/lib/fabric"

// lockFile is what an apply holds a lock on. It is gone with a reboot.
const lockFile = "/run/fabric.lock"

func newNodeCommand() *cobra.Command {
	var serve bool
	var remove string
	c := &cobra.Command{
		Use:    "node",
		Short:  "The host's side of fabric",
		Hidden: true,
		Long: `The host's side of fabric. The operator's fabric starts it over ssh and talks
to it on standard input and output; started by hand it does nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f, ok := cmd.InOrStdin().(*os.File); !serve || ok && term.IsTerminal(int(f.Fd())) {
				return errByHand
			}
			return serveNode(cmd, remove)
		},
	}
	c.Flags().BoolVar(&serve, "serve", false, "talk to the operator's side on standard input and output")
	c.Flags().StringVar(&remove, "remove", "", "the `FOLDER` that the program was received into")
	c.AddCommand(
		&cobra.Command{
			Use:   "restore",
			Short: "Make the links again after a boot, and take away what a power cut left",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				if err := boot.NewGuard("", false).Sweep(); err != nil { // dockerd waits for the links, not for this
					unitLog(cmd.ErrOrStderr()).Warn("what guarded an apply cannot be taken away", "error", err)
				}
				return link.Restore(cmd.Context(), templates.HostFile)
			},
		},
		&cobra.Command{
			Use:   "arm",
			Short: "Make ready to go back from an apply that is cut off",
			Args:  noArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return boot.NewGuard("", false).Install(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "watch",
			Short: "Go back from an apply as soon as it is cut off",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				log := unitLog(cmd.ErrOrStderr())
				return host.Watch(cmd.Context(), func(fabric string) *host.Host {
					return newHost(fabric, boot.New("", false), boot.NewGuard("", true), log).Host
				})
			},
		},
		&cobra.Command{
			Use:   "recover",
			Short: "Go back from an apply that the last boot cut off, before Docker starts",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				log := unitLog(cmd.ErrOrStderr())
				return host.BeforeDocker(cmd.Context(), func(fabric string) *host.Host {
					return newHost(fabric, boot.New("", true), boot.NewGuard("", false), log).Host
				})
			},
		},
		&cobra.Command{
			Use:   "rejoin",
			Short: "Put the switch back into the bridge after it was restarted",
			Args:  noArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return link.Rejoin(cmd.Context()) },
		},
		&cobra.Command{
			Use:   "probe-container",
			Short: "Wait in a container until standard input ends",
			Args:  noArgs,
			RunE:  func(cmd *cobra.Command, _ []string) error { return probe.Idle(cmd.Context(), cmd.InOrStdin()) },
		},
		&cobra.Command{
			Use:   "ping",
			Short: "Ping as a request on standard input says",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return probe.ServePing(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
			},
		},
		&cobra.Command{
			Use:   "arp",
			Short: "Ask by ARP as a request on standard input says",
			Args:  noArgs,
			RunE: func(cmd *cobra.Command, _ []string) error {
				return probe.ServeARP(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout())
			},
		},
	)
	return c
}

// errByHand is for whoever has found the program on a host.
var errByHand = errors.New("this is the host's side of fabric, which the operator's side starts over ssh and talks to. " +
	"Started by hand it does nothing: fabric plan, on the machine that has the fabric's file, shows what the fabric makes of this host")

// collectLate has the garbage collector wait until there is something to
// gain: most sessions end before.
func collectLate() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(128 << 20)
}

func serveNode(cmd *cobra.Command, remove string) error {
	if remove != "" {
		if err := removeReceived(remove); err != nil {
			return err
		}
	}
	// A lost operator is noticed by the end of standard input, whatever
	// signal comes with it.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	syscall.Umask(0o022) // the program was received under a stricter one
	collectLate()
	own, err := ownBuild()
	if err != nil {
		return err
	}
	log, closeLog := sessionLog()
	defer closeLog()
	var prober *probe.Prober
	err = host.Serve(cmd.Context(), own, func(fabric string) (*host.Host, host.Prober) {
		n := newHost(fabric, boot.New("", false), boot.NewGuard("", false), log)
		prober = &probe.Prober{
			Tree: n.switchdb.Tree, DockerHost: "unix://" + dockercfg.DefaultPaths().Socket, Program: "/proc/self/exe", Iperf: "iperf3",
		}
		return n.Host, prober
	}, cmd.InOrStdin(), cmd.OutOrStdout())
	if prober != nil {
		err = errors.Join(err, prober.Close(cmd.Context()))
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// removeReceived removes the folder that the running program was received
// into, and no other. The kernel keeps the program until the process ends.
func removeReceived(folder string) error {
	running, err := os.Stat("/proc/self/exe")
	if err != nil {
		return err
	}
	received, err := os.Lstat(filepath.Join(folder, "fabric"))
	if err != nil {
		return err
	}
	if !os.SameFile(running, received) {
		return fmt.Errorf("%s does not hold the program that is running, and is left as it is", folder)
	}
	return os.RemoveAll(folder)
}

// hostSide is this machine's part of a fabric, and what a session asks beside it.
type hostSide struct {
	*host.Host
	switchdb *ovsdb.Resource
}

func newHost(fabric string, units *boot.Resource, guard *boot.Guard, log *slog.Logger) hostSide {
	switchdb := ovsdb.New(ovsdb.Socket, fabric)
	docker := dockercfg.New(dockercfg.DefaultPaths())
	return hostSide{switchdb: switchdb, Host: &host.Host{
		Resources: []host.Resource{switchdb, &link.Resource{Moved: switchdb.Forget}, units, docker},
		Docker:    docker,
		Switch:    switchdb,
		Guard:     guard,
		Dir:       stateDir,
		Own:       []string{stateDir, filepath.Dir(templates.HostFile), filepath.Dir(templates.Program)},
		Lock:      lockFile,
		Log:       log,
	}}
}

// sessionLog writes to the system's log, under the name fabric. A host
// without one is no reason not to work there.
func sessionLog() (log *slog.Logger, end func()) {
	w, err := syslog.New(syslog.LOG_DAEMON|syslog.LOG_INFO, "fabric")
	if err != nil {
		return slog.New(slog.DiscardHandler), func() {}
	}
	return unitLog(w), func() { _ = w.Close() }
}

// unitLog writes lines for a log that gives each its time.
func unitLog(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
}

// ownBuild is the running program, as build.ID tells it.
func ownBuild() (string, error) { return build.ID("/proc/self/exe") }
