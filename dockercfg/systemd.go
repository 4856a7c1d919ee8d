package dockercfg

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/ovsfabric/fabric/internal/patience"
)

const (
	serviceUnit = "docker.service"
	socketUnit  = "docker.socket"
)

// A unit is what systemd says of docker.service or docker.socket.
type unit struct {
	loaded bool
	masked bool   // systemctl(1), mask
	state  string // ActiveState of org.freedesktop.systemd1(5)
	pid    int    // 0 where no process runs
}

// ready says that dockerd has told systemd that it serves (sd_notify(3)).
func (u unit) ready() bool {
	return u.pid != 0 && (u.state == "active" || u.state == "reloading")
}

// starting says that dockerd runs and has not told systemd yet.
func (u unit) starting() bool {
	return u.pid != 0 && u.state == "activating"
}

// askSystemd asks for a unit over systemd's own socket, for less than a
// systemctl costs, in every plan.
func askSystemd(ctx context.Context, name string) (unit, error) {
	failed := func(err error) (unit, error) { return unit{}, fmt.Errorf("ask systemd about %s: %w", name, err) }
	systemd, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return failed(err)
	}
	defer systemd.Close()
	load, err := systemd.GetUnitPropertyContext(ctx, name, "LoadState")
	if err != nil {
		return failed(err)
	}
	active, err := systemd.GetUnitPropertyContext(ctx, name, "ActiveState")
	if err != nil {
		return failed(err)
	}
	var u unit
	u.state, _ = active.Value.Value().(string)
	u.loaded, u.masked = load.Value.Value() == "loaded", load.Value.Value() == "masked"
	if !strings.HasSuffix(name, ".service") {
		return u, nil
	}
	main, err := systemd.GetServicePropertyContext(ctx, name, "MainPID")
	if err != nil {
		return failed(err)
	}
	pid, _ := main.Value.Value().(uint32)
	u.pid = int(pid)
	return u, nil
}

// stopUnits stops dockerd, and its socket with it: a client that connects
// to docker.socket would start dockerd again.
func (r *Resource) stopUnits(ctx context.Context) error {
	names := []string{"stop"}
	for _, name := range []string{socketUnit, serviceUnit} {
		u, err := r.unit(ctx, name)
		if err != nil {
			return err
		}
		if u.loaded {
			names = append(names, name)
		}
	}
	if len(names) == 1 {
		return nil
	}
	// systemd goes on with a stop whose systemctl is gone, and whoever goes
	// back after that would meet a dockerd half way.
	if _, err := r.run(context.WithoutCancel(ctx), "systemctl", names...); err != nil {
		return fmt.Errorf("stop dockerd: %w", err)
	}
	return nil
}

// start starts dockerd and waits until it answers. docker.service requires
// docker.socket, which comes up with it.
func (r *Resource) start(ctx context.Context) error {
	// Debian's docker.service may start three times in 60 seconds, its
	// socket five times in ten; beyond that systemd refuses until the
	// counters are reset (systemd.unit(5), StartLimitBurst=). A unit that
	// is not loaded has none, and then the command fails.
	_, resetErr := r.run(ctx, "systemctl", "reset-failed", serviceUnit, socketUnit)
	// A dockerd that is about to start has read the former configuration:
	// restart, not start.
	if _, err := r.run(ctx, "systemctl", "restart", serviceUnit); err != nil {
		return r.startError(ctx, errors.Join(err, resetErr))
	}
	if err := r.answered(ctx); err != nil {
		return r.startError(ctx, err)
	}
	return nil
}

// journalLines is how much of dockerd's log an error shows.
const journalLines = "20"

func (r *Resource) startError(ctx context.Context, err error) error {
	// The log is read even when ctx, and with it the start, has ended.
	ctx, cancel := patience.TimeoutAfter(ctx, 5*time.Second)
	defer cancel()
	log, logErr := r.run(ctx, "journalctl", "-u", serviceUnit, "-n", journalLines, "--no-pager", "-o", "cat")
	if logErr != nil {
		return fmt.Errorf("dockerd does not start: %w; its log cannot be read either: %w", err, logErr)
	}
	return fmt.Errorf("dockerd does not start: %w; the end of its log (journalctl -u %s):\n%s\nmend what the log names, then run this again",
		err, serviceUnit, strings.TrimSpace(string(log)))
}
