package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/storage"
)

// adopt takes over the record of an earlier release, which had one for each issuer, with a lease of its own, before an
// issuer behind the first is asked. It reports whether the attempt ends with that: the storage fails, or a process of that
// release is at work. What was taken over is saved before the former record is emptied; killed between the two, the next
// attempt does it again, and keeps its own.
func (i *issuance) adopt(run context.Context) (o outcome, ended bool) {
	if i.issuer == i.issuers[0] {
		return outcome{}, false
	}
	key := i.entry.workKey(i.issuer.ID())
	held, err := i.adoptFrom(run, key)
	switch {
	case errors.As(err, new(claimError)):
		return i.notHeld(run, err), true
	case held != nil:
		wait := min(time.Duration(i.left.former.tries)*time.Second, maxClaimInterval)
		err = fmt.Errorf("certmanager: %v: %w: %w", &i.entry.subject, errHeld, held)
		return outcome{kind: lifecycle.Deferred, until: time.Now().Add(wait), err: err}, true
	case err != nil:
		return i.obtainer.failed(run, i.entry, err), true
	}
	return outcome{}, false
}

// adoptFrom takes over the record at the key, if there is one and nobody holds its lease.
func (i *issuance) adoptFrom(run context.Context, key string) (held *storage.HeldError, err error) {
	if exists, err := i.archive.has(i.work.within(run), key); err != nil {
		return nil, fmt.Errorf("load the work with the issuer %s: %w", i.issuer.ID(), err)
	} else if !exists {
		return nil, nil
	}
	if err := i.work.hold(run); err != nil {
		return nil, err
	}
	ctx := i.work.context()
	former, err := claimWork(ctx, i.store, key, &i.left.former)
	if err != nil {
		held, _ = errors.AsType[*storage.HeldError](err)
		return held, err
	}
	defer func() {
		if err := former.release(ctx); err != nil {
			i.warn(ctx, i.issuer.ID(), fmt.Errorf("certmanager: %v: give back the lease: %w", &i.entry.subject, err))
		}
	}()
	value := former.stored
	found, err := i.work.Adopt(i.issuer.ID(), value)
	switch {
	case err != nil:
		return nil, i.archive.setAside(ctx, key, value, Event{Names: i.entry.names(), Issuer: i.issuer.ID(), Err: err})
	case !found:
		return nil, nil
	}
	i.work.discount(i.stored)
	i.journal = i.work.Journal(i.issuer.ID())
	if err := i.work.save(ctx); err != nil {
		return nil, fmt.Errorf("take over the work with the issuer %s: %w", i.issuer.ID(), err)
	}
	return nil, former.empty(ctx)
}

// empty says that the record has nothing to take over any more.
func (w *work) empty(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := persist(ctx, func() error { return w.lease.Save(ctx, nil) })
	if err != nil {
		return fmt.Errorf("empty the record that was taken over: %w", err)
	}
	return nil
}
