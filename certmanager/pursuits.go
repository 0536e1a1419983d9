package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	besideReadings     = 64          // of stored revocations at once
	besideRevocations  = 16          // that CAs are asked for at once: there may be many stored
	revocationInterval = time.Minute // between tries to list those that are stored
)

// Pursuits are the revocations that Run pursues, as is stored and as callers want: each once, whoever wants it.
type pursuits struct {
	archive   *archive
	catalogue *catalogue
	update    func(...*entry) // has the dispatcher plan entries anew
	logger    *slog.Logger
	emit      func(context.Context, Event)

	wishes   chan wish     // from callers to Run
	reading  chan struct{} // has room for those that are read
	revoking chan struct{} // has room for those that CAs are asked for

	mu    sync.Mutex // guards what follows, and who waits for each; no other lock is taken under it
	byKey map[string]*pursuit
}

// A wish is to have pursued what is stored.
type wish struct {
	key  string       // in the storage
	done chan<- error // is sent what came of the next try; has room for it; nil: nobody waits
}

// newPursuits returns those of certificates that the obtainer replaces and reports.
func newPursuits(o *obtainer) pursuits {
	return pursuits{
		archive: &o.archive, catalogue: o.catalogue, update: o.update, logger: o.logger, emit: o.emit,
		wishes:  make(chan wish),
		reading: make(chan struct{}, besideReadings), revoking: make(chan struct{}, besideRevocations),
		byKey: make(map[string]*pursuit),
	}
}

// serve pursues what is stored, and what callers store, until ctx ends.
func (all *pursuits) serve(ctx context.Context, tasks *sync.WaitGroup) {
	begin := func(w wish) {
		if p, isNew := all.join(w); isNew {
			tasks.Go(func() { p.run(ctx) })
		}
	}
	tasks.Go(func() {
		for ctx.Err() == nil && !all.resume(ctx, begin) {
			_ = pause(ctx, revocationInterval)
		}
	})
	for {
		select {
		case w := <-all.wishes:
			begin(w)
		case <-ctx.Done():
			return
		}
	}
}

// resume begins with what is stored, and reports whether the storage has told all of it.
func (all *pursuits) resume(ctx context.Context, begin func(wish)) bool {
	for key, err := range all.archive.store.List(ctx, record.RevocationPrefix) {
		if err != nil {
			return false
		}
		begin(wish{key: key})
	}
	return true
}

// revoke has revoked what there is for the name, for the reason, and returns what came of the first try of each.
func (all *pursuits) revoke(ctx context.Context, name string, reason acme.RevocationReason, stopped <-chan struct{}) error {
	found, err := revocations{all.archive, all.catalogue}.of(ctx, name, stopped)
	if err != nil {
		return fmt.Errorf("certmanager: revoke %s: %w", name, err)
	}
	var errs []error
	for _, r := range found {
		r.Reason, r.Requested = int(reason), time.Now().UTC()
		if err := all.pursue(ctx, &r, stopped); err != nil {
			errs = append(errs, fmt.Errorf("certmanager: revoke %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// pursue stores what is to be revoked, and waits for the first try.
func (all *pursuits) pursue(ctx context.Context, r *record.Revocation, stopped <-chan struct{}) error {
	if _, err := revokerOf(all.archive.issuers, r.Issuer); err != nil {
		return err
	}
	value, err := r.Encode()
	if err != nil {
		r.Key = record.Key{} // one that can't be stored: the account can revoke
		if value, err = r.Encode(); err != nil {
			return err
		}
	}
	key := record.RevocationKey(r.Issuer, serialOf(r.Certificate))
	if _, err := storage.Update(ctx, all.archive.store, key, func([]byte) ([]byte, error) { return value, nil }); err != nil {
		return storageFailure(fmt.Errorf("record it before it is done: %w", err))
	}
	done := make(chan error, 1)
	select {
	case all.wishes <- wish{key, done}: // at once, also if ctx has ended: it is stored
	case <-stopped:
		return errEnded
	}
	select {
	case err := <-done:
		return err
	case <-stopped:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns the pursuit that a wish is for, and whether it is to begin. A caller is for its next try, which is now.
func (all *pursuits) join(w wish) (p *pursuit, isNew bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	p = all.byKey[w.key]
	if isNew = p == nil; isNew {
		p = &pursuit{all: all, key: w.key, wanted: make(chan struct{}, 1)}
		all.byKey[w.key] = p
	}
	if w.done != nil {
		p.waiting = append(p.waiting, w.done)
		note(p.wanted)
	}
	return p, isNew
}

// callers returns those that wait for the try that begins.
func (all *pursuits) callers(p *pursuit) []chan<- error {
	all.mu.Lock()
	defer all.mu.Unlock()
	callers := p.waiting
	p.waiting = nil
	select {
	case <-p.wanted:
	default:
	}
	return callers
}

// leave ends a pursuit that is done, or that Run leaves undone as it is stored, and reports whether it has: a caller may have
// come meanwhile whom Run can still serve.
func (all *pursuits) leave(p *pursuit, runEnds bool) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(p.waiting) > 0 && !runEnds {
		return false
	}
	delete(all.byKey, p.key)
	return true
}
