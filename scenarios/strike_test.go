//go:build privileged && (faults || soak)

package scenarios_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A strike is a fabric command that is stopped at a moment: the host's side
// by SIGSTOP, as soon as the operator's side tells the moment. So nothing in
// fabric has to know of tests; where the host's side has gone on meanwhile, it
// is the next moment. Where the operator's side could confirm meanwhile, that
// one is stopped first, and the host's log tells the moment.
type strike struct {
	l      *lane
	cmd    *exec.Cmd
	stdin  *os.File // the terminal that a command asks on
	struck bool
	late   string // what was over before it could be struck
	ended  chan struct{}

	mu       sync.Mutex
	before   []string // what stderr says first, in this order
	moment   string   // what stderr says then; "" where it does not
	operator bool     // it is the operator's side that is stopped
	reached  chan struct{}
	node     int   // pid of the host's side, as this machine sees it
	chain    []int // what is stopped: with the host's side also sudo, which stops itself then
	stderr   bytes.Buffer
	stdout   bytes.Buffer // until the command has ended it is the command's
}

// onceStopped are moments at which a first apply changes something only once
// dockerd has stopped: each step tells of them.
var onceStopped = []string{atLinks, atBoot, atDocker, atCheck, atSettle}

// begin starts a command and returns when its first host has come to the
// moment, or when the command has ended.
func (l *lane) begin(args []string, at string) *strike {
	l.t.Helper()
	s := &strike{l: l, ended: make(chan struct{}), reached: make(chan struct{})}
	switch at {
	case atGuard, atWritten, atRestored, atConfirmed, atDisarm, atEnd:
	case atPlan:
		s.moment = "[y/N]"
		args = slices.DeleteFunc(args, func(arg string) bool { return arg == "--yes" })
	default:
		order := strings.Split(at, andThen)
		moment := order[len(order)-1]
		if len(order) == 1 && l.base == "" && slices.Contains(onceStopped, moment) {
			order = []string{atStop, moment}
		}
		for _, earlier := range order[:len(order)-1] {
			s.before = append(s.before, l.hosts[0]+": "+earlier)
		}
		if moment == atCheck || moment == atSettle {
			moment, s.operator = atDocker, true
		}
		s.moment = l.hosts[0] + ": " + moment
	}
	s.cmd = l.command(args...)
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, s
	if at == atPlan {
		s.stdin, s.cmd.Stdin = terminal(l)
	}
	if err := s.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		_ = s.cmd.Wait() // how it ended is in ProcessState
		close(s.ended)
	}()
	switch at {
	case atGuard:
		go s.watchFile("/usr/local/lib/fabric/recover", true)
	case atWritten:
		go s.watchFile("/var/lib/fabric/journal.json", true)
	case atRestored, atConfirmed, atDisarm:
		gone := map[string]string{
			atRestored:  "/etc/docker/daemon.json",
			atConfirmed: "/var/lib/fabric/journal.json",
			atDisarm:    "/etc/systemd/system/multi-user.target.wants/fabric-recover.service",
		}[at]
		go func() {
			if s.waitFile("/var/lib/fabric/journal.json", true) {
				s.watchFile(gone, false)
			}
		}()
	}
	select {
	case <-s.reached:
		s.struck = true
	case <-s.ended:
		s.struck = at == atEnd && s.cmd.ProcessState.ExitCode() == 0
	}
	if s.struck && s.operator {
		s.awaitLog(strings.HasSuffix(at, atSettle))
	}
	return s
}

// awaitLog waits until the host looks again at what it has applied, or waits
// for its confirmation. In the first case the host's side is stopped then.
func (s *strike) awaitLog(confirmation bool) {
	s.l.t.Helper()
	const waiting = "waiting for the confirmation"
	s.l.eventually("the host has applied", time.Minute, func() bool {
		last := s.l.on(s.l.hosts[0], "journalctl -t fabric -n 1 -o cat")
		return strings.Contains(last, waiting) || !confirmation && strings.Contains(last, atCheck)
	})
	if !confirmation {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stopNode()
	}
}

// Write takes what the command says, and stops the host's side at the moment.
func (s *strike) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stderr.Write(p)
	said := s.stderr.String()
	if s.node == 0 && strings.Contains(said, s.l.hosts[0]+": "+atJournal) {
		s.node = s.l.process(s.l.hosts[0], "node", "--serve")
	}
	for _, earlier := range s.before {
		var found bool
		if _, said, found = strings.Cut(said, earlier); !found {
			return len(p), nil
		}
	}
	if s.moment != "" && strings.Contains(said, s.moment) {
		s.stop()
	}
	return len(p), nil
}

// stop stops the one side or the other. It is called with the lock held.
func (s *strike) stop() {
	s.moment = ""
	if s.operator {
		s.chain = append(s.chain, s.cmd.Process.Pid)
		_ = s.cmd.Process.Signal(syscall.SIGSTOP) // it may have ended
	} else {
		s.stopNode()
	}
	close(s.reached)
}

// stopNode stops the host's side. It is called with the lock held.
func (s *strike) stopNode() {
	if s.node != 0 {
		s.chain = append(s.chain, s.node, parent(s.node))
		_ = syscall.Kill(s.node, syscall.SIGSTOP) // it may have ended
	}
}

// waitFile waits until a file or a link of the host's is there, or not there, and
// says whether it came to that.
func (s *strike) waitFile(path string, there bool) bool {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		node := s.node
		s.mu.Unlock()
		if node != 0 {
			_, err := os.Lstat(fmt.Sprintf("/proc/%d/root%s", node, path))
			if err == nil && there || errors.Is(err, fs.ErrNotExist) && !there {
				return true
			}
		}
		select {
		case <-tick.C:
		case <-s.ended:
			return false
		}
	}
}

// watchFile makes a file the moment.
func (s *strike) watchFile(path string, there bool) {
	if s.waitFile(path, there) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stop()
	}
}

// goOn lets what is stopped go on.
func (s *strike) goOn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range s.chain {
		_ = syscall.Kill(pid, syscall.SIGCONT) // the fault may have ended it
	}
}

// resume lets what is stopped go on, and the operator say yes.
func (s *strike) resume() {
	s.goOn()
	if s.stdin != nil {
		if _, err := s.stdin.WriteString("y\n"); err != nil {
			s.l.t.Error(err)
		}
	}
}

// wait waits until the command has ended, or for so long.
func (s *strike) wait(within time.Duration) {
	select {
	case <-s.ended:
	case <-time.After(within):
	}
}

func (s *strike) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.ended:
		return s.stderr.String() + s.stdout.String()
	default:
		return s.stderr.String()
	}
}

// kill ends the host's side at once.
func (s *strike) kill() {
	s.l.t.Helper()
	if s.node == 0 {
		s.l.t.Fatal("there is no host's side to kill")
	}
	s.end(s.node, "the host's side")
}

// end kills a process, unless that is too late: its number may be another's.
func (s *strike) end(pid int, what string) {
	s.l.t.Helper()
	if s.late != "" {
		return
	}
	err := syscall.Kill(pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		s.late = what
		return
	}
	s.l.check(err)
}

// goBack kills the host's side and waits until fabric-watch, which has waited
// for that, goes back. It returns the pid of that.
func (s *strike) goBack() int {
	s.l.t.Helper()
	watch := s.l.awaitProcess(s.l.hosts[0], "node", "watch")
	s.kill()
	ctx, cancel := context.WithTimeout(s.l.t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond) // it may take a tenth of a second
	defer tick.Stop()
	for {
		holder, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/run/fabric.lock", watch))
		if err != nil {
			s.late = "fabric-watch"
			return watch
		}
		if bytes.Contains(holder, []byte("fabric-watch")) {
			return watch
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.l.t.Fatal("fabric-watch does not go back")
		}
	}
}

// process is the pid, as this machine sees it, of a host's process that was
// started with these arguments in a row; 0 where there is none. A child that
// has only been forked yet has them too, and is not meant. A lab keeps each
// host's processes in a cgroup of its own.
func (l *lane) process(host string, args ...string) int {
	argv := "\x00" + strings.Join(args, "\x00") + "\x00"
	var found []int
	for _, hierarchy := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		dir := filepath.Join(hierarchy, "fabric-lab-"+l.lab.Spec.Name, "hosts", host)
		// Cgroups come and go during the walk.
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error {
			pids, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			if err != nil {
				return nil
			}
			for _, field := range strings.Fields(string(pids)) {
				cmdline, err := os.ReadFile("/proc/" + field + "/cmdline")
				if pid, numErr := strconv.Atoi(field); err == nil && numErr == nil && strings.Contains("\x00"+string(cmdline), argv) {
					found = append(found, pid)
				}
			}
			return nil
		})
	}
	for _, pid := range found {
		if !slices.Contains(found, parent(pid)) {
			return pid
		}
	}
	return 0
}

// parent is the parent of a process, field 4 of proc_pid_stat(5), or 0. The
// second field, in parentheses, may hold spaces.
func parent(pid int) int {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, _ := strconv.Atoi(fields[1])
	return ppid
}

// awaitProcess waits until there is such a process.
func (l *lane) awaitProcess(host string, args ...string) int {
	l.t.Helper()
	pid := 0
	l.eventually(strings.Join(args, " ")+" on "+host, time.Minute, func() bool {
		pid = l.process(host, args...)
		return pid != 0
	})
	return pid
}

// terminal makes a pseudo-terminal, pty(7).
func terminal(l *lane) (master, slave *os.File) {
	l.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		l.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		l.t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { slave.Close() })
	return master, slave
}
