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

// Bounds of the terms of leases: beats of a quarter of one must be longer than a write, and nobody should have to
// wait for a whole day because a process died.
const (
	minTerm = 10 * time.Millisecond
	maxTerm = time.Hour
)

// A Claim tries to get the lease that is stored under Key, and remembers between its tries what it saw: a caller
// with other work need not wait as [Acquire] does. Its fields are not changed after the first try. It is not
// safe for concurrent use.
//
//	claim := storage.Claim{Store: store, Key: "work/example.com", Term: time.Minute}
//	lease, err := claim.Try(ctx)
//	if held, ok := errors.AsType[*storage.HeldError](err); ok {
//		// do something else for held.RetryAfter, and try again
//	}
type Claim struct {
	Store Store
	Key   string
	Term  time.Duration // of the lease, from 10 ms to an hour; see Acquire

	owner  string // empty until the first attempt to take the lease
	unmark func()

	seen  Revision  // the last revision seen
	since time.Time // when it was seen first

	free *freeLease // that Check has found; nil: it has found none, or Take was called since
}

// A freeLease is one that may be taken as long as its record is of that revision.
type freeLease struct {
	leaseRecord
	revision Revision
}

// A HeldError reports that another holds a lease, and is not known to be dead.
type HeldError struct {
	Key        string        // of the lease
	RetryAfter time.Duration // when to try again
}

// Error names the lease.
func (e *HeldError) Error() string {
	lease := "the lease"
	if e.Key != "" {
		lease = fmt.Sprintf("the lease %q", e.Key)
	}
	return fmt.Sprintf("storage: another holds %s; to be tried again in %v", lease, e.RetryAfter.Round(time.Millisecond))
}

// Try makes one try. If it succeeds the lease must be given back with Release; its context is derived from ctx.
// If another holds the lease, the error is a [*HeldError], and the next Try resumes from what this one saw.
//
// Any other error is the store's, or says that the fields or the record are no good. It takes nothing from what
// was seen before: a failed check is no check. The lease may have been taken nevertheless; then the next Try has it,
// or, after Withdraw, nobody for one term.
func (c *Claim) Try(ctx context.Context) (*Lease, error) {
	value, _, err := c.Check(ctx)
	if err != nil {
		return nil, err
	}
	return c.Take(ctx, value)
}

// Check is the first half of Try, which writes nothing: it returns the value that a lease carries which is free, and the
// fence that it will have when [Claim.Take] takes it. The errors are those of Try. Until then others can take it: what Check
// returned is no more than what Take compares with. But if Take succeeds, nobody has held the lease in between. So a
// value can be worked out without the lease, and stored by the write that takes it.
//
// The exception is a fence of 1. It is that of a record which did not exist, or was damaged: between Check and Take, others
// may have held the lease and deleted it.
func (c *Claim) Check(ctx context.Context) (value []byte, fence uint64, err error) {
	c.free = nil
	if err := c.check(); err != nil {
		return nil, 0, err
	}
	wait, err := c.look(ctx)
	if err != nil {
		return nil, 0, acquireError(c.Key, err)
	}
	if c.free == nil {
		return nil, 0, &HeldError{Key: c.Key, RetryAfter: wait}
	}
	return bytes.Clone(c.free.value), c.free.Fence + 1, nil
}

// Take is the second half of Try: it takes the lease that the last Check found free, with another value, in one write. The
// error is a [*HeldError] if the record was changed since, or there was no such Check; it wraps [ErrTooLarge] if the value
// has more than [MaxLeaseValue] bytes, and is one of Try's otherwise. After any, Check is to be called again.
func (c *Claim) Take(ctx context.Context, value []byte) (*Lease, error) {
	free := c.free
	c.free = nil
	if err := c.check(); err != nil {
		return nil, err
	}
	if len(value) > MaxLeaseValue {
		return nil, tooLarge(c.Key, len(value), MaxLeaseValue)
	}
	var lease *Lease
	if free != nil {
		var err error
		if lease, err = c.take(ctx, free, append([]byte(nil), value...)); err != nil {
			return nil, acquireError(c.Key, err)
		}
	}
	if lease == nil {
		return nil, &HeldError{Key: c.Key, RetryAfter: c.interval()}
	}
	return lease, nil
}

func acquireError(key string, err error) error {
	return fmt.Errorf("acquiring the lease %q: %w", key, err)
}

// Withdraw gives the claim up: nobody has to find out that its owner is dead. It does nothing to a lease that Try
// has returned. A claim that was withdrawn may be tried again.
func (c *Claim) Withdraw() {
	if c.unmark != nil {
		c.unmark()
	}
	c.owner, c.unmark, c.free = "", nil, nil
}

// errUnfit is in the errors for claims that no store can satisfy.
var errUnfit = errors.New("storage: the lease can't be claimed")

func (c *Claim) check() error {
	if c.Store == nil {
		return errNoStore
	}
	if err := CheckKey(c.Key); err != nil {
		return err
	}
	if c.Term < minTerm || c.Term > maxTerm {
		return fmt.Errorf("%w: %q needs a term from %v to %v, not %v", errUnfit, c.Key, minTerm, maxTerm, c.Term)
	}
	return nil
}

// look notes the lease in c.free if it is free, or returns how long to wait before the next look.
func (c *Claim) look(ctx context.Context) (time.Duration, error) {
	if err := ended(ctx); err != nil {
		return 0, err
	}
	begun := time.Now()
	item, err := c.Store.Load(ctx, c.Key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	var record leaseRecord
	free := err != nil
	if !free {
		record, err = decodeLease(item.Value)
		if errors.Is(err, errNewerLease) {
			return 0, err
		}
		corrupt := err != nil
		// The owner can be this one: by a write whose success was not reported.
		free = !corrupt && (record.Owner == "" || record.Owner == c.owner)
		if corrupt {
			record = leaseRecord{term: c.Term, value: item.Value[:min(len(item.Value), MaxLeaseValue)]}
		}
	}
	if !free {
		remaining := c.observe(item.Revision, record.term, begun)
		if remaining > 0 {
			dead, err := c.ownerDead(ctx, record.Owner)
			if err != nil {
				return 0, err
			}
			if !dead {
				return min(remaining, c.interval()), nil
			}
		}
	}
	c.free = &freeLease{record, item.Revision}
	return 0, nil
}

// observe returns for how long the revision, loaded between begun and now, must still not change until
// its owner is dead. Both ends count against the observer: the first sight is when its loading ended,
// the last is when its loading began.
func (c *Claim) observe(revision Revision, term time.Duration, begun time.Time) time.Duration {
	if c.seen != revision {
		c.seen, c.since = revision, time.Now()
		return term
	}
	return term - begun.Sub(c.since)
}

func (c *Claim) ownerDead(ctx context.Context, owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	return ownersOf(c.Store).OwnerDead(ctx, owner)
}

// interval returns how long to wait between two checks of a lease that others hold.
func (c *Claim) interval() time.Duration {
	return jittered(min(max(c.Term/10, 100*time.Millisecond), 2*time.Second))
}

// take replaces the record of a lease that is free. It returns nil if that has changed.
func (c *Claim) take(ctx context.Context, old *freeLease, value []byte) (*Lease, error) {
	if c.owner == "" {
		owner, unmark, err := ownersOf(c.Store).MarkOwner(ctx)
		if err != nil {
			return nil, err
		}
		c.owner, c.unmark = owner, unmark
	}
	record := leaseRecord{Owner: c.owner, Fence: old.Fence + 1, Beat: rand.Text(), term: c.Term, value: value}
	data, err := record.encode()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	taken, err := c.Store.Save(ctx, c.Key, data, old.revision)
	if errors.Is(err, ErrConflict) {
		return nil, nil
	}
	if err != nil {
		item, loadErr := c.Store.Load(ctx, c.Key)
		found, decodeErr := decodeLease(item.Value)
		if loadErr != nil || decodeErr != nil || found.Beat != record.Beat {
			return nil, err
		}
		taken = item.Revision
	}
	if old.Owner != "" && old.Owner != c.owner {
		ownersOf(c.Store).ForgetOwner(old.Owner)
	}
	return c.lease(ctx, record, taken, begun), nil
}

// lease returns the lease that was taken by a write begun then, with its heart beating. The owner is the lease's
// from then on.
func (c *Claim) lease(ctx context.Context, record leaseRecord, revision Revision, begun time.Time) *Lease {
	l := &Lease{
		store:   c.Store,
		key:     c.Key,
		owner:   c.owner,
		fence:   record.Fence,
		term:    c.Term,
		unmark:  sync.OnceFunc(c.unmark),
		turn:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	c.owner, c.unmark = "", nil
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.mu.Lock()
	l.value, l.revision = record.value, revision
	l.deadline = begun.Add(l.patience())
	l.expiry = time.AfterFunc(time.Until(l.deadline), l.expire)
	l.mu.Unlock()
	go l.beat()
	return l
}
