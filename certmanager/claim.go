package certmanager

import (
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/storage"
)

// A claim is to a lease that another process has. The zero value is one that was not made.
type claim struct {
	*storage.Claim
	tries int // in vain
}

// withdraw gives up a claim that is not needed any more.
func (c *claim) withdraw() {
	if c.Claim != nil {
		c.Withdraw()
	}
	*c = claim{}
}

// A claimError is why a lease could not be taken: errors.As finds a *storage.HeldError if another process has it, or had it
// meanwhile.
type claimError struct{ error }

func (e claimError) Unwrap() error { return e.error }

// openWork returns the work if nobody has its lease, or an error: a *storage.HeldError if another process has. The lease is
// taken by hold, which succeeds only if nobody has had it in between: so what is read until then is as good as if it were
// read under the lease. A claim that was not successful is left for the next try, with what it saw.
func openWork(ctx context.Context, s storage.Store, key string, left *claim) (*work, error) {
	if left.Claim == nil || left.Key != key {
		left.withdraw()
		left.Claim = &storage.Claim{Store: s, Key: key, Term: leaseTerm}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	value, fence, err := left.Check(ctx)
	if err != nil {
		left.tries++
		return nil, slowStorage(ctx, err)
	}
	return &work{key: key, left: left, fence: fence, stored: value}, nil
}

// claimWork takes the lease, or returns an error: a *storage.HeldError if another process has it.
func claimWork(ctx context.Context, s storage.Store, key string, left *claim) (*work, error) {
	w, err := openWork(ctx, s, key, left)
	if err == nil {
		err = w.take(ctx, w.stored)
	}
	if err != nil {
		return nil, err
	}
	return w, nil
}

// take takes the lease, and stores a value in the same write.
func (w *work) take(ctx context.Context, value []byte) error {
	// The lease's context is derived from that of the try, which must not end with the time for it.
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := time.AfterFunc(storageTimeout, func() { cancel(errSlowStorage) })
	lease, err := w.left.Take(ctx, value)
	switch inTime := timeout.Stop(); {
	case err == nil && inTime:
		*w.left = claim{}
		w.lease, w.end, w.stored = lease, cancel, value
		return nil
	case err == nil: // as of a process that was suspended: its context ends, or has ended
		_ = attend(ctx, endPatience, lease.Release)
		err = errSlowStorage
	}
	w.left.tries++
	err = slowStorage(ctx, err)
	cancel(nil)
	return err
}

// hold takes the lease, unless this process has it, and stores how far the work came in the same write. The error is a
// claimError: what is stored may be another's then.
func (w *work) hold(ctx context.Context) error {
	if w.lease != nil {
		return nil
	}
	value, err := w.stored, error(nil)
	if w.ours {
		value, err = w.Encode()
	}
	if err == nil {
		err = w.take(ctx, value)
	}
	if err != nil {
		w.ours = false
		return claimError{err}
	}
	return nil
}

// holdLast takes the lease if there is anything to be stored, and gives up the claim to it if not. If another process has it
// meanwhile, that is left to memory.
func (w *work) holdLast(ctx context.Context, patience time.Duration) error {
	if !w.ours {
		return nil
	}
	value, err := w.news()
	if err != nil || value == nil {
		w.left.withdraw()
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err = w.hold(ctx); errors.As(err, new(*storage.HeldError)) {
		return nil
	}
	return err
}
