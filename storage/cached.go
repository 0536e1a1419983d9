package storage

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"iter"
	"slices"
	"sync"
	"time"
)

// Copies is a [Store] that keeps copies of records where they can be read when the store itself can't be: see [Cached].
// A copy is what a record was once. It is good for going on to serve what was served before, and for nothing else:
// nothing may be concluded from it, not even that the record exists.
type Copies interface {
	// LoadCopy returns the copy of the record at key, or an error for which errors.Is(err, fs.ErrNotExist) holds.
	LoadCopy(ctx context.Context, key string) (Copy, error)

	// ScanCopies yields all copies that lie at or below the prefix, as List takes it. A copy that can't be used comes
	// with its key and an error, and the sequence continues; any other error comes with a zero Copy and ends it.
	ScanCopies(ctx context.Context, prefix string) iter.Seq2[Copy, error]
}

// A Copy is what a record was.
type Copy struct {
	Key   string
	Value []byte
	Time  time.Time // when it was copied, in UTC: so it was then, and for as long after as nobody changed it
}

// CopiedPrefix is what [Cached] copies if nothing else is asked for: certificates.
const CopiedPrefix = "certificates"

// Cached returns a store that is remote, and keeps copies of its records in local, such as a [Dir] on this machine's disk,
// for a start while remote is down. Only records at or below the prefixes are copied, those of certificates if none is
// given: neither leases nor accounts nor anything else of use to the truth alone.
//
// All of its methods but those of [Copies] are remote's: what Load, Save and Delete say is never from a copy. So leases,
// compare-and-swap and [Check] are as good as remote is. Who can do with what was once asks [Copies], which
// a certmanager.Manager does: it serves the certificate that it finds there until remote answers again, says
// so, and orders nothing meanwhile.
//
// A copy is made when a record is saved, loaded or scanned through this store, and deleted when it is seen to be gone.
// To make it may fail: that is no error of the call; Warnings tells. Keys are in the copies as they are in remote:
// local has to be as private as a [Dir] is, or the store that Cached returns is wrapped in a [Sealed].
func Cached(remote, local Store, prefixes ...string) *CachedStore {
	if len(prefixes) == 0 {
		prefixes = []string{CopiedPrefix}
	}
	return &CachedStore{remote: remote, local: local, prefixes: prefixes}
}

// A CachedStore is what [Cached] returns. The zero value refuses all calls.
type CachedStore struct {
	remote, local Store
	prefixes      []string

	mu     sync.Mutex
	failed error // why the last copy could not be made; guarded by mu
}

// Unwrap returns the store that is copied.
func (c *CachedStore) Unwrap() Store {
	if c.check() != nil {
		return nil
	}
	return c.remote
}

func (c *CachedStore) check() error {
	if c.remote == nil || c.local == nil {
		return fmt.Errorf("storage: Cached: %w", inner{errNoStore})
	}
	return nil
}

// copies reports whether the record at key is copied.
func (c *CachedStore) copies(key string) bool {
	return slices.ContainsFunc(c.prefixes, func(prefix string) bool { return Within(key, prefix) })
}

// Load returns what remote has under key; see [Store].
func (c *CachedStore) Load(ctx context.Context, key string) (Item, error) {
	if err := c.check(); err != nil {
		return Item{}, err
	}
	if !c.copies(key) {
		return c.remote.Load(ctx, key)
	}
	for tries := 1; ; tries++ {
		before := c.before(ctx, key)
		item, err := c.remote.Load(ctx, key)
		kept := true
		switch {
		case err == nil:
			kept = c.keep(ctx, before, item)
		case errors.Is(err, fs.ErrNotExist):
			kept = c.drop(ctx, before)
		}
		if kept || tries == copyTries {
			return item, err
		}
	}
}

// copyTries is how often a record is loaded whose copy others make meanwhile, so that the copy is not left older than what was
// loaded.
const copyTries = 3

// Save stores value in remote if the revision stored there is old; see [Store].
func (c *CachedStore) Save(ctx context.Context, key string, value []byte, old Revision) (Revision, error) {
	if err := c.check(); err != nil {
		return "", err
	}
	if !c.copies(key) {
		return c.remote.Save(ctx, key, value, old)
	}
	before := c.before(ctx, key)
	revision, err := c.remote.Save(ctx, key, value, old)
	if err == nil && !c.keep(ctx, before, Item{Value: value, Revision: revision}) {
		_, _ = c.Load(ctx, key) // for the copy alone
	}
	return revision, err
}

// Delete removes key from remote if the revision stored there is old; see [Store].
func (c *CachedStore) Delete(ctx context.Context, key string, old Revision) error {
	if err := c.check(); err != nil {
		return err
	}
	if !c.copies(key) {
		return c.remote.Delete(ctx, key, old)
	}
	before := c.before(ctx, key)
	err := c.remote.Delete(ctx, key, old)
	if err == nil && !c.drop(ctx, before) {
		_, _ = c.Load(ctx, key) // for the copy alone
	}
	return err
}

// List yields the keys that remote has; see [Store].
func (c *CachedStore) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if err := c.check(); err != nil {
		return func(yield func(string, error) bool) { yield("", err) }
	}
	return c.remote.List(ctx, prefix)
}

// Scan yields the records that remote has; see [Scanner]. When it has yielded all of them from the start, copies of others are
// deleted.
func (c *CachedStore) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := c.check(); err != nil {
			yield(Record{}, err)
			return
		}
		seed, seen, whole := maphash.MakeSeed(), make(map[uint64]bool), cursor == ""
		for record, err := range Scan(ctx, c.remote, prefix, cursor) {
			if c.copies(record.Key) {
				seen[maphash.String(seed, record.Key)] = true
				if err == nil {
					c.keep(ctx, c.before(ctx, record.Key), record.Item)
				}
			}
			whole = whole && (err == nil || record.Key != "")
			if !yield(record, err) {
				return
			}
		}
		if whole {
			c.dropOthers(ctx, prefix, func(key string) bool { return seen[maphash.String(seed, key)] })
		}
	}
}

// LoadCopy returns the copy of the record at key; see [Copies].
func (c *CachedStore) LoadCopy(ctx context.Context, key string) (Copy, error) {
	if err := c.check(); err != nil {
		return Copy{}, err
	}
	item, err := c.local.Load(ctx, key)
	if err != nil {
		return Copy{}, err
	}
	return copyOf(key, item.Value)
}

// ScanCopies yields the copies at or below the prefix; see [Copies].
func (c *CachedStore) ScanCopies(ctx context.Context, prefix string) iter.Seq2[Copy, error] {
	return func(yield func(Copy, error) bool) {
		if err := c.check(); err != nil {
			yield(Copy{}, err)
			return
		}
		for record, err := range Scan(ctx, c.local, prefix, "") {
			found := Copy{Key: record.Key}
			if err == nil {
				found, err = copyOf(record.Key, record.Value)
			}
			if !yield(found, err) {
				return
			}
		}
	}
}

// Warnings says why a copy could not be made, if the last could not, and what local and remote have to say themselves.
func (c *CachedStore) Warnings(ctx context.Context) []error {
	if c.check() != nil {
		return nil
	}
	var all []error
	for _, s := range []Store{c.remote, c.local} {
		if warner, ok := As[interface {
			Warnings(ctx context.Context) []error
		}](s); ok {
			all = append(all, warner.Warnings(ctx)...)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		all = append(all, c.failed)
	}
	return all
}
