package storage

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// minTerm is the shortest term of a lease: beats of a quarter of it must be longer than a write.
const minTerm = 10 * time.Millisecond

// Acquire waits until it holds the lease that is stored under key, or until ctx ends. The [Lease] must
// be given back with Release. Its context is derived from ctx.
//
// The term is how long others wait, at most, until they take the lease from a holder that has
// died: a free lease is taken at once, and so is one whose owner the store knows to be dead. Any other
// is taken after its record has not changed for the term that its holder wrote into it, while
// this call looked on. Terms are at least 10 ms; the holder writes four times in one, so 10 to 60 s suit most uses.
//
// What is stored under key but is no lease (a damaged record) is treated as one held by an unknown owner
// for one term, then replaced: all there was, up to [MaxLeaseValue], becomes the lease's value, for the
// holder to judge, and the fence begins at 1 again, as it does where the record was deleted.
//
// An error of the store ends Acquire, as does a record of a newer version of this library; the error
// names the key. The lease may have been taken nevertheless, for one term, by nobody.
func Acquire(ctx context.Context, s Store, key string, term time.Duration) (*Lease, error) {
	if s == nil {
		return nil, errNoStore
	}
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if term < minTerm {
		return nil, fmt.Errorf("storage: the lease %q needs a term of at least %v, not %v", key, minTerm, term)
	}
	c := candidate{store: s, key: key, term: term}
	for {
		lease, wait, err := c.try(ctx)
		if err == nil && lease == nil {
			err = sleep(ctx, wait)
		}
		if err != nil {
			c.withdraw()
			return nil, fmt.Errorf("acquiring the lease %q: %w", key, err)
		}
		if lease != nil {
			return lease, nil
		}
	}
}

// A candidate tries to get a lease and remembers between its attempts what it saw.
type candidate struct {
	store Store
	key   string
	term  time.Duration

	owner  string // empty until the first attempt to take the lease
	unmark func()

	seen  Revision  // the last revision seen
	since time.Time // when it was seen first
}

// try makes one attempt. If others hold the lease it returns nil and how long to wait before the next.
func (c *candidate) try(ctx context.Context) (*Lease, time.Duration, error) {
	if err := ended(ctx); err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	item, err := c.store.Load(ctx, c.key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	var record leaseRecord
	free := err != nil
	if !free {
		record, err = decodeLease(item.Value)
		if errors.Is(err, errNewerLease) {
			return nil, 0, err
		}
		corrupt := err != nil
		// The owner can be this one: by a write whose success was not reported.
		free = !corrupt && (record.Owner == "" || record.Owner == c.owner)
		if corrupt {
			record = leaseRecord{term: c.term, value: item.Value[:min(len(item.Value), MaxLeaseValue)]}
		}
	}
	if !free {
		remaining := c.observe(item.Revision, record.term, begun)
		if remaining > 0 {
			dead, err := c.ownerDead(record.Owner)
			if err != nil {
				return nil, 0, err
			}
			if !dead {
				return nil, min(remaining, c.interval()), nil
			}
		}
	}
	return c.take(ctx, record, item.Revision)
}

// observe returns for how long the revision, loaded between begun and now, must still not change until
// its owner is dead. Both ends count against the observer: the first sight is when its loading ended,
// the last is when its loading began.
func (c *candidate) observe(revision Revision, term time.Duration, begun time.Time) time.Duration {
	if c.seen != revision {
		c.seen, c.since = revision, time.Now()
		return term
	}
	return term - begun.Sub(c.since)
}

func (c *candidate) ownerDead(owner string) (bool, error) {
	if owner == "" {
		return false, nil
	}
	return ownersOf(c.store).ownerDead(owner)
}

// interval returns how long to wait between two looks at a lease that others hold.
func (c *candidate) interval() time.Duration {
	return jittered(min(max(c.term/10, 100*time.Millisecond), 2*time.Second))
}

// take replaces the record of a lease that is free.
func (c *candidate) take(ctx context.Context, old leaseRecord, revision Revision) (*Lease, time.Duration, error) {
	if c.owner == "" {
		var err error
		if c.owner, c.unmark, err = ownersOf(c.store).markOwner(ctx); err != nil {
			return nil, 0, err
		}
	}
	record := leaseRecord{Owner: c.owner, Fence: old.Fence + 1, Beat: rand.Text(), term: c.term, value: old.value}
	data, err := record.encode()
	if err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	taken, err := c.store.Save(ctx, c.key, data, revision)
	if errors.Is(err, ErrConflict) {
		return nil, c.interval(), nil
	}
	if err != nil {
		item, loadErr := c.store.Load(ctx, c.key)
		found, decodeErr := decodeLease(item.Value)
		if loadErr != nil || decodeErr != nil || found.Beat != record.Beat {
			return nil, 0, err
		}
		taken = item.Revision
	}
	if old.Owner != "" && old.Owner != c.owner {
		ownersOf(c.store).forgetOwner(old.Owner)
	}
	return c.lease(ctx, record, taken, begun), 0, nil
}

// lease returns the lease that was taken by a write begun then, with its heart beating.
func (c *candidate) lease(ctx context.Context, record leaseRecord, revision Revision, begun time.Time) *Lease {
	l := &Lease{
		store:   c.store,
		key:     c.key,
		owner:   c.owner,
		fence:   record.Fence,
		term:    c.term,
		unmark:  sync.OnceFunc(c.unmark),
		turn:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	l.ctx, l.cancel = context.WithCancelCause(ctx)
	l.mu.Lock()
	l.value, l.revision = record.value, revision
	l.deadline = begun.Add(l.patience())
	l.expiry = time.AfterFunc(time.Until(l.deadline), l.expire)
	l.mu.Unlock()
	go l.beat()
	return l
}

// withdraw gives up.
func (c *candidate) withdraw() {
	if c.unmark != nil {
		c.unmark()
	}
}
