package verify

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ovsfabric/fabric/host/wire"
	"github.com/ovsfabric/fabric/plan"
)

// Footing is what has to be there before a change of several steps goes on.
type Footing struct {
	Tunnels []plan.Tunnel // that are up and have a place in the tree that lasts
	Up      []plan.Tunnel // that are up, and so take part in the tree
	Heard   []plan.Tunnel // whose BFD has heard of the other end
	Root    wire.BridgeID // whom Know take for the root
	Know    []string      // hosts
}

// Stand waits for the footing, at most for settle, and returns what is lacking of it then. The error is that of ctx.
func Stand(ctx context.Context, nodes map[string]Node, footing Footing, settle time.Duration) ([]string, error) {
	r := &runner{nodes: nodes}
	for _, name := range footing.hosts() {
		r.exp.Hosts = append(r.exp.Hosts, Host{Name: name})
	}
	var lacking []string
	err := r.until(ctx, time.Now().Add(settle), CheckTree, func() (bool, error) {
		answers, err := r.trees(ctx)
		lacking = footing.lacking(answers)
		return len(lacking) == 0, err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the tree between two steps: %w", err)
	}
	return lacking, nil
}

// hosts are those to be asked.
func (f Footing) hosts() []string {
	names := slices.Clone(f.Know)
	for _, t := range slices.Concat(f.Tunnels, f.Up, f.Heard) {
		names = append(names, t.Host)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// lacking says what is, a line each.
func (f Footing) lacking(answers []answer) []string {
	trees := make(map[string]*wire.TreeStatus)
	var lacking []string
	for _, host := range f.hosts() {
		i := slices.IndexFunc(answers, func(a answer) bool { return a.host == host })
		switch {
		case i < 0:
			lacking = append(lacking, host+": it was not asked")
		case answers[i].err != nil:
			lacking = append(lacking, fmt.Sprintf("%s: %v", host, answers[i].err))
		default:
			trees[host] = answers[i].result.Tree
		}
	}
	for _, list := range []struct {
		tunnels []plan.Tunnel
		lacks   func(wire.TreePort) string
	}{{f.Tunnels, lacksPlace}, {f.Up, lacksPart}, {f.Heard, lacksWord}} {
		for _, t := range list.tunnels {
			if tree := trees[t.Host]; tree != nil {
				if why := lacks(*tree, t.Port, list.lacks); why != "" {
					lacking = append(lacking, fmt.Sprintf("%s: port %s: %s", t.Host, t.Port, why))
				}
			}
		}
	}
	for _, host := range f.Know {
		if tree := trees[host]; tree != nil && tree.Root != f.Root {
			lacking = append(lacking, fmt.Sprintf("%s: its root is %s, not %s", host, tree.Root, f.Root))
		}
	}
	return lacking
}

func lacks(tree wire.TreeStatus, name string, of func(wire.TreePort) string) string {
	i := slices.IndexFunc(tree.Ports, func(p wire.TreePort) bool { return p.Name == name })
	if i < 0 {
		return "it is gone: somebody else deleted it"
	}
	return of(tree.Ports[i])
}

// lacksPlace is why a port has no place in the tree that lasts.
func lacksPlace(p wire.TreePort) string {
	switch {
	case isDown(p):
		return downDetail(p)
	case p.State == "forwarding", p.Role == "alternate":
		return ""
	default:
		return "it is " + place(p.Role, p.State)
	}
}

// lacksPart is why a port takes no part in the tree.
func lacksPart(p wire.TreePort) string {
	switch {
	case isDown(p):
		return downDetail(p)
	case p.Role == "disabled", p.Role == "":
		return "it is " + place(p.Role, p.State)
	default:
		return ""
	}
}

// lacksWord is why a port's BFD knows nothing of the other end's (RFC 5880 6.2).
func lacksWord(p wire.TreePort) string {
	if p.BFD == "init" || p.BFD == "up" {
		return ""
	}
	return downDetail(p)
}
