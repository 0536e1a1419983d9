package storage

import (
	"context"
	"fmt"
	"time"
)

var errNeverHeld = fmt.Errorf("%w: Acquire has not made it", ErrLost)

// neverHeld is the context of a zero [Lease]: one that has ended.
type neverHeld struct{}

func (neverHeld) Deadline() (time.Time, bool) { return time.Time{}, false }
func (neverHeld) Value(any) any               { return nil }
func (neverHeld) Err() error                  { return errEnded }

func (neverHeld) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

var errEnded = fmt.Errorf("%w: %w", errNeverHeld, context.Canceled)
