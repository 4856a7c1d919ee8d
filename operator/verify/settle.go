package verify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Settle waits until the live tree carries traffic the predicted way and all
// hosts reach each other, at most for opts.Settle, and returns the checks that
// fail then. Tunnels that carry nothing may still be finding their place. The
// error is that of ctx.
func Settle(ctx context.Context, nodes map[string]Node, exp Expected, opts Options) ([]Check, error) {
	r := &runner{nodes: nodes, exp: exp.carrying(), opts: opts}
	deadline := time.Now().Add(opts.Settle)
	if err := r.tree(ctx, deadline); err != nil {
		return nil, fmt.Errorf("settle %s: %w", exp.Fabric, err)
	}
	return r.settlePings(ctx, deadline)
}

// Reach waits, as Settle does, until some of the hosts and all others reach
// each other, whatever the tree is.
func Reach(ctx context.Context, nodes map[string]Node, exp Expected, some map[string]bool, opts Options) ([]Check, error) {
	r := &runner{nodes: nodes, exp: exp, opts: opts, some: some}
	return r.settlePings(ctx, time.Now().Add(opts.Settle))
}

func (r *runner) settlePings(ctx context.Context, deadline time.Time) ([]Check, error) {
	if err := r.ping(ctx, deadline); err != nil {
		return nil, fmt.Errorf("settle %s: %w", r.exp.Fabric, err)
	}
	if err := r.broadcast(ctx, deadline); err != nil {
		return nil, fmt.Errorf("settle %s: %w", r.exp.Fabric, err)
	}
	asked := []string{CheckPing, CheckBroadcast}
	if r.res.Trees != nil {
		asked = append(asked, CheckTree)
	}
	checks := Evaluate(r.exp, r.res).Checks
	return slices.DeleteFunc(checks, func(c Check) bool {
		return c.Status != Fail || !slices.Contains(asked, c.Name)
	}), nil
}
