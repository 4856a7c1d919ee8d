// Package patience stretches deadlines: what is long enough for a machine of
// today is not for one that is emulated, or short of time.
package patience

import (
	"context"
	"time"
)

// Max is the largest factor that makes sense: a deadline of 3 minutes becomes
// two days.
const Max = 1000

// Valid reports whether deadlines can be stretched by a factor.
func Valid(factor float64) bool { return factor >= 1 && factor <= Max }

type key struct{}

// With returns a context under which deadlines are factor times as long. One
// that is not Valid changes nothing.
func With(ctx context.Context, factor float64) context.Context {
	if !Valid(factor) {
		return ctx
	}
	return context.WithValue(ctx, key{}, factor)
}

// Factor is what deadlines are stretched by under ctx: 1 unless With has set it.
func Factor(ctx context.Context) float64 {
	if factor, ok := ctx.Value(key{}).(float64); ok {
		return factor
	}
	return 1
}

// Stretch returns d times the factor.
func Stretch(ctx context.Context, d time.Duration) time.Duration {
	return time.Duration(float64(d) * Factor(ctx))
}

// Timeout is context.WithTimeout with d stretched.
func Timeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, Stretch(ctx, d))
}

// TimeoutAfter is Timeout for what has to go on where ctx has ended.
func TimeoutAfter(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return Timeout(context.WithoutCancel(ctx), d)
}

// Pause waits for d, or returns the error of ctx as soon as that ends.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
