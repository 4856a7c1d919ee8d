package ovsdb

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/ovsfabric/fabric/internal/patience"
	"github.com/ovsfabric/fabric/plan"
)

// Forget empties the bridge's table of addresses (fdb/flush in ovs-vswitchd(8)), as a topology change of the tree does. Frames that
// were under way while the tree moved may have taught it the old way again, and frames of flows that are cached teach it nothing
// until ovs-vswitchd looks through the cache, every half second. The bridge need not be there.
func (r *Resource) Forget(ctx context.Context) error {
	if _, err := r.control(ctx, "fdb/flush", plan.BridgeName); err != nil {
		return fmt.Errorf("having ovs-vswitchd forget addresses: %w", err)
	}
	return nil
}

// moveTree has the bridge act on a priority or a cost that it was given, and tell its neighbours. By itself it does so within a
// second, at the next tick (rstp_port_set_path_cost__ and rstp_set_bridge_priority__ in Open vSwitch's lib/rstp.c): a neighbour that
// hears of a lost root before that takes what it knew of this bridge for the news of another one, until it has aged. The command
// is in ovs-vswitchd(8), which promises a topology change; its source runs the state machines, and changes nothing (rstp_unixctl_tcn).
func (r *Resource) moveTree(ctx context.Context) error {
	_, err := r.control(ctx, "rstp/tcn", plan.BridgeName)
	return err
}

// control runs a command of ovs-vswitchd by JSON-RPC 1.0, as ovs-appctl(8) does, and returns what that prints.
func (r *Resource) control(ctx context.Context, command string, args ...string) (string, error) {
	pid, err := os.ReadFile(filepath.Join(filepath.Dir(r.path()), "ovs-vswitchd.pid"))
	if err != nil {
		return "", fmt.Errorf("finding ovs-vswitchd: %w", err)
	}
	ctx, cancel := patience.Timeout(ctx, answerTime)
	defer cancel()
	socket := filepath.Join(filepath.Dir(r.path()), fmt.Sprintf("ovs-vswitchd.%s.ctl", bytes.TrimSpace(pid)))
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()                                              // the answer has been read
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(0, 0)) }) // in the past: what is under way ends
	defer stop()
	if err := json.NewEncoder(conn).Encode(map[string]any{"id": 0, "method": command, "params": args}); err != nil {
		return "", err
	}
	var reply struct {
		Result any `json:"result"`
		Error  any `json:"error"`
	}
	if err := json.NewDecoder(conn).Decode(&reply); err != nil {
		return "", err
	}
	if reply.Error != nil {
		return "", fmt.Errorf("%s: %v", command, reply.Error)
	}
	text, _ := reply.Result.(string)
	return text, nil
}
