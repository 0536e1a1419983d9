package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	lapsePeriod = time.Hour          // after the back-off of a failure on demand, for somebody to ask again
	orderPeriod = 7 * 24 * time.Hour // for which a CA keeps an order under way: Let's Encrypt does so for a week
	maxLapsed   = 10000              // names at once whose work is to be deleted
)

// Lapses are of names that were wanted on demand in vain: the records of their work are deleted.
type lapses struct {
	*obtainer
	admission *admission
}

// add has the work record of a name deleted that was wanted on demand in vain, when nobody has asked for it again.
// What is beyond the bound, or left when the process ends, stays in the storage.
func (l lapses) add(e *entry) {
	name := e.identifiers[0].Value
	if !l.admission.lapse(name) {
		return
	}
	due := e.progress.plan(time.Now()).Due
	if now := time.Now(); due.Before(now) {
		due = now
	}
	vain := e.subject
	vain.keyTypes = vain.keyTypes[:1]
	gone := newEntry(vain, lapsed)
	gone.progress.finish(outcome{kind: lifecycle.Deferred, until: due.Add(lapsePeriod)})
	l.update(gone)
}

// do does what is due for an entry, for one that is not of a lapse as the obtainer does.
func (l lapses) do(ctx context.Context, e *entry) {
	if !e.roles.has(lapsed) {
		l.obtainer.do(ctx, e)
		return
	}
	e.progress.begin(nil)
	again, err := l.eraser().eraseLapsed(ctx, e)
	if err != nil && ctx.Err() == nil {
		l.logger.DebugContext(ctx, "the record of work in vain is not deleted yet", "name", e.name(), "error", err)
	}
	if again.IsZero() {
		e.roles.unset(lapsed)
		l.admission.forget(e.identifiers[0].Value)
	}
	e.progress.finish(outcome{kind: lifecycle.Deferred, until: again})
}

// lapse notes that the work of the name is to be deleted, and reports whether that is new.
func (a *admission) lapse(name string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lapsed[name] || len(a.lapsed) >= maxLapsed {
		return false
	}
	if a.lapsed == nil {
		a.lapsed = make(map[string]bool)
	}
	a.lapsed[name] = true
	return true
}

// forget is for a name whose work is deleted, or of use to somebody.
func (a *admission) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.lapsed, name)
}

// eraseLapsed deletes the work record of a name that has no certificate. It returns when to try again; the zero time: it is
// done, or the record is of use.
func (e eraser) eraseLapsed(ctx context.Context, vain *entry) (again time.Time, err error) {
	again = time.Now().Add(lapsePeriod)
	key := vain.workKey(e.issuers[0].ID())
	if exists, err := e.has(ctx, key); err != nil {
		return again, err
	} else if !exists {
		return time.Time{}, nil // to claim it would make one
	}
	left := new(claim)
	defer left.withdraw()
	w, err := claimWork(ctx, e.store, key, left)
	if err != nil {
		return again, err // who has it is at work on the name
	}
	defer func() {
		if released := w.release(ctx); err == nil {
			err = released
		}
	}()
	if r, err := e.newest(w.context(), vain); err != nil || r != nil {
		return time.Time{}, err
	}
	if err := w.read(e.issuers[0].ID()); err != nil {
		return time.Time{}, fmt.Errorf("it can't be used: %w", err) // it is kept aside when the name is wanted again
	}
	if until, now := usefulUntil(w.Journals), time.Now(); until.After(now) {
		return earlier(until, now.Add(maxBackoff)), nil
	}
	if err := e.deleteAllKeys(ctx, w); err != nil {
		return again, err
	}
	if err := attend(ctx, storeTimeout, w.lease.Delete); err != nil && !errors.Is(err, storage.ErrLost) {
		return again, err
	}
	return time.Time{}, nil
}

// usefulUntil returns until when the journals are of use, if nobody changes them: they have the back-off of a failure, or an
// order that can be resumed and whose answers are to be cleaned up.
func usefulUntil(journals map[string]*record.Journal) (until time.Time) {
	for _, j := range journals {
		end := j.Next.Add(lapsePeriod)
		if len(j.Notes) > 0 {
			end = j.Failed.Add(orderPeriod)
		}
		if end.After(until) {
			until = end
		}
	}
	return until
}
