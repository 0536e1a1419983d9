package storage

import (
	"context"
	"errors"
	"time"
)

// Acquire waits until it holds the lease that is stored under key, or until ctx ends. The [Lease] must
// be given back with Release. Its context is derived from ctx. It is the loop around [Claim].Try.
//
// The term is how long others wait, at most, until they take the lease from a holder that has
// died: a free lease is taken at once, and so is one whose owner the store knows to be dead. Any other
// is taken after its record has not changed for the term that its holder wrote into it, while
// this call watched. Terms are from 10 ms to an hour; the holder writes four times in one, so 10 to 60 s suit most
// uses. A longer one in a record counts as an hour.
//
// What is stored under key but is no lease (a damaged record) is treated as one held by an unknown owner
// for one term, then replaced: all there was, up to [MaxLeaseValue], becomes the lease's value, for the
// holder to judge, and the fence begins at 1 again, as it does if the record was deleted.
//
// Errors of the store are borne, and take nothing from what was seen before, until no check has succeeded
// for a term: then Acquire ends with the last of them. An invalid key and a record of a newer version of this library
// end it at once. The error names the key. The lease may have been taken nevertheless, for one term, by nobody.
func Acquire(ctx context.Context, s Store, key string, term time.Duration) (*Lease, error) {
	c := Claim{Store: s, Key: key, Term: term}
	for succeeded := time.Now(); ; {
		lease, err := c.Try(ctx)
		if err == nil {
			return lease, nil
		}
		wait := c.interval()
		if held, ok := errors.AsType[*HeldError](err); ok {
			succeeded, wait = time.Now(), held.RetryAfter
		} else if ctx.Err() != nil || time.Since(succeeded) >= term || hopeless(err) {
			c.Withdraw()
			return nil, err
		}
		if ctxErr := sleep(ctx, wait); ctxErr != nil {
			c.Withdraw()
			return nil, acquireError(key, ctxErr)
		}
	}
}

// hopeless reports whether another try would fail as this one did.
func hopeless(err error) bool {
	return errors.Is(err, ErrInvalidKey) || errors.Is(err, errNewerLease) || errors.Is(err, errUnfit) || errors.Is(err, errNoStore)
}
