package probe

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/internal/patience"
)

const (
	iperfStart   = 5 * time.Second  // until a server listens
	iperfConnect = 5 * time.Second  // until a client has reached its server
	iperfGrace   = 10 * time.Second // beyond a test's duration
)

// iperfServer is a running iperf3 server.
type iperfServer struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

// startIperf starts a server for one test and returns when it listens.
func (p *Prober) startIperf(ctx context.Context, req wire.IperfServerRequest) (wire.IperfServerResult, error) {
	if err := p.stopIperf(); err != nil {
		return wire.IperfServerResult{}, err
	}
	port, err := freePort(ctx, req.Address)
	if err != nil {
		return wire.IperfServerResult{}, fmt.Errorf("iperf3 server: %w", err)
	}
	// The server outlives this probe: Close ends it, not ctx.
	cmd := exec.Command(p.Iperf, "-s", "-1", "--forceflush",
		"-B", req.Address.String(), "-p", strconv.Itoa(int(port)))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return wire.IperfServerResult{}, fmt.Errorf("iperf3 server: %w", err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	started := make(chan error)
	listening := make(chan struct{})
	server := &iperfServer{cmd: cmd, exited: make(chan struct{})}
	go func() {
		// PR_SET_PDEATHSIG is about the thread that forked, so that thread
		// has to stay; see prctl(2).
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(server.exited)
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "Server listening on") {
				close(listening)
				break
			}
		}
		_, _ = io.Copy(io.Discard, stdout)
		_ = cmd.Wait()
	}()
	if err := <-started; err != nil {
		return wire.IperfServerResult{}, iperfMissing(err)
	}
	p.server = server

	timeout := time.NewTimer(patience.Stretch(ctx, iperfStart))
	defer timeout.Stop()
	select {
	case <-listening:
		return wire.IperfServerResult{Port: port}, nil
	case <-server.exited:
		err = fmt.Errorf("%s: %s", strings.Join(cmd.Args, " "), strings.TrimSpace(stderr.String()))
	case <-timeout.C:
		err = fmt.Errorf("%s: does not listen after %v", strings.Join(cmd.Args, " "), patience.Stretch(ctx, iperfStart))
	case <-ctx.Done():
		err = fmt.Errorf("iperf3 server: %w", ctx.Err())
	}
	return wire.IperfServerResult{}, errors.Join(err, p.stopIperf())
}

// stopIperf ends the server if there is one.
func (p *Prober) stopIperf() error {
	if p.server == nil {
		return nil
	}
	server := p.server
	p.server = nil
	select {
	case <-server.exited:
		return nil
	default:
	}
	if err := server.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop iperf3: %w", err)
	}
	<-server.exited
	return nil
}

// runIperf runs one test as the client.
func (p *Prober) runIperf(ctx context.Context, req wire.IperfClientRequest) (wire.IperfClientResult, error) {
	if req.Duration < time.Second {
		return wire.IperfClientResult{}, fmt.Errorf("iperf3: a duration of %v is under 1 s", req.Duration)
	}
	connect := patience.Stretch(ctx, iperfConnect)
	ctx, cancel := context.WithTimeout(ctx, req.Duration+connect+patience.Stretch(ctx, iperfGrace))
	defer cancel()
	args := []string{
		"-c", req.Server.Addr().String(), "-p", strconv.Itoa(int(req.Server.Port())),
		"-t", strconv.Itoa(int(req.Duration / time.Second)),
		"--connect-timeout", strconv.FormatInt(connect.Milliseconds(), 10), "-J",
	}
	if req.Source.IsValid() {
		args = append(args, "-B", req.Source.String())
	}
	cmd := exec.CommandContext(ctx, p.Iperf, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return wire.IperfClientResult{Error: "the test hangs: connected, but no data comes through"}, nil
	}
	if ctx.Err() != nil {
		return wire.IperfClientResult{}, fmt.Errorf("iperf3: %w", ctx.Err())
	}
	// iperf3 -J reports a failed test in its JSON and exits with status 1.
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		return wire.IperfClientResult{}, iperfMissing(err)
	}
	return parseIperf(out)
}

// parseIperf reads what iperf3 -J prints for a TCP test.
func parseIperf(out []byte) (wire.IperfClientResult, error) {
	var report struct {
		Error string `json:"error"`
		End   struct {
			Sent struct {
				Retransmits int `json:"retransmits"`
			} `json:"sum_sent"`
			Received struct {
				BitsPerSecond float64 `json:"bits_per_second"`
			} `json:"sum_received"`
		} `json:"end"`
	}
	if err := json.Unmarshal(out, &report); err != nil {
		return wire.IperfClientResult{}, fmt.Errorf("iperf3 -J: %w", err)
	}
	return wire.IperfClientResult{
		BitsPerSecond: report.End.Received.BitsPerSecond,
		Retransmits:   report.End.Sent.Retransmits,
		Error:         report.Error,
	}, nil
}

// freePort finds a TCP port on an address that nothing listens on.
func freePort(ctx context.Context, address netip.Addr) (uint16, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp4", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	bound, err := netip.ParseAddrPort(listener.Addr().String())
	return bound.Port(), err
}

func iperfMissing(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: install iperf3 on this host", err)
	}
	return fmt.Errorf("iperf3: %w", err)
}
