package certmanager

import (
	"bytes"
	"context"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A work is the record of the work on a certificate, which only the holder of its lease changes.
type work struct {
	record.Work
	stored []byte // as it is in the storage, if it is not known to be otherwise
}

// workKey is the storage key of the lease, and in it the record, of the work on the certificate.
func (a *attempt) workKey() string {
	return record.WorkKey(a.issuers[0].ID(), a.entry.name(), string(a.entry.keyType))
}

// readWork finds how far the work came.
func (a *attempt) readWork(ctx context.Context) error {
	value, first := a.lease.Value(), a.issuers[0].ID()
	w, err := record.DecodeWork(value, first)
	if err != nil {
		w = record.Work{}
		if err := a.setAside(ctx, a.workKey(), value, Event{Names: a.entry.names(), Issuer: first, Err: err}); err != nil {
			return err
		}
	}
	a.work = work{w, value}
	if remembered, ok := a.entry.remembered(); ok {
		a.work.recall(remembered)
	}
	for issuer, j := range a.work.Journals {
		if stored := a.stored[issuer]; stored != nil && j.Key.Equal(stored.Key) { // a process was killed after it had stored the certificate
			a.done(issuer)
		}
	}
	return nil
}

// recall takes over what this process remembers of attempts that the storage did not take. If the record has changed
// since, another process went on from what was stored: of the remembered, the longer pauses count.
func (w *work) recall(remembered work) {
	if bytes.Equal(w.stored, remembered.stored) {
		w.Work = remembered.Work
		return
	}
	for issuer, old := range remembered.Journals {
		j := w.Journal(issuer)
		if old.Next.After(j.Next) && old.Failed.After(j.Failed) {
			j.Failure = old.Failure
			j.Refusals, j.Interruptions = max(j.Refusals, old.Refusals), max(j.Interruptions, old.Interruptions)
		}
	}
}

// done forgets the work with an issuer that has issued.
func (a *attempt) done(issuer string) { delete(a.work.Journals, issuer) }

// saveWork stores how far the work came. What the storage does not take is remembered here.
func (a *attempt) saveWork(ctx context.Context) error {
	value, err := a.work.Encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err = persist(ctx, func() error { return a.lease.Save(ctx, value) })
	if err == nil {
		a.work.stored = value
	}
	a.entry.remember(a.work, err)
	return err
}
