package certmanager

import (
	"context"
	"iter"
	"time"
)

// pause waits, and returns why if ctx ends meanwhile.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A patience is for how long a sequence of the storage may let its reader wait for the next, and the error if it does for longer.
type patience struct {
	timeout time.Duration
	err     error
}

// unstuck yields what a sequence of the storage does, until that hangs, or ctx ends. The error says so then.
func unstuck[T any](ctx context.Context, p patience, sequence func(context.Context) iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		hangs := time.AfterFunc(p.timeout, func() { cancel(p.err) })
		defer hangs.Stop()
		for one, err := range sequence(ctx) {
			hangs.Stop()
			if cause := context.Cause(ctx); err != nil && cause != nil {
				err = cause
			}
			if !yield(one, err) {
				return
			}
			hangs.Reset(p.timeout)
		}
		if err := context.Cause(ctx); err != nil {
			var none T
			yield(none, err)
		}
	}
}
