package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/operator/remote"
	"github.com/ovsfabric/fabric/operator/rollout"
)

func newStatusCommand(o *options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "status",
		Short: "Show each host's place in the live tree and its ports",
		Long: `Asks every host for its place in the live spanning tree: whom it takes for the
root, at what cost, and the role and state of each of its tunnels.`,
		Example: `  fabric status
  fabric status --json | jq '.[] | select(.error)'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stdout, stderr := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
			l, f, err := openFleet(ctx, o, stderr)
			if err != nil {
				return err
			}
			defer f.close()
			hosts := f.status(ctx, l.targets())
			if asJSON {
				err = writeJSON(stdout, hosts)
			} else {
				printStatus(stdout, stderr, hosts)
			}
			if err == nil && slices.ContainsFunc(hosts, func(h hostStatus) bool { return h.Error != "" }) {
				return exitError(1)
			}
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// hostStatus is one host's live state, or why it is not known.
type hostStatus struct {
	Host  string           `json:"host"`
	Tree  *wire.TreeStatus `json:"tree,omitempty"`
	Error string           `json:"error,omitempty"`
}

// status asks the targets for their live trees, and answers in their order.
func (f *fleet) status(ctx context.Context, targets []remote.Target) []hostStatus {
	errs := f.dial(ctx, targets, nil)
	names := names(targets)
	hosts := make([]hostStatus, len(names))
	nodes := f.nodes()
	_ = rollout.Each(names, f.parallel, func(name string) error {
		h := &hosts[slices.Index(names, name)]
		h.Host = name
		if err := errs[name]; err != nil {
			h.Error = err.Error()
			return nil
		}
		result, err := nodes[name].Probe(ctx, wire.ProbeRequest{Tree: &wire.TreeRequest{}})
		if err == nil && result.Tree == nil {
			err = errors.New("the host's answer has no tree in it")
		}
		if err != nil {
			h.Error = fmt.Sprintf("%s: %v", name, err)
			return nil
		}
		h.Tree = result.Tree
		return nil
	})
	return hosts
}

func printStatus(stdout, stderr io.Writer, hosts []hostStatus) {
	byMAC := make(map[string]string)
	for _, h := range hosts {
		if h.Tree != nil {
			byMAC[h.Tree.Bridge.MAC] = h.Host
		}
	}
	t := newTable(stdout)
	t.AppendHeader(table.Row{"HOST", "ROOT", "COST", "PORT", "LEADS TO", "ROLE", "STATE", "LINK", "BFD"})
	for _, h := range hosts {
		if h.Tree == nil {
			fmt.Fprintf(stderr, "fabric: %s\n", h.Error)
			continue
		}
		root := byMAC[h.Tree.Root.MAC]
		if root == "" {
			root = h.Tree.Root.MAC
		}
		name, cost := h.Host, fmt.Sprint(h.Tree.RootPathCost)
		if len(h.Tree.Ports) == 0 {
			t.AppendRow(table.Row{name, root, cost})
		}
		for _, p := range h.Tree.Ports {
			leads := p.Peer
			if p.Network != "" {
				leads = "network " + p.Network
			}
			t.AppendRow(table.Row{name, root, cost, p.Name, leads, p.Role, p.State, p.Link, p.BFD})
			name, root, cost = "", "", "" // once a host
		}
	}
	t.Render()
}
