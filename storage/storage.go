package storage

import (
	"context"
	"errors"
	"iter"
)

// A Revision names one stored state of one key. It is opaque: only equality means anything. The zero
// Revision stands for "the key does not exist". A store never gives one key the same revision twice,
// not even when an equal value is saved again or the key was deleted in between.
type Revision string

// An Item is a stored value with the revision it was read or written at.
type Item struct {
	Value    []byte
	Revision Revision
}

// A Store keeps small values under textual keys. Every change is a compare-and-swap on the key's
// revision; leases, journals and shared counters are all built on that. Its methods are safe for
// concurrent use, also by other processes if the medium is shared, and obey their context.
//
// Keys are those that [CheckKey] accepts; every method answers others with an error that wraps
// [ErrInvalidKey]. Values are at most [MaxValue] bytes; Save answers larger ones with an error that
// wraps [ErrTooLarge]. A store does not keep a value it was given and does not hand out one it keeps:
// the caller may change both.
type Store interface {
	// Load returns what is stored under key, or an error for which errors.Is(err, fs.ErrNotExist) holds.
	Load(ctx context.Context, key string) (Item, error)

	// Save stores value under key if the stored revision is old (zero: if the key does not exist) and
	// returns the new revision, which is never zero. If another revision is stored, or nothing
	// although old is not zero, nothing changes and the error wraps [ErrConflict]. After any error but
	// ErrConflict, ErrInvalidKey and ErrTooLarge the value may or may not have been stored: load it to know.
	Save(ctx context.Context, key string, value []byte, old Revision) (Revision, error)

	// Delete removes key if the stored revision is old. If another revision or nothing is stored,
	// nothing changes and the error wraps [ErrConflict]. A zero old is never right and conflicts always.
	Delete(ctx context.Context, key string, old Revision) error

	// List yields, in no particular order, each key that is prefix or begins with prefix + "/"; all
	// keys for the empty prefix. Any other prefix must itself be a key that CheckKey accepts. A key
	// saved or deleted meanwhile may or may not be among them. An error is yielded with an empty key
	// and ends the sequence. The caller may use the store's other methods between two keys.
	List(ctx context.Context, prefix string) iter.Seq2[string, error]
}

var (
	// ErrConflict reports that the stored revision was not the one the caller named.
	ErrConflict = errors.New("storage: the record was changed meanwhile")
	// ErrInvalidKey reports a key that no store accepts; see [CheckKey].
	ErrInvalidKey = errors.New("storage: invalid key")
	// ErrTooLarge reports a value of more than [MaxValue] bytes, or of more than [MaxLeaseValue] in a lease.
	ErrTooLarge = errors.New("storage: value too large")
	// ErrLost reports that a lease is no longer its former holder's.
	ErrLost = errors.New("storage: the lease was lost")

	errNoStore = errors.New("storage: the Store is nil: give one, such as a Dir")
)

// Limits of every store, and of what is built on one.
const (
	MaxKey        = 512             // bytes of a key
	MaxValue      = 256 << 10       // bytes of a value
	MaxLeaseValue = MaxValue - 1024 // bytes of the value that a Lease carries
)
