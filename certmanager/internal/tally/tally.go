package tally

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	callTimeout = 30 * time.Second       // of one call of the storage
	maxWait     = 500 * time.Millisecond // between two tries to change a record that others keep changing; it is doubled until then
)

// A Tally is one bucket in the storage, as one process knows it. It is safe for concurrent use.
type Tally struct {
	store storage.Store
	key   string
	limit budget.Limit
	turn  chan struct{} // holds the one who changes the record

	mu       sync.Mutex
	revision storage.Revision // as seen last; empty: taken to be absent; guarded by mu
	bucket   budget.Bucket    // the same; guarded by mu
	seen     time.Time        // when that was; guarded by mu
	written  time.Time        // when this process wrote last; guarded by mu
	asked    []*asking        // guarded by mu
	spare                     // guarded by mu
	lines    [3]budget.Line   // by class; guarded by mu
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

// errContended is why a record was not changed.
var errContended = errors.New("others kept changing it")

// GiveBack returns what gives back a token that was taken at a time and not used. Of a fast limit the next who asks gets it. It
// may be called again when it has failed: a token whose return was stored, though the answer was lost, does not come back twice.
func (t *Tally) GiveBack(taken time.Time) func(context.Context) error {
	var given []budget.Bucket // what the record may be since
	return func(ctx context.Context) error {
		if t.limit.IsFast() {
			t.mu.Lock()
			defer t.mu.Unlock()
			t.spare.add(time.Now())
			return nil
		}
		return t.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket {
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
	return t.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket { return t.limit.Take(b, 1, now) })
}

// Correct notes that by the CA's word the bucket is empty, and has the next token at a time.
func (t *Tally) Correct(ctx context.Context, until time.Time) error {
	t.mu.Lock()
	t.spare = spare{}
	t.mu.Unlock()
	return t.changeInTurn(ctx, func(b budget.Bucket, now time.Time) budget.Bucket { return t.limit.Correct(b, until, now) })
}

func (t *Tally) changeInTurn(ctx context.Context, f func(budget.Bucket, time.Time) budget.Bucket) error {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-t.turn }()
	return t.change(ctx, f)
}

// Refresh reads the bucket, unless it was seen within the last second. A record of a later release tells nothing.
func (t *Tally) Refresh(ctx context.Context) error {
	t.mu.Lock()
	fresh := !t.seen.IsZero() && time.Since(t.seen) < writeInterval
	t.mu.Unlock()
	if fresh {
		return nil
	}
	err := t.load(ctx)
	if errors.As(err, new(*record.VersionError)) {
		return nil
	}
	return err
}

// change changes the bucket, if f changes anything. Who calls it has the turn. A record of a later release is left alone, for
// others to count in.
func (t *Tally) change(ctx context.Context, f func(budget.Bucket, time.Time) budget.Bucket) error {
	for wait := time.Millisecond; ; wait *= 2 {
		t.mu.Lock()
		b, revision := t.bucket, t.revision
		t.mu.Unlock()
		changed := f(b, time.Now())
		if changed == b {
			return nil
		}
		err := t.save(ctx, changed, revision)
		if err == nil {
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			t.see(budget.Bucket{}, "")
			return fmt.Errorf("count in %s: %w", t.key, err)
		}
		if wait > time.Millisecond { // the first conflict tells only that what was seen is old
			select {
			case <-time.After(rand.N(wait)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err = t.load(ctx)
		if errors.As(err, new(*record.VersionError)) {
			return nil
		}
		if err != nil {
			return err
		}
		if wait > maxWait {
			return fmt.Errorf("count in %s: %w", t.key, errContended)
		}
	}
}

func (t *Tally) save(ctx context.Context, b budget.Bucket, old storage.Revision) error {
	rec := record.Budget(b)
	value, err := rec.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	revision, err := t.store.Save(ctx, t.key, value, old)
	if err == nil {
		t.see(b, revision)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.written = time.Now()
	}
	return err
}

// load reads the record. One that is damaged is taken to be full, and replaced.
func (t *Tally) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	item, err := t.store.Load(ctx, t.key)
	if errors.Is(err, fs.ErrNotExist) {
		item, err = storage.Item{}, nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", t.key, err)
	}
	var rec record.Budget
	if len(item.Value) > 0 {
		if rec, err = record.DecodeBudget(item.Value); errors.As(err, new(*record.VersionError)) {
			return err
		}
	}
	t.see(budget.Bucket(rec), item.Revision)
	return nil
}

func (t *Tally) see(b budget.Bucket, revision storage.Revision) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bucket, t.revision, t.seen = b, revision, time.Now()
}
