package lab

import (
	"context"
	"os"
	"os/exec"
)

// ctlScript makes the operator's machine out of this one: the lab's folder for
// root's ~/.ssh, which ssh finds by the user database and not by $HOME, and the
// hosts' names.
const ctlScript = `
mkdir -p -m 0700 ~root/.ssh && mount --bind "$1" ~root/.ssh && mount --bind "$2" /etc/hosts || exit
shift 2
exec "$@"`

// Ctl returns a command that runs where an operator would sit: on the underlay,
// at the controller's address, with a key for the hosts' users root, ops and
// nosudo, and with the hosts' keys known. Without argv it is a shell. It runs in
// the current folder, as this machine's root.
func (l *Lab) Ctl(ctx context.Context, argv ...string) *exec.Cmd {
	if len(argv) == 0 {
		argv = []string{"bash"}
	}
	return exec.CommandContext(ctx, "nsenter", append([]string{
		"--net=" + l.names.netnsPath(controllerName),
		"unshare", "--mount", "--propagation", "slave",
		"sh", "-c", ctlScript, "ctl", l.names.ssh(), l.names.hostsFile(),
	}, argv...)...)
}

// Sh returns a command that runs as root inside a host, and needs no network of
// the host's. Without argv it is a login shell. On a host that is not running,
// the command fails to start.
func (l *Lab) Sh(ctx context.Context, host string, argv ...string) *exec.Cmd {
	if len(argv) == 0 {
		argv = []string{"bash", "--login"}
	}
	d, err := l.driverOf(host)
	if err != nil {
		return &exec.Cmd{Err: err}
	}
	return d.sh(ctx, host, append([]string{
		"env", "--ignore-environment",
		"HOME=/root", "USER=root", "LOGNAME=root", "SHELL=/bin/bash", "LANG=C.UTF-8",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=" + os.Getenv("TERM"),
	}, argv...))
}
