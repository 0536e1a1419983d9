package tally

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// A Tally is one bucket in the storage, as one process knows it. It is safe for concurrent use.
type Tally struct {
	limit  budget.Limit
	ledger ledger
	asked  asked

	mu    sync.Mutex     // the ledger's lock is taken under it
	lines [3]budget.Line // by class; guarded by mu
}

// A SpentError says that a bucket is empty, for the class that asked.
type SpentError struct {
	Key  string
	Next time.Time // when there will be a token
}

// Error says which, and when.
func (e *SpentError) Error() string {
	return fmt.Sprintf("the budget %s is spent until %s", e.Key, e.Next.UTC().Format(time.RFC3339))
}

// GiveBack returns what gives back a token that was taken at a time and not used. Of a fast limit the next who asks gets it. It
// may be called again when it has failed: a token whose return was stored, though the answer was lost, does not come back twice.
func (t *Tally) GiveBack(taken time.Time) func(context.Context) error {
	var given []budget.Bucket // what the record may be since
	return func(ctx context.Context) error {
		if t.limit.IsFast() {
			t.asked.giveBack(time.Now())
			return nil
		}
		return t.ledger.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket {
			if slices.ContainsFunc(given, b.Equal) {
				return b
			}
			changed := t.limit.GiveBack(b, 1, taken, now)
			given = append(given, changed)
			return changed
		})
	}
}

// Count counts what has happened, whether or not there is room for it.
func (t *Tally) Count(ctx context.Context) error {
	return t.ledger.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket { return t.limit.Take(b, 1, now) })
}

// Correct notes that by the CA's word the bucket is empty, and has the next token at a time.
func (t *Tally) Correct(ctx context.Context, until time.Time) error {
	t.asked.forgetSpare()
	return t.ledger.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket { return t.limit.Correct(b, until, now) })
}

// Refresh reads the bucket, unless it was seen within the last second. A record of a later release tells nothing.
func (t *Tally) Refresh(ctx context.Context) error { return t.ledger.refresh(ctx) }
