package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
)

// Idle is what the probe container runs: it waits until its standard input
// ends or ctx does.
func Idle(ctx context.Context, stdin io.Reader) error {
	ended := make(chan error, 1)
	// A blocked read cannot be interrupted; the process ends with Idle.
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

// ServePing reads one wire.PingRequest as JSON and writes its
// []wire.PingResult.
func ServePing(ctx context.Context, in io.Reader, out io.Writer) error {
	return serve(ctx, in, out, "ping", Ping)
}

// ServeARP reads one wire.ARPRequest as JSON and writes its []wire.ARPResult.
func ServeARP(ctx context.Context, in io.Reader, out io.Writer) error {
	return serve(ctx, in, out, "ARP", ARP)
}

func serve[Request, Result any](ctx context.Context, in io.Reader, out io.Writer, name string, probe func(context.Context, Request) (Result, error)) error {
	var req Request
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("read the %s request: %w", name, err)
	}
	results, err := probe(ctx, req)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(results); err != nil {
		return fmt.Errorf("write the %s results: %w", name, err)
	}
	return nil
}
