package certmanager

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	leaseTerm    = time.Minute      // after which another process may take over from one that died
	storeTimeout = 30 * time.Second // for storing what must not be lost, also when Run ends
	endPatience  = 2 * time.Second  // for trying again to give a lease back when Run ends
)

// A work is the record of the work on a certificate, and the lease that it takes to change it.
type work struct {
	record.Work
	key    string // in the storage
	lease  *storage.Lease
	stored []byte                  // as it is in the storage, if it is not known to be otherwise
	ours   bool                    // what was stored is read, and may be replaced
	end    context.CancelCauseFunc // of the lease's context, which Run's would keep
}

// A memory is what one attempt leaves of its work for the next, whatever the storage makes of it.
type memory struct {
	record.Work
	stored []byte // as far as is known
	fence  uint64 // of the lease
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
	switch inTime := timeout.Stop(); {
	case err == nil && inTime:
		*left = claim{}
		return &work{key: key, lease: lease, end: cancel}, nil
	case err == nil: // as of a process that was suspended: its context ends, or has ended
		_ = attend(ctx, endPatience, lease.Release)
		err = errSlowStorage
	}
	left.tries++
	err = slowStorage(ctx, err)
	cancel(nil)
	return nil, err
}

// peek returns what the storage has of the work on the entry, without its lease. What can't be read tells nothing; an error is one of
// the storage.
func (o *obtainer) peek(ctx context.Context, e *entry) (record.Work, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	first := o.issuers[0].ID()
	item, err := o.store.Load(ctx, e.workKey(first))
	if errors.Is(err, fs.ErrNotExist) {
		return record.Work{}, nil
	}
	if err != nil {
		return record.Work{}, slowStorage(ctx, err)
	}
	value, _, err := storage.LeaseValue(item.Value)
	if err != nil {
		return record.Work{}, nil
	}
	left, _ := record.DecodeWork(value, first) // of what can't be read it returns none
	return left, nil
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

// remember returns what the next attempt is to know; nil: nothing.
func (w *work) remember() *memory {
	if !w.Next.IsZero() {
		return &memory{w.Work, w.stored, w.lease.Fence()}
	}
	for _, j := range w.Journals {
		if !j.IsZero() {
			return &memory{w.Work, w.stored, w.lease.Fence()}
		}
	}
	return nil
}

// recall takes over what this process remembers of its last attempt: the storage may not have taken it, or have lost it. If
// another had the lease since and has changed the record, that went on from what was stored: of what is remembered, the
// longer pauses count.
func (w *work) recall(m *memory) {
	if m == nil {
		return
	}
	if bytes.Equal(w.stored, m.stored) || w.lease.Fence() <= m.fence+1 {
		w.Work = m.Work
		return
	}
	if outlasts(m.Failure, w.Failure) {
		w.Failure, w.Attempts = m.Failure, max(w.Attempts, m.Attempts)
	}
	for issuer, old := range m.Journals {
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

// discount forgets work whose certificate is stored: a process was killed in between.
func (w *work) discount(all map[string]stored) {
	for issuer, j := range w.Journals {
		if stored := all[issuer]; stored.Certificate != nil && j.Key.Equal(stored.Key) {
			w.done(issuer)
		}
	}
}

// done forgets the work with an issuer that has issued.
func (w *work) done(issuer string) {
	delete(w.Journals, issuer)
	w.Attempts, w.Failure, w.Absence = 0, record.Failure{}, record.Absence{}
	w.Plan = record.Plan{}
}

// save stores how far the work came, unless that is stored already.
func (w *work) save(ctx context.Context) error {
	value, err := w.Encode()
	if err != nil || bytes.Equal(value, w.stored) {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err = persist(ctx, func() error { return w.lease.Save(ctx, value) }); err != nil {
		return err
	}
	w.stored = value
	return nil
}

// release gives the lease back, also when ctx has ended, and stores how far the work came in the same write. The error is
// that of either: what is not stored is left to memory. What the storage fails to take is tried again for a while, which is
// short if ctx has ended: until it is taken, or the term is over, nobody else can work on the certificate.
func (w *work) release(ctx context.Context) error {
	patience := storeTimeout
	if ctx.Err() != nil {
		patience = endPatience
	}
	defer w.end(nil)
	saved := w.saveLast(ctx, patience)
	return cmp.Or(attend(ctx, patience, w.lease.Release), saved)
}

// saveLast stores how far the work came, and gives the lease back if there is anything to be stored.
func (w *work) saveLast(ctx context.Context, patience time.Duration) error {
	if !w.ours {
		return nil
	}
	value, err := w.Encode()
	if err != nil || bytes.Equal(value, w.stored) {
		return err
	}
	err = attend(ctx, patience, func(ctx context.Context) error { return w.lease.SaveAndRelease(ctx, value) })
	if errors.Is(err, storage.ErrLost) {
		return nil
	}
	return err
}

// attend calls f, also when ctx has ended, and again until it succeeds, finds that the lease is lost, or the patience is at
// its end.
func attend(ctx context.Context, patience time.Duration, f func(context.Context) error) error {
	ctx = context.WithoutCancel(ctx)
	patient, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return persist(patient, func() error {
		ctx, cancel := context.WithTimeout(ctx, storeTimeout)
		defer cancel()
		return f(ctx)
	})
}

// persist calls f until it succeeds, finds that the lease is lost, or ctx ends.
func persist(ctx context.Context, f func() error) error {
	for wait := 100 * time.Millisecond; ; wait *= 2 {
		err := f()
		if err == nil || errors.Is(err, storage.ErrLost) || errors.Is(err, storage.ErrTooLarge) {
			return err
		}
		if pause(ctx, wait) != nil {
			return err
		}
	}
}
