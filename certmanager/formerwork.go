package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/storage"
)

// An adoption is the beginning of an issuance, of what an earlier release has left.
type adoption struct{ *issuance }

// run takes over the record of an earlier release, which had one for each issuer, with a lease of its own, before an
// issuer behind the first is asked. It reports whether the attempt ends with that: the storage fails, or a process of that
// release is at work. What was taken over is saved before the former record is emptied; killed between the two, the next
// attempt does it again, and keeps its own.
func (a adoption) run(run context.Context) (o outcome, ended bool) {
	if a.issuer == a.issuers[0] {
		return outcome{}, false
	}
	key := a.entry.workKey(a.issuer.ID())
	held, err := a.from(run, key)
	switch {
	case errors.As(err, new(claimError)):
		return a.notHeld(run, err), true
	case held != nil:
		wait := min(time.Duration(a.left.former.tries)*time.Second, maxClaimInterval)
		err = fmt.Errorf("certmanager: %v: %w: %w", &a.entry.subject, errHeld, held)
		return outcome{kind: lifecycle.Deferred, until: time.Now().Add(wait), err: err}, true
	case err != nil:
		return failedInHouse(run, a.entry, err), true
	}
	return outcome{}, false
}

// from takes over the record at the key, if there is one and nobody holds its lease.
func (a adoption) from(run context.Context, key string) (held *storage.HeldError, err error) {
	if exists, err := a.archive.has(a.work.within(run), key); err != nil {
		return nil, fmt.Errorf("load the work with the issuer %s: %w", a.issuer.ID(), err)
	} else if !exists {
		return nil, nil
	}
	if err := a.work.hold(run); err != nil {
		return nil, err
	}
	ctx := a.work.context()
	former, err := claimWork(ctx, a.store, key, &a.left.former)
	if err != nil {
		held, _ = errors.AsType[*storage.HeldError](err)
		return held, err
	}
	defer func() {
		if err := former.release(ctx); err != nil {
			a.warn(ctx, a.issuer.ID(), fmt.Errorf("certmanager: %v: give back the lease: %w", &a.entry.subject, err))
		}
	}()
	value := former.stored
	found, err := a.work.Adopt(a.issuer.ID(), value)
	switch {
	case err != nil:
		return nil, a.archive.setAside(ctx, key, value, Event{Names: a.entry.names(), Issuer: a.issuer.ID(), Err: err})
	case !found:
		return nil, nil
	}
	a.work.discount(a.stored)
	a.journal = a.work.Journal(a.issuer.ID())
	if err := a.work.save(ctx); err != nil {
		return nil, fmt.Errorf("take over the work with the issuer %s: %w", a.issuer.ID(), err)
	}
	return nil, empty(ctx, former)
}

// empty says that the record has nothing to take over any more.
func empty(ctx context.Context, w *work) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := persist(ctx, func() error { return w.lease.Save(ctx, nil) })
	if err != nil {
		return fmt.Errorf("empty the record that was taken over: %w", err)
	}
	return nil
}
