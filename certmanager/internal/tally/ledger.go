package tally

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
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

// A ledger is the record of a bucket, as this process saw it last.
type ledger struct {
	store storage.Store
	key   string
	turn  chan struct{} // holds the one who changes the record

	mu       sync.Mutex       // no other lock is taken under it
	revision storage.Revision // empty: the record is taken to be absent; guarded by mu
	bucket   budget.Bucket    // guarded by mu
	seen     time.Time        // when; guarded by mu
	written  time.Time        // when this process wrote last; guarded by mu
}

// errContended is why a record was not changed.
var errContended = errors.New("others kept changing it")

// last returns the bucket as it was seen last.
func (l *ledger) last() budget.Bucket {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bucket
}

// changeInTurn is change for who does not have the turn yet.
func (l *ledger) changeInTurn(ctx context.Context, f func(budget.Bucket, time.Time) budget.Bucket) error {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-l.turn }()
	return l.change(ctx, f)
}

// refresh reads the bucket, unless it was seen within the last second. A record of a later release tells nothing.
func (l *ledger) refresh(ctx context.Context) error {
	l.mu.Lock()
	fresh := !l.seen.IsZero() && time.Since(l.seen) < writeInterval
	l.mu.Unlock()
	if fresh {
		return nil
	}
	err := l.load(ctx)
	if errors.As(err, new(*record.VersionError)) {
		return nil
	}
	return err
}

// untilWrite returns how long it is until the record of a fast limit may be written again.
func (l *ledger) untilWrite() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return writeInterval - time.Since(l.written)
}

// change changes the bucket, if f changes anything. Who calls it has the turn. A record of a later release is left alone, for
// others to count in.
func (l *ledger) change(ctx context.Context, f func(budget.Bucket, time.Time) budget.Bucket) error {
	for wait := time.Millisecond; ; wait *= 2 {
		l.mu.Lock()
		b, revision := l.bucket, l.revision
		l.mu.Unlock()
		changed := f(b, time.Now())
		if changed == b {
			return nil
		}
		err := l.save(ctx, changed, revision)
		if err == nil {
			return nil
		}
		if !errors.Is(err, storage.ErrConflict) {
			l.see(budget.Bucket{}, "")
			return fmt.Errorf("count in %s: %w", l.key, err)
		}
		if wait > time.Millisecond { // the first conflict tells only that what was seen is old
			select {
			case <-time.After(rand.N(wait)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err = l.load(ctx)
		if errors.As(err, new(*record.VersionError)) {
			return nil
		}
		if err != nil {
			return err
		}
		if wait > maxWait {
			return fmt.Errorf("count in %s: %w", l.key, errContended)
		}
	}
}

func (l *ledger) save(ctx context.Context, b budget.Bucket, old storage.Revision) error {
	rec := record.Budget(b)
	value, err := rec.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	revision, err := l.store.Save(ctx, l.key, value, old)
	if err == nil {
		l.see(b, revision)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.written = time.Now()
	}
	return err
}

// load reads the record. One that is damaged is taken to be full, and replaced.
func (l *ledger) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	item, err := l.store.Load(ctx, l.key)
	if errors.Is(err, fs.ErrNotExist) {
		item, err = storage.Item{}, nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", l.key, err)
	}
	var rec record.Budget
	if len(item.Value) > 0 {
		if rec, err = record.DecodeBudget(item.Value); errors.As(err, new(*record.VersionError)) {
			return err
		}
	}
	l.see(budget.Bucket(rec), item.Revision)
	return nil
}

func (l *ledger) see(b budget.Bucket, revision storage.Revision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bucket, l.revision, l.seen = b, revision, time.Now()
}
