package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/storage"
)

// notIssued is the outcome when an issuer has not issued: it writes down why and when to try again. It reports whether
// the failure is the issuer's own.
func (a *attempt) notIssued(run context.Context, j *journal, event Event, err error) (o outcome, own bool) {
	e := a.entry
	err = fmt.Errorf("certmanager: %v: %w", &e.subject, err)
	switch {
	case run.Err() != nil: // a failure only because Run ends is none
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}, false
	case a.lease.Context().Err() != nil && errors.Is(context.Cause(a.lease.Context()), storage.ErrLost):
		return outcome{kind: lifecycle.Deferred, until: shortly(), err: err}, false
	case errors.As(err, new(*storageError)):
		event.Kind, event.Err = EventFailed, err
		a.saveFailure(run, event, func() { j.hinder(err, time.Now()) })
		return outcome{kind: lifecycle.Failed, until: j.Next, err: err, events: []Event{event}}, false
	}
	a.saveFailure(run, event, func() { j.fail(err, time.Now(), a.entry.end()) })
	event.Kind, event.Next, event.Err = EventFailed, j.Next, err
	return outcome{kind: lifecycle.Failed, until: j.Next, err: err, events: []Event{event}}, true
}

// notKept is the outcome when a certificate has come that the storage does not take. It is served, and stored later.
func (a *attempt) notKept(run context.Context, event Event, err error) outcome {
	err = fmt.Errorf("certmanager: %v: %w", &a.entry.subject, err)
	if run.Err() != nil {
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}
	}
	event.Kind, event.Err = EventFailed, err
	return outcome{kind: lifecycle.Failed, err: err, events: []Event{event}}
}

// saveFailure notes a failure and stores that. What the storage does not take is remembered here.
func (a *attempt) saveFailure(run context.Context, event Event, note func()) {
	note()
	// The attempt's own time may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), storeTimeout)
	defer cancel()
	err := a.saveWork(ctx)
	if err != nil {
		a.warn(ctx, a.entry, event.Issuer, fmt.Errorf("certmanager: %v: keep the journal: %w", &a.entry.subject, err))
	}
}
