package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/storage"
)

// notIssued is the outcome when an issuer has not issued: it writes down why and when to try again. It reports whether
// the next issuer is to be asked.
func (a *attempt) notIssued(run context.Context, issuer *gatedIssuer, event Event, err error) (o outcome, next bool) {
	j := a.work.Journal(issuer.ID())
	if closed, ok := errors.AsType[*gate.ClosedError](err); ok {
		return a.closed(closed), true
	}
	err = fmt.Errorf("certmanager: %v: %w", &a.entry.subject, err)
	event.Kind, event.Err = EventFailed, err
	lost := a.lease.Context().Err() != nil && errors.Is(context.Cause(a.lease.Context()), storage.ErrLost)
	switch {
	case run.Err() != nil: // a failure only because Run ends is none
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}, false
	case lost:
		return outcome{kind: lifecycle.Deferred, until: shortly(), err: err}, false
	case errors.As(err, new(storageError)):
		hinder(j, err, time.Now())
	default:
		if until, deferred := issuer.defers(err); deferred { // for what concerns all names this one is told and waits with them
			event.Next = until
			return outcome{kind: lifecycle.Failed, until: until, err: err, events: []Event{event}}, true
		}
		fail(j, err, time.Now(), a.entry.end())
		next = true
	}
	event.Next = j.Next
	// The attempt's own time may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), storeTimeout)
	defer cancel()
	if err := a.saveWork(ctx); err != nil {
		a.warn(ctx, a.entry, issuer.ID(), fmt.Errorf("certmanager: %v: keep the journal: %w", &a.entry.subject, err))
	}
	return outcome{kind: lifecycle.Failed, until: j.Next, err: err, events: []Event{event}}, next
}

// closed is the outcome when an issuer is not to be asked at the moment, because it fails for all names. Who waits for
// this one is told so; all others wait with it.
func (a *attempt) closed(closed *gate.ClosedError) outcome {
	o := outcome{kind: lifecycle.Deferred, until: closed.Until, err: fmt.Errorf("certmanager: %v: %w", &a.entry.subject, closed)}
	if a.task.Commanded && !errors.Is(closed, gate.ErrUnanswered) {
		o.kind = lifecycle.Failed
	}
	return o
}

// allClosed returns why no issuer is to be asked at the moment, and until when; nil: one is, or has something to resume.
func (a *attempt) allClosed() (until time.Time, err error) {
	if a.task.Commanded || a.entry.unsaved() != nil {
		return until, nil
	}
	for _, issuer := range a.issuers {
		closed, ok := errors.AsType[*gate.ClosedError](issuer.closed())
		if !ok {
			return time.Time{}, nil
		}
		if err == nil || closed.Until.Before(until) {
			until, err = closed.Until, fmt.Errorf("certmanager: %v: %w", &a.entry.subject, closed)
		}
	}
	return until, err
}

// notKept is the outcome when a certificate has come that the storage does not take. It is served, and stored later.
func (a *attempt) notKept(run context.Context, event Event, err error) outcome {
	err = fmt.Errorf("certmanager: %v: %w", &a.entry.subject, storageFailure(err))
	if run.Err() != nil {
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}
	}
	event.Kind, event.Err = EventFailed, err
	return outcome{kind: lifecycle.Failed, err: err, events: []Event{event}}
}
