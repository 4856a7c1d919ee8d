// Package remote is the operator's session with a host: one ssh connection,
// over which the host's side of fabric is started and talked to.
package remote

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"os/user"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/internal/printable"
	"github.com/ovsfabric/fabric/internal/sshword"
)

// Target is where a host is and how to get in. What is zero is left to
// ssh's own configuration.
type Target struct {
	Name     string // the host's name in the fabric
	Fabric   string // the fabric's name
	Address  string
	User     string
	Port     int
	Identity string // a file
	Config   string // ssh -F
	Sudo     bool   // become root where the user is not
}

// Session is a connection to a host's side. Its calls are made one after
// the other.
type Session struct {
	Host    string
	Program string // the program on the other side, as build.ID tells it
	Arch    string // of the host, as Go names it

	mu     sync.Mutex
	conn   *wire.Conn
	stdin  io.WriteCloser
	stderr *tail
	wait   func() error
	kill   func()

	closeWithin time.Duration
}

// Error is a host that could not be reached or that cannot be worked with.
type Error struct {
	Host   string
	Reason string
	Cure   string
	Silent bool  // nobody answered: the host may be down
	Err    error // what ssh said; may be nil
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s: %s", e.Host, e.Reason, e.Cure)
}

func (e *Error) Unwrap() error { return e.Err }

// Unanswered reports whether an error of Dial or Call is that of a host that
// is down or cut off, in contrast to one that answers and refuses.
func Unanswered(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Silent || errors.Is(err, ErrLost)
}

// Dial connects to a host with the system's ssh and starts the program for the
// host's architecture there, sending it first if the host lacks it. Where ctx
// ends first, Dial ends at once; afterwards ctx has no hold on the session.
func Dial(ctx context.Context, t Target, programs *Programs) (*Session, error) {
	if err := t.check(); err != nil {
		return nil, err
	}
	cmd := exec.Command("ssh", sshArgs(t, patience.Factor(ctx))...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s := &Session{Host: t.Name, stdin: stdin, stderr: &tail{secret: t.Identity}, closeWithin: patience.Stretch(ctx, closeTimeout)}
	cmd.Stderr = s.stderr
	cmd.WaitDelay = lastWords // what ssh starts for itself may hold stderr open for longer
	separateGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, &Error{Host: t.Name, Reason: "ssh cannot be started", Cure: "install the OpenSSH client", Err: err}
	}
	s.wait = sync.OnceValue(cmd.Wait)
	s.kill = func() { _ = cmd.Process.Kill() } // it may have ended
	// Nothing has begun on the host yet, so ssh may be ended anywhere.
	stop := context.AfterFunc(ctx, s.kill)
	err = s.start(bufio.NewReader(stdout), programs, wire.Start{Fabric: t.Fabric, Operator: operator(), Patience: patience.Factor(ctx)})
	if stop() && err == nil {
		return s, nil
	}
	s.end()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return nil, s.explain(t, err)
}

// lastWords is how long an ssh that has failed has to say why.
const lastWords = 2 * time.Second

// end closes a session that did not come about.
func (s *Session) end() {
	s.stdin.Close()
	timer := time.AfterFunc(lastWords, s.kill)
	defer timer.Stop()
	_ = s.wait() // start's error is the one to tell
}

// check refuses what could become an option, or part of a shell command, on
// its way through ssh. A file has been checked already; a lock has not.
func (t Target) check() error {
	if !sshword.Host(t.Address) || t.User != "" && !sshword.User(t.User) {
		return &Error{Host: t.Name, Reason: "its address or user is nothing that ssh can be given", Cure: "correct ssh= of the host in the lock"}
	}
	if t.Identity != "" && !sshword.Path(t.Identity) {
		return &Error{Host: t.Name, Reason: "ssh would replace a part of the path to its key", Cure: "move the fabric's file or the key to where the path has no % and $"}
	}
	return nil
}

// sshArgs has nothing of the file in it that a shell would see: the remote
// command is a constant. Host keys are checked as the user's own
// configuration says; BatchMode has an unknown one refused. The user's agent
// stays here, whatever the configuration has: a host is not trusted with it.
// Factor is what its deadlines are multiplied by.
func sshArgs(t Target, factor float64) []string {
	args := []string{
		"-T", "-a", "-x", "-o", "BatchMode=yes", "-o", fmt.Sprintf("ConnectTimeout=%.0f", math.Ceil(10*factor)),
		"-o", "RemoteCommand=none", "-o", "ClearAllForwardings=yes", // whatever the user's configuration has for people
		"-o", "ServerAliveInterval=5", "-o", fmt.Sprintf("ServerAliveCountMax=%.0f", math.Ceil(3*factor)),
	}
	add := func(flag, value string) {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	add("-F", t.Config)
	add("-i", t.Identity)
	add("-l", t.User)
	if t.Port != 0 {
		add("-p", strconv.Itoa(t.Port))
	}
	return append(args, "--", t.Address, remoteCommand(t))
}

// start talks to the bootstrap script until the program runs.
func (s *Session) start(out *bufio.Reader, programs *Programs, first wire.Start) error {
	fields, err := expect(out, "fabric-host")
	if err != nil {
		return err
	}
	if len(fields) != 2 || fields[0] != "Linux" {
		system := cmp.Or(strings.Join(fields, " "), "something that does not say what it is")
		return &Error{Host: s.Host, Reason: "it runs " + system, Cure: "fabric works on Linux hosts"}
	}
	s.Arch = goArch(fields[1])
	if !architecture.MatchString(s.Arch) {
		return &Error{Host: s.Host, Reason: "it does not say what machine it is", Cure: "see what uname -m prints there"}
	}
	program, err := programs.For(s.Arch)
	if err != nil {
		return &Error{
			Host: s.Host, Reason: "this machine has no fabric for " + s.Arch,
			Cure: "build it (GOARCH=" + s.Arch + ") and put it beside this one as fabric-linux-" + s.Arch, Err: err,
		}
	}
	s.Program = program.Build
	if _, err := fmt.Fprintln(s.stdin, program.Size, program.Build); err != nil {
		return err
	}
	answer, err := expect(out, "fabric-program")
	if err != nil {
		return err
	}
	if len(answer) == 1 && answer[0] == "missing" {
		packed, err := program.Packed()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(s.stdin, len(packed)); err != nil {
			return err
		}
		if _, err := io.Copy(s.stdin, bytes.NewReader(packed)); err != nil {
			return err
		}
	}
	s.conn = wire.NewConn(out, s.stdin)
	var hello wire.Hello
	if err := s.conn.Receive(&hello); err != nil {
		return err
	}
	if hello.Version != wire.Version || hello.Program != program.Build {
		return fmt.Errorf("the host runs another build of fabric (%.12q, protocol %d) than it was sent (%.12q, protocol %d)",
			hello.Program, hello.Version, program.Build, wire.Version)
	}
	return s.conn.Send(first)
}

// operator is USER@MACHINE, for whom else works on the host. By sudo, it is
// the user who called it.
func operator() string {
	name := os.Getenv("SUDO_USER")
	if u, err := user.Current(); name == "" && err == nil {
		name = u.Username
	}
	machine, err := os.Hostname()
	if err != nil {
		return name
	}
	return name + "@" + machine
}

// maxNoise bounds what a host's login scripts may print before ours does.
const maxNoise = 64 << 10

// expect reads lines up to one that starts with the marker and returns the
// words after it. Login scripts may print things before, in lines of any
// length.
func expect(r *bufio.Reader, marker string) ([]string, error) {
	begins := true // whether what is read next begins a line
	for noise := 0; noise < maxNoise; {
		line, err := r.ReadSlice('\n')
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if words := strings.Fields(printable.Text(string(line))); begins && len(words) > 0 && words[0] == marker {
			return words[1:], nil
		}
		begins = err == nil
		noise += len(line)
	}
	return nil, errors.New("the host's login scripts print without end")
}

// architecture is what Go and uname(1) call one. It becomes part of a path.
var architecture = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)

func goArch(machine string) string {
	switch machine {
	case "x86_64":
		return "amd64"
	case "aarch64":
		return "arm64"
	case "armv6l", "armv7l":
		return "arm"
	case "i386", "i686":
		return "386"
	}
	return machine
}

// Call sends one request and waits for the reply that ends it. Where ctx
// ends first, the session is given up, and the host goes back to what was.
func (s *Session) Call(ctx context.Context, req wire.Request, progress func(string)) (wire.Reply, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stop := context.AfterFunc(ctx, func() { s.stdin.Close() })
	defer stop()
	if err := s.conn.Send(req); err != nil {
		return wire.Reply{}, s.lost(ctx, err)
	}
	for {
		var reply wire.Reply
		if err := s.conn.Receive(&reply); err != nil {
			return wire.Reply{}, s.lost(ctx, err)
		}
		reply.Clean()
		switch {
		case reply.Progress != "":
			if progress != nil {
				progress(reply.Progress)
			}
		case reply.Error != nil:
			return reply, reply.Error
		default:
			return reply, nil
		}
	}
}

// ErrLost means that the connection ended in the middle of a call. A host
// whose apply was not confirmed goes back to what it was by itself.
var ErrLost = errors.New("the session with the host was lost")

func (s *Session) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the host's side has ended")
	}
	if said := s.stderr.String(); said != "" {
		return fmt.Errorf("%w: %w: %s", ErrLost, err, said)
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// closeTimeout is how long a host has to go back and end its session, unless
// more patience was asked for.
const closeTimeout = 3 * time.Minute

// Close ends the session and waits until the host's side has ended. It
// returns nil where that has ended in peace: it has then gone back from an
// apply that was not confirmed.
func (s *Session) Close() error {
	s.stdin.Close()
	timer := time.AfterFunc(s.closeWithin, s.kill)
	defer timer.Stop()
	if err := s.wait(); err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		return fmt.Errorf("%s: the session did not end well: %w", s.Host, err)
	}
	return nil
}

// tail keeps the end of what was written to it, which is ssh's words and the
// host's.
type tail struct {
	secret string // what it does not repeat, if anything
	mu     sync.Mutex
	buf    []byte
}

const tailSize = 8 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - tailSize; over > 0 {
		t.buf = t.buf[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := string(t.buf)
	if t.secret != "" {
		said = strings.ReplaceAll(said, t.secret, "IDENTITY")
	}
	return printable.Text(strings.TrimSpace(said))
}
