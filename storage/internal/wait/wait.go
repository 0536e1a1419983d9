// Package wait has the pauses that storage engines make.
package wait

import (
	"context"
	"math/rand/v2"
	"time"
)

// For waits for d. It returns ctx's error if that ends before.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Before waits a little, at random, before the next run of a call, of which there were so many: up to a quarter of a second.
func Before(ctx context.Context, runs int) error {
	return For(ctx, rand.N(time.Millisecond<<min(runs, 8)))
}
