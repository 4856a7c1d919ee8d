package verify

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Settle waits until the live tree is the predicted one and all hosts reach
// each other, at most for opts.Settle, and returns the checks that fail
// then. The error is that of ctx.
func Settle(ctx context.Context, nodes map[string]Node, exp Expected, opts Options) ([]Check, error) {
	r := &runner{nodes: nodes, exp: exp, opts: opts}
	deadline := time.Now().Add(opts.Settle)
	if err := r.tree(ctx, deadline); err != nil {
		return nil, fmt.Errorf("settle %s: %w", exp.Fabric, err)
	}
	if err := r.ping(ctx, deadline); err != nil {
		return nil, fmt.Errorf("settle %s: %w", exp.Fabric, err)
	}
	checks := Evaluate(exp, r.res).Checks
	return slices.DeleteFunc(checks, func(c Check) bool {
		return c.Status != Fail || (c.Name != CheckTree && c.Name != CheckPing)
	}), nil
}
