package certmanager

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	leaseTerm    = time.Minute      // after which another process may take over from one that died
	storeTimeout = 30 * time.Second // for storing what must not be lost, also when Run ends
)

// A work is the record of the work on a certificate, and the lease that it takes to change it.
type work struct {
	record.Work
	key    string // in the storage
	lease  *storage.Lease
	stored []byte // as it is in the storage, if it is not known to be otherwise
}

// claimWork takes the lease, or returns an error: a *storage.HeldError if another process has it. A claim that was not
// successful is left for the next try, with what it saw.
func claimWork(ctx context.Context, s storage.Store, key string, left *claim) (*work, error) {
	if left.Claim == nil || left.Key != key {
		left.withdraw()
		left.Claim = &storage.Claim{Store: s, Key: key, Term: leaseTerm}
	}
	// The lease's context is derived from that of the try, which must not end with the time for it.
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := time.AfterFunc(storageTimeout, func() { cancel(errSlowStorage) })
	lease, err := left.Try(ctx)
	if err == nil && timeout.Stop() {
		*left = claim{}
		return &work{key: key, lease: lease}, nil
	}
	left.tries++
	err = slowStorage(ctx, err)
	cancel(nil)
	return nil, err
}

// context ends when the lease is lost or Run ends.
func (w *work) context() context.Context { return w.lease.Context() }

// isLost reports whether another process has taken the lease.
func (w *work) isLost() bool {
	return w.context().Err() != nil && errors.Is(context.Cause(w.context()), storage.ErrLost)
}

// read finds how far the work came. After an error, which says why the record can't be used, it has begun anew.
func (w *work) read(firstIssuer string) (err error) {
	w.stored = w.lease.Value()
	w.Work, err = record.DecodeWork(w.stored, firstIssuer)
	if err != nil {
		w.Work = record.Work{}
	}
	return err
}

// recall takes over what this process remembers of attempts that the storage did not take. If the record has changed
// since, another process went on from what was stored: of the remembered, the longer pauses count.
func (w *work) recall(remembered *work) {
	if remembered == nil {
		return
	}
	if bytes.Equal(w.stored, remembered.stored) {
		w.Work = remembered.Work
		return
	}
	if outlasts(remembered.Failure, w.Failure) {
		w.Failure, w.Attempts = remembered.Failure, max(w.Attempts, remembered.Attempts)
	}
	for issuer, old := range remembered.Journals {
		j := w.Journal(issuer)
		if outlasts(old.Failure, j.Failure) {
			j.Failure = old.Failure
			j.Refusals, j.Interruptions = max(j.Refusals, old.Refusals), max(j.Interruptions, old.Interruptions)
		}
	}
}

// outlasts reports whether a failure came later than another, and is to be waited for longer.
func outlasts(f, other record.Failure) bool {
	return f.Next.After(other.Next) && f.Failed.After(other.Failed)
}

// done forgets the work with an issuer that has issued.
func (w *work) done(issuer string) {
	delete(w.Journals, issuer)
	w.Attempts, w.Failure = 0, record.Failure{}
}

// save stores how far the work came. What the storage does not take is left in memory for the next attempt.
func (w *work) save(ctx context.Context, left *carryover) error {
	value, err := w.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err = persist(ctx, func() error { return w.lease.Save(ctx, value) }); err != nil {
		left.work = w
		return err
	}
	left.work, w.stored = nil, value
	return nil
}

// release gives the lease back, also when ctx has ended. What the storage fails to take is tried again for a while, unless
// ctx has ended: until it is taken, or the term is over, nobody else can work on the certificate.
func (w *work) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := persist(ctx, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		return w.lease.Release(ctx)
	})
	if errors.Is(err, storage.ErrLost) {
		return nil
	}
	return err
}

// persist calls f until it succeeds, finds that the lease is lost, or ctx ends.
func persist(ctx context.Context, f func() error) error {
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		err := f()
		if err == nil || errors.Is(err, storage.ErrLost) || errors.Is(err, storage.ErrTooLarge) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}
