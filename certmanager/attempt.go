package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

const (
	issueTimeout     = 10 * time.Minute // of one attempt with one issuer; the next resumes
	nameTimeout      = 2 * time.Minute  // more for each further name: some DNS providers need a minute between two records
	policyInterval   = 24 * time.Hour   // after which Config.OnDemand is asked again about a name that it denied
	leaseTerm        = time.Minute      // after which another process may take over from one that died
	maxClaimInterval = 15 * time.Second // between two tries to take a lease that another has
)

// An attempt is one task of obtaining or renewing an entry's certificate.
type attempt struct {
	*obtainer
	entry  *entry
	task   lifecycle.Task
	lease  *storage.Lease
	stored map[string]*record.Certificate // as found under the lease, by issuer
	work   work
}

// run does the task: it takes the lease, sees whether there is anything left to do, and asks one issuer after another.
func (a *attempt) run(ctx context.Context) outcome {
	if o, allowed := a.askPolicy(ctx); !allowed {
		return o
	}
	if until, err := a.writable.check(ctx); err != nil {
		return outcome{kind: lifecycle.Deferred, until: until, err: err}
	}
	if until, err := a.allClosed(); err != nil {
		return outcome{kind: lifecycle.Deferred, until: until, err: err}
	}
	if err := a.claim(ctx); err != nil {
		if held, ok := errors.AsType[*storage.HeldError](err); ok {
			return a.held(ctx, held)
		}
		return a.failed(ctx, a.entry, err)
	}
	defer a.release(ctx)
	events, err := a.read(a.lease.Context())
	if err != nil {
		return a.failed(ctx, a.entry, err)
	}
	if a.isCurrent() {
		return outcome{kind: lifecycle.Current, events: events}
	}
	o := a.askIssuers(ctx)
	o.events = append(events, o.events...)
	return o
}

// askPolicy asks whether a certificate that was obtained on demand is still allowed, before it is renewed. If it is
// denied, the certificate is served for the rest of its time and then evicted, unless it is allowed again.
func (a *attempt) askPolicy(ctx context.Context) (o outcome, allowed bool) {
	e := a.entry
	current := e.served.Load()
	if !e.isOnDemand() || current == nil {
		return outcome{}, true
	}
	err := a.policy(ctx, e.identifiers[0].Value)
	switch {
	case err == nil:
		return outcome{}, true
	case !errors.Is(err, ErrDenied):
		return a.failed(ctx, e, err), false
	case !time.Now().Before(current.end()):
		a.catalogue.evict(e)
	}
	a.turnedAway(ctx, e.identifiers[0].Value, err)
	next := time.Now().Add(policyInterval)
	if next.After(current.end()) {
		next = current.end()
	}
	return outcome{kind: lifecycle.Failed, until: next, err: fmt.Errorf("certmanager: %v: %w", &e.subject, err)}, false
}

// claim takes the lease of the work on the entry, or returns an error: a *storage.HeldError if another process has it.
// A claim that was not successful is kept, with what it saw.
func (a *attempt) claim(ctx context.Context) error {
	claim := a.entry.takeClaim()
	if claim == nil {
		claim = &storage.Claim{Store: a.store, Key: a.workKey(), Term: leaseTerm}
	}
	// The lease's context is derived from that of the try, which must not end with the time for it.
	ctx, cancel := context.WithCancelCause(ctx)
	timeout := time.AfterFunc(storageTimeout, func() { cancel(errSlowStorage) })
	lease, err := claim.Try(ctx)
	if err == nil && timeout.Stop() {
		a.lease = lease
		return nil
	}
	a.entry.keepClaim(claim)
	err = slowStorage(ctx, err)
	cancel(nil)
	return err
}

// held is the outcome when another process has the lease. It may have finished: what it has stored is served.
func (a *attempt) held(ctx context.Context, held *storage.HeldError) outcome {
	e := a.entry
	tries := e.claimTries()
	if tries == 2 {
		a.logger.LogAttrs(ctx, slog.LevelInfo, "waiting for another process that is at work on the certificate, or was killed at it",
			slog.Any("names", e.names()), slog.String("issuer", a.issuers[0].ID()), slog.String("lease", held.Key))
	}
	var events []Event
	if r, err := a.best(ctx, e); err == nil && r != nil && a.serve(e, r) {
		events = []Event{loadedEvent(e, r)}
	}
	if a.isCurrent() {
		e.dropClaim()
		return outcome{kind: lifecycle.Current, events: events}
	}
	pause := held.RetryAfter
	if tries < 3 || !e.isUrgent() {
		pause = min(time.Duration(tries)*time.Second, maxClaimInterval)
	}
	return outcome{kind: lifecycle.Deferred, until: time.Now().Add(pause), events: events, err: fmt.Errorf("certmanager: %v: %w: %w", &e.subject, errHeld, held)}
}

// read finds what the storage has: certificates of all issuers, of which the newest is served, and how far the work came.
func (a *attempt) read(ctx context.Context) (events []Event, err error) {
	e := a.entry
	a.stored = make(map[string]*record.Certificate, len(a.issuers))
	for _, issuer := range a.issuers {
		r, err := a.loadRecord(ctx, issuer, &e.subject)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		a.stored[issuer.ID()] = r
		if a.serve(e, r) {
			events = append(events, loadedEvent(e, r))
		}
	}
	return events, a.readWork(ctx)
}

// isCurrent reports whether there is nothing left to do: another process was faster.
func (a *attempt) isCurrent() bool {
	current := a.entry.served.Load()
	return current != nil && !a.task.Forced && a.entry.unsaved() == nil && time.Now().Before(a.entry.renewal())
}

// release gives the lease back, also when ctx has ended. What the storage fails to take is tried again for a while, unless
// ctx has ended: until it is taken, or the term is over, nobody else can work on the certificate.
func (a *attempt) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := persist(ctx, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
		defer cancel()
		return a.lease.Release(ctx)
	})
	if err != nil && !errors.Is(err, storage.ErrLost) {
		a.warn(ctx, a.entry, "", fmt.Errorf("certmanager: %v: give back the lease: %w", &a.entry.subject, err))
	}
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

// shortly returns a time for what nobody has failed at.
func shortly() time.Time { return time.Now().Add(schedule.TransientBackoff(1, rand.Float64())) }
