package patience_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/ovsfabric/fabric/internal/patience"
)

func TestStretchMultipliesByTheFactor(t *testing.T) {
	for factor, want := range map[float64]time.Duration{
		1: 10 * time.Second, 20: 200 * time.Second,
		0: 10 * time.Second, 0.5: 10 * time.Second, -1: 10 * time.Second, math.Inf(1): 10 * time.Second, math.NaN(): 10 * time.Second,
	} {
		if got := patience.Stretch(patience.With(t.Context(), factor), 10*time.Second); got != want {
			t.Errorf("10 s by %v: %s, want %s", factor, got, want)
		}
	}
}

func TestStretchWithoutAFactorKeepsTheTime(t *testing.T) {
	if got := patience.Stretch(t.Context(), time.Second); got != time.Second {
		t.Errorf("%s, want 1s", got)
	}
}

func TestTimeoutAfterOutlivesItsContextAndKeepsTheFactor(t *testing.T) {
	ended, end := context.WithCancel(patience.With(t.Context(), 60))
	end()
	ctx, cancel := patience.TimeoutAfter(ended, time.Minute)
	defer cancel()
	if err := ctx.Err(); err != nil {
		t.Errorf("it has ended with the other: %v", err)
	}
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) < 59*time.Minute {
		t.Errorf("deadline %s, want it in an hour", deadline)
	}
}
