package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
)

// Tunnel is one end of a tunnel: a port of a host's bridge.
type Tunnel struct {
	Host, Port string
}

// Stand waits until the tunnels are up and have a place in the tree that lasts, at most for settle, and returns the ones that are not
// so then. The error is that of ctx.
func Stand(ctx context.Context, nodes map[string]Node, tunnels []Tunnel, settle time.Duration) ([]string, error) {
	deadline := time.Now().Add(settle)
	r := &runner{nodes: nodes}
	for _, t := range tunnels {
		if !slices.ContainsFunc(r.exp.Hosts, func(h Host) bool { return h.Name == t.Host }) {
			r.exp.Hosts = append(r.exp.Hosts, Host{Name: t.Host})
		}
	}
	for {
		answers, err := r.each(ctx, func(Host) *wire.ProbeRequest { return &wire.ProbeRequest{Tree: &wire.TreeRequest{}} })
		if err != nil {
			return nil, fmt.Errorf("look at the new tunnels: %w", err)
		}
		lacking := standing(answers, tunnels)
		if len(lacking) == 0 || !time.Now().Add(settlePause).Before(deadline) {
			return lacking, nil
		}
		if err := pause(ctx, settlePause); err != nil {
			return nil, fmt.Errorf("look at the new tunnels: %w", err)
		}
	}
}

// standing says what is lacking of the tunnels, a line each.
func standing(answers []answer, tunnels []Tunnel) []string {
	var lacking []string
	for _, t := range tunnels {
		i := slices.IndexFunc(answers, func(a answer) bool { return a.host == t.Host })
		switch {
		case i < 0:
			lacking = append(lacking, t.Host+": it was not asked")
		case answers[i].err != nil:
			lacking = append(lacking, fmt.Sprintf("%s: %v", t.Host, answers[i].err))
		case answers[i].result.Tree == nil:
			lacking = append(lacking, t.Host+": no tree in its answer")
		default:
			if why := lacks(*answers[i].result.Tree, t.Port); why != "" {
				lacking = append(lacking, fmt.Sprintf("%s: port %s: %s", t.Host, t.Port, why))
			}
		}
	}
	return lacking
}

func lacks(tree wire.TreeStatus, name string) string {
	i := slices.IndexFunc(tree.Ports, func(p wire.TreePort) bool { return p.Name == name })
	if i < 0 {
		return "it is gone: somebody else deleted it"
	}
	switch p := tree.Ports[i]; {
	case isDown(p):
		return downDetail(p)
	case p.State == "forwarding", p.Role == "alternate":
		return ""
	default:
		return "it is " + place(p.Role, p.State)
	}
}
