package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/ovsfabric/fabric/host/wire"
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
	var req wire.PingRequest
	if err := json.NewDecoder(in).Decode(&req); err != nil {
		return fmt.Errorf("read a ping request: %w", err)
	}
	results, err := Ping(ctx, req)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(out).Encode(results); err != nil {
		return fmt.Errorf("write the ping results: %w", err)
	}
	return nil
}
