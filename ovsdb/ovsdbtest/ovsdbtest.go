//go:build privileged

// Package ovsdbtest runs a real Open vSwitch for tests.
package ovsdbtest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startTime is what the servers have to start, and ovs-vsctl to see its
// change configured.
const startTime = 20 * time.Second

// A Switch is an ovsdb-server and an ovs-vswitchd in a network namespace of
// its own, on files of its own.
type Switch struct {
	Endpoint string // of the database, "unix:PATH"
	Dir      string // sockets, pidfiles, logs and the database

	t      testing.TB
	server *process
	daemon *process
}

// A process is a server that runs in the foreground.
type process struct {
	*os.Process
	ended chan struct{} // closed once it is waited for
}

// Start runs a switch without any bridge until the test ends. It fails the
// test if it is not run as root.
func Start(t testing.TB) *Switch {
	t.Helper()
	s := StartDatabase(t)
	s.StartDaemon()
	return s
}

// StartDatabase is Start without ovs-vswitchd.
func StartDatabase(t testing.TB) *Switch {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("Open vSwitch needs root")
	}
	// Not t.TempDir: a socket's path has 108 bytes at most (unix(7)).
	dir, err := os.MkdirTemp("", "ovs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})

	s := &Switch{Endpoint: "unix:" + filepath.Join(dir, "db.sock"), Dir: dir, t: t}
	database := filepath.Join(dir, "conf.db")
	s.run("ovsdb-tool", "create", database, "/usr/share/openvswitch/vswitch.ovsschema")
	s.server = s.start(&syscall.SysProcAttr{}, "ovsdb-server", database, "--remote=p"+s.Endpoint)
	s.await(filepath.Join(dir, "db.sock"))
	s.run("ovs-vsctl", "--db="+s.Endpoint, "--retry", "--timeout="+seconds(startTime), "--no-wait", "init")
	return s
}

// StartDaemon starts ovs-vswitchd and returns when it has configured what
// the database says.
func (s *Switch) StartDaemon() {
	s.t.Helper()
	s.daemon = s.start(&syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET}, "ovs-vswitchd", s.Endpoint)
	s.Vsctl("set", "Open_vSwitch", ".", "external_ids:started=true")
	s.Vsctl("remove", "Open_vSwitch", ".", "external_ids", "started")
}

// StopDaemon kills ovs-vswitchd, as a crash does.
func (s *Switch) StopDaemon() {
	s.t.Helper()
	s.daemon.stop()
	s.daemon = nil
}

// FreezeServer stops ovsdb-server without ending it, until thaw is called.
func (s *Switch) FreezeServer() (thaw func()) { return s.freeze(s.server) }

// FreezeDaemon does so with ovs-vswitchd.
func (s *Switch) FreezeDaemon() (thaw func()) { return s.freeze(s.daemon) }

func (s *Switch) freeze(p *process) (thaw func()) {
	s.t.Helper()
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
	return func() {
		s.t.Helper()
		if err := p.Signal(syscall.SIGCONT); err != nil {
			s.t.Fatal(err)
		}
	}
}

// await returns when a file is there, as a server's socket once it listens.
func (s *Switch) await(path string) {
	s.t.Helper()
	deadline := time.After(startTime)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return
		}
		select {
		case <-deadline:
			s.t.Fatalf("%s did not appear within %s", path, startTime)
		case <-tick.C:
		}
	}
}

// Vsctl runs ovs-vsctl, which waits for ovs-vswitchd where it runs, and
// returns what it prints.
func (s *Switch) Vsctl(args ...string) string {
	s.t.Helper()
	options := []string{"--db=" + s.Endpoint, "--timeout=" + seconds(startTime)}
	if s.daemon == nil {
		options = append(options, "--no-wait")
	}
	return s.run("ovs-vsctl", append(options, args...)...)
}

// Appctl asks ovs-vswitchd by ovs-appctl(8).
func (s *Switch) Appctl(args ...string) string {
	s.t.Helper()
	socket := filepath.Join(s.Dir, "ovs-vswitchd."+strconv.Itoa(s.daemon.Pid)+".ctl")
	return s.run("ovs-appctl", append([]string{"--target=" + socket}, args...)...)
}

// Exec runs a command in the network namespace of ovs-vswitchd.
func (s *Switch) Exec(args ...string) string {
	s.t.Helper()
	return s.run("nsenter", append([]string{"--net=/proc/" + strconv.Itoa(s.daemon.Pid) + "/ns/net"}, args...)...)
}

// Dump returns the rows that configure bridges, in a form that is the same
// whenever they are.
func (s *Switch) Dump() string {
	s.t.Helper()
	var all strings.Builder
	for _, table := range []string{
		"Bridge name,datapath_type,stp_enable,rstp_enable,other_config,external_ids",
		"Port name,other_config,external_ids",
		"Interface name,type,options,bfd,mtu_request",
	} {
		name, columns, _ := strings.Cut(table, " ")
		lines := strings.Split(strings.TrimSpace(s.Vsctl("--format=csv", "--columns="+columns, "list", name)), "\n")
		slices.Sort(lines)
		all.WriteString(name + "\n" + strings.Join(lines, "\n") + "\n")
	}
	return all.String()
}

func (s *Switch) start(attr *syscall.SysProcAttr, program string, args ...string) *process {
	s.t.Helper()
	log := filepath.Join(s.Dir, program+".log")
	cmd := exec.Command(program, append(args,
		"--pidfile="+filepath.Join(s.Dir, program+".pid"), "--log-file="+log, "-vconsole:off", "-vsyslog:off")...)
	cmd.Env = s.environment()
	attr.Pdeathsig = syscall.SIGKILL // where the test has no time to clean up
	cmd.SysProcAttr = attr

	p := &process{ended: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.ended)
		// The parent whose death counts is the thread (prctl(2),
		// PR_SET_PDEATHSIG), so it must be no other goroutine's.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it ends by being killed
		}
	}()
	if err := <-started; err != nil {
		s.t.Fatal(err)
	}
	p.Process = cmd.Process
	s.t.Cleanup(func() {
		p.stop()
		if s.t.Failed() {
			if text, err := os.ReadFile(log); err == nil {
				s.t.Logf("%s:\n%s", filepath.Base(log), text)
			}
		}
	})
	return p
}

func (p *process) stop() {
	_ = p.Kill() // fails where it has ended
	<-p.ended
}

func (s *Switch) run(program string, args ...string) string {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*startTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = s.environment()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return stdout.String()
}

func (s *Switch) environment() []string {
	return append(os.Environ(), "OVS_RUNDIR="+s.Dir, "OVS_LOGDIR="+s.Dir, "OVS_DBDIR="+s.Dir)
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }
