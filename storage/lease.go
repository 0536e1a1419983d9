package storage

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// A Lease is held by one holder at a time, in whatever process, and carries a value that only its
// holder may change. [Acquire] makes one; the zero value is one that was lost. Its methods are safe for
// concurrent use.
//
// While it is held, a goroutine renews it four times a term. It is lost when somebody else has changed the
// record, or when no renewal has succeeded for two thirds of the term: well before anyone may take
// it. A lost lease does not come back. When the context given to Acquire ends, renewal stops, and the holder
// has about half a term to put things in order with Save (under another context) and Release.
//
// A holder that does not notice (it was suspended, say) does no harm to the record: Save succeeds only while
// nobody else has changed it. For work outside the record, there is Fence.
type Lease struct {
	store  Store
	key    string
	owner  string
	fence  uint64
	term   time.Duration
	unmark func()

	ctx     context.Context // Context returns it
	cancel  context.CancelCauseFunc
	stopped chan struct{} // closed when the beating has ended

	turn chan struct{} // full while the record is being written; taken before mu

	mu       sync.Mutex
	state    leaseState  // guarded by mu
	value    []byte      // guarded by mu, not changed
	revision Revision    // guarded by mu, changed by who has the turn
	deadline time.Time   // guarded by mu; when the lease is lost unless renewed
	expiry   *time.Timer // guarded by mu; calls expire at the deadline
	failure  error       // guarded by mu; why the last renewal failed
}

type leaseState int

const (
	leaseHeld     leaseState = iota
	leaseReleased            // by its holder; its record may still say otherwise
	leaseVacated             // as leaseReleased, and the record says so
	leaseLost
)

// Context returns a context that ends when the lease is lost, with a cause that wraps [ErrLost], when it
// is released, or when the context given to Acquire ends. Work that needs the lease should run under it.
func (l *Lease) Context() context.Context {
	if l.ctx == nil {
		return neverHeld{}
	}
	return l.ctx
}

// Fence returns how often the lease had been taken when this holder took it, this time included.
// A resource that knows the number can refuse holders with a lower one.
func (l *Lease) Fence() uint64 {
	return l.fence
}

// Value returns a copy of the value that the lease carries: what this holder saved last, else what the
// last holder left; nil if that is nothing.
func (l *Lease) Value() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.value)
}

// Save changes the value that the lease carries, and renews the lease. The value has at most
// [MaxLeaseValue] bytes; the error wraps [ErrTooLarge] if it has more. It wraps [ErrLost] if the lease
// is no longer this holder's: then nothing was stored. After any other error the value may or may not have
// been stored; Save may be called again.
func (l *Lease) Save(ctx context.Context, value []byte) error {
	if l.ctx == nil {
		return errNeverHeld
	}
	if len(value) > MaxLeaseValue {
		return tooLarge(l.key, len(value), MaxLeaseValue)
	}
	if err := l.takeTurn(ctx); err != nil {
		return fmt.Errorf("saving in the lease %q: %w", l.key, err)
	}
	defer l.endTurn()
	if l.inState(leaseHeld) {
		value = append([]byte(nil), value...)
		return l.write(ctx, func(r *leaseRecord) { r.value = value })
	}
	return l.lost("")
}

// beat renews the lease until its context ends.
func (l *Lease) beat() {
	defer close(l.stopped)
	wait := l.term / 4
	for sleep(l.ctx, wait) == nil {
		wait = l.term / 4
		if err := l.renew(); err != nil {
			l.mu.Lock()
			l.failure = err
			l.mu.Unlock()
			wait = jittered(l.term / 16)
		}
	}
}

// renew writes the record anew. One attempt takes no longer than a quarter of the term, so that there
// is time for another one.
func (l *Lease) renew() error {
	ctx, cancel := context.WithTimeout(l.ctx, l.term/4)
	defer cancel()
	if err := l.takeTurn(ctx); err != nil {
		return err
	}
	defer l.endTurn()
	return l.write(ctx, func(*leaseRecord) {})
}

// write stores the record with a new beat, as edit changes it. It returns nil once it is certain that it
// is stored. The caller has the turn.
func (l *Lease) write(ctx context.Context, edit func(*leaseRecord)) error {
	for {
		l.mu.Lock()
		revision := l.revision
		record := leaseRecord{Owner: l.owner, Fence: l.fence, Beat: rand.Text(), term: l.term, value: l.value}
		l.mu.Unlock()
		edit(&record)
		data, err := record.encode()
		if err != nil {
			return err
		}
		begun := time.Now()
		saved, err := l.store.Save(ctx, l.key, data, revision)
		if err == nil {
			l.renewed(record.value, saved, begun)
			return nil
		}
		// A conflict too can be of this holder's own making: by an earlier write that was thought to have
		// failed, or by one that the engine's driver did twice.
		item, loadErr := l.store.Load(ctx, l.key)
		if loadErr != nil && !errors.Is(loadErr, fs.ErrNotExist) {
			return fmt.Errorf("writing the lease %q: %w (and reading it back: %w)", l.key, err, loadErr)
		}
		found, decodeErr := decodeLease(item.Value)
		switch {
		case decodeErr == nil && found.Beat == record.Beat:
			l.renewed(found.value, item.Revision, begun)
			return nil
		case decodeErr != nil || found.Owner != l.owner:
			return l.lost("another has changed its record")
		case !errors.Is(err, ErrConflict) || item.Revision == revision:
			return fmt.Errorf("writing the lease %q: %w", l.key, err)
		}
		l.mu.Lock()
		l.value, l.revision = found.value, item.Revision
		l.mu.Unlock()
	}
}

// renewed notes that a write begun then has stored value.
func (l *Lease) renewed(value []byte, revision Revision, begun time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.value, l.revision, l.failure = value, revision, nil
	if l.state == leaseHeld {
		l.deadline = begun.Add(l.patience())
		l.expiry.Reset(time.Until(l.deadline))
	}
}

// patience is how long the lease is held without a renewal.
func (l *Lease) patience() time.Duration {
	return l.term / 3 * 2
}

// expire runs at the deadline, which may just have been moved.
func (l *Lease) expire() {
	l.mu.Lock()
	now := time.Now()
	due, failure := !now.Before(l.deadline), l.failure
	l.mu.Unlock()
	switch {
	case !due:
	case failure != nil:
		l.lost(fmt.Sprintf("it could not be renewed for %v: %v", l.patience(), failure))
	default:
		l.lost(fmt.Sprintf("it was not renewed for %v", l.patience()))
	}
}

// lost ends a lease that is held, for a reason, and returns an error that wraps ErrLost.
func (l *Lease) lost(reason string) error {
	if reason == "" {
		reason = "it had ended before"
	}
	err := fmt.Errorf("%w: %q: %s", ErrLost, l.key, reason)
	if l.end(leaseLost, err) {
		l.unmark()
	}
	return err
}

// end moves a lease that is held to another state and ends its context. It reports whether it did.
func (l *Lease) end(state leaseState, cause error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != leaseHeld {
		return false
	}
	l.state = state
	l.expiry.Stop()
	l.cancel(cause)
	return true
}

func (l *Lease) inState(state leaseState) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state == state
}

// takeTurn waits until no other goroutine writes the record, or ctx ends.
func (l *Lease) takeTurn(ctx context.Context) error {
	select {
	case l.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

func (l *Lease) endTurn() {
	<-l.turn
}
