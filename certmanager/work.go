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
	key    string                  // in the storage
	left   *claim                  // by which the lease is taken
	lease  *storage.Lease          // nil until it is
	fence  uint64                  // of the lease, or that it will have
	stored []byte                  // as it is in the storage, if it is not known to be otherwise
	ours   bool                    // what was stored is read, and may be replaced
	end    context.CancelCauseFunc // of the lease's context, which Run's would keep
}

// A memory is what one attempt leaves of its work for the next, whatever the storage makes of it.
type memory struct {
	record.Work
	stored []byte // as far as is known
	fence  uint64 // of whoever had the lease last, as far as is known
}

// peekWork returns what the storage has of the work on the entry by a chain of issuers, of which the first is given, without its
// lease. What can't be read tells nothing; an error is one of the storage.
func peekWork(ctx context.Context, s storage.Store, e *entry, first string) (record.Work, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	item, err := s.Load(ctx, e.workKey(first))
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

// within returns the lease's context, if it is taken, or that of Run.
func (w *work) within(run context.Context) context.Context {
	if w.lease == nil {
		return run
	}
	return w.context()
}

// isLost reports whether another process has taken the lease that this one had.
func (w *work) isLost() bool {
	return w.lease != nil && w.context().Err() != nil && errors.Is(context.Cause(w.context()), storage.ErrLost)
}

// read finds how far the work came. After an error, which says why the record can't be used, it has begun anew.
func (w *work) read(firstIssuer string) (err error) {
	w.Work, err = record.DecodeWork(w.stored, firstIssuer)
	if err != nil {
		w.Work = record.Work{}
	}
	return err
}

// memoryOf returns what the next attempt is to know of the work; nil: nothing.
func memoryOf(w *work) *memory {
	last := w.fence
	if w.lease == nil {
		last-- // that of another, before
	}
	if !w.Next.IsZero() {
		return &memory{w.Work, w.stored, last}
	}
	for _, j := range w.Journals {
		if !j.IsZero() {
			return &memory{w.Work, w.stored, last}
		}
	}
	return nil
}

// restore has the work take over what this process remembers of its last attempt: the storage may not have taken it, or have
// lost it. If another had the lease since and has changed the record, that went on from what was stored: of what is
// remembered, the longer pauses count.
func (m *memory) restore(w *work) {
	if m == nil {
		return
	}
	if bytes.Equal(w.stored, m.stored) || w.fence <= m.fence+1 {
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

// outlasts reports whether a failure is to be waited for longer than another, whichever came first.
func outlasts(f, other record.Failure) bool { return f.Next.After(other.Next) }

// discount forgets work whose certificate is stored: a process was killed in between.
func (w *work) discount(all map[string]stored) {
	for issuer, j := range w.Journals {
		if stored := all[issuer]; stored.Certificate != nil && j.Key.Equal(stored.Key) {
			w.Done(issuer)
		}
	}
}

// news returns what is to be stored of how far the work came; nil: nothing.
func (w *work) news() ([]byte, error) {
	value, err := w.Encode()
	if err != nil || bytes.Equal(value, w.stored) {
		return nil, err
	}
	if blank, _ := new(record.Work).Encode(); len(w.stored) == 0 && bytes.Equal(value, blank) {
		return nil, nil
	}
	return value, nil
}

// save stores how far the work came, unless that is stored already. If the lease is not taken yet, it is in the same write.
func (w *work) save(ctx context.Context) error {
	if w.lease == nil {
		return w.hold(ctx)
	}
	value, err := w.news()
	if err != nil || value == nil {
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
	if w.lease == nil {
		if err := w.holdLast(ctx, patience); err != nil || w.lease == nil {
			return err
		}
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
	value, err := w.news()
	if err != nil || value == nil {
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
