package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

const (
	attemptTime = 10 * time.Minute // for one attempt with one issuer; the next goes on where it stopped
	nameTime    = 2 * time.Minute  // more for each further name: some DNS providers need a minute between two records
	askTime     = 24 * time.Hour   // after which Config.OnDemand is asked again about a name that it denied
	leaseTerm   = time.Minute      // after which another process may take over from one that died
	leaseNotice = time.Second      // after which a lease counts as held by another; a free one takes a load and a write
)

// An outcome is what came of an attempt.
type outcome struct {
	action Action    // what is due next
	next   time.Time // when
	err    error     // nil: there is a certificate that is not due
	events []Event   // to be told once the outcome shows in the status
}

// attempt does what is due for c and, where c is under management, puts the next thing due into the
// queue. It is the one path that obtains and renews.
func (m *Manager) attempt(ctx context.Context, c *managed) error {
	if !c.begin() {
		return nil
	}
	o := m.tryIssuers(ctx, c)
	next := c.end(o)
	switch {
	case m.manages(c):
		m.queue.Set(c, next)
		if c.awaited() { // since the end of the attempt: Renew's place in the queue was overwritten
			m.queue.Set(c, time.Now())
		}
	case o.err == nil:
		m.adopt(c)
	}
	for _, e := range o.events {
		m.emit(ctx, e)
	}
	return o.err
}

// tryIssuers asks one issuer after another.
func (m *Manager) tryIssuers(ctx context.Context, c *managed) outcome {
	if o, allowed := m.askAgain(ctx, c); !allowed {
		return o
	}
	all := outcome{action: ActionRetry}
	for _, issuer := range m.issuers {
		o := m.tryIssuer(ctx, issuer, c)
		all.events = append(all.events, o.events...)
		if o.err == nil {
			return outcome{ActionRenew, o.next, nil, all.events}
		}
		if all.err == nil {
			all.err = o.err
		} else {
			all.err = fmt.Errorf("%w; %w", all.err, o.err)
		}
		if all.next.IsZero() || o.next.Before(all.next) {
			all.next = o.next
		}
		if ctx.Err() != nil {
			break
		}
	}
	return all
}

// askAgain asks whether a certificate that was obtained on demand is still allowed, before it is
// renewed. Where it is denied, the certificate is served for the rest of its time and then forgotten,
// unless it is allowed again.
func (m *Manager) askAgain(ctx context.Context, c *managed) (o outcome, allowed bool) {
	current := c.serving()
	if !c.onDemand() || current == nil {
		return outcome{}, true
	}
	err := m.ask(ctx, c.identifiers[0].Value)
	switch {
	case err == nil:
		return outcome{}, true
	case !errors.Is(err, ErrDenied):
		return m.hindered(ctx, c, err), false
	case !time.Now().Before(current.notAfter):
		m.forget(c)
	}
	next := time.Now().Add(askTime)
	if next.After(current.notAfter) {
		next = current.notAfter
	}
	return outcome{action: ActionRetry, next: next, err: fmt.Errorf("certmanager: %v: %w", &c.subject, err)}, false
}

// tryIssuer takes the lease, looks whether there is anything left to do, and does it.
func (m *Manager) tryIssuer(run context.Context, issuer *gatedIssuer, c *managed) outcome {
	ctx, cancel := context.WithTimeout(run, attemptTime+time.Duration(len(c.identifiers)-1)*nameTime)
	defer cancel()
	lease, err := m.acquire(ctx, issuer, c)
	if err != nil {
		return m.hindered(run, c, err)
	}
	defer m.release(ctx, c, lease)
	a := &attempt{Manager: m, certificate: c, issuer: issuer, lease: lease}
	if a.stored, err = m.loadRecord(lease.Context(), issuer, &c.subject); err != nil {
		return m.hindered(run, c, err)
	}
	var events []Event
	if a.stored != nil && m.serve(c, a.stored) {
		events = append(events, loaded(c, a.stored))
	}
	if err := a.readJournal(lease.Context()); err != nil {
		return m.hindered(run, c, err)
	}
	forced := c.forced()
	if current := c.serving(); current != nil && !forced && c.unkept(issuer) == nil {
		if due := renewal(current); time.Now().Before(due) {
			return outcome{next: due, events: events} // another process was faster
		}
	}
	var o outcome
	if a.journal.waits(time.Now()) && !forced {
		o = a.waiting()
	} else {
		o = a.obtain(run)
	}
	o.events = append(events, o.events...)
	return o
}

// acquire takes the lease of the work on c. Another process has it for as long as its own attempt takes.
func (m *Manager) acquire(ctx context.Context, issuer Issuer, c *managed) (*storage.Lease, error) {
	key := workKey(issuer, &c.subject)
	waits := time.AfterFunc(leaseNotice, func() {
		m.logger.LogAttrs(ctx, slog.LevelInfo, "waiting for another process that is at work on the certificate, or was killed at it",
			slog.Any("names", c.names()), slog.String("issuer", issuer.ID()), slog.String("lease", key))
	})
	defer waits.Stop()
	lease, err := storage.Acquire(ctx, m.store, key, leaseTerm)
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("another process is at work on the certificate, or the storage does not answer: %w", err)
	}
	return lease, err
}

// waiting is the outcome where the time of the next attempt has not come: it was set before, maybe by
// another process. It is told once, to whoever has started the program again and wonders.
func (a *attempt) waiting() outcome {
	c := a.certificate
	o := outcome{next: a.journal.Next, err: &earlierFailure{a.journal.Failed, a.journal.Error}}
	if !c.failing() {
		o.events = []Event{{Kind: EventFailed, Names: c.names(), Issuer: a.issuer.ID(), Renewal: c.serving() != nil, Next: o.next, Err: o.err}}
	}
	return o
}

// hindered is the outcome where something else than an issuer failed: the storage, or the question
// whether a name is allowed.
func (m *Manager) hindered(run context.Context, c *managed, err error) outcome {
	o := outcome{
		action: ActionRetry,
		next:   time.Now().Add(schedule.TransientBackoff(c.stumble(), rand.Float64())),
		err:    fmt.Errorf("certmanager: %v: %w", &c.subject, err),
	}
	if run.Err() == nil {
		o.events = []Event{{Kind: EventFailed, Names: c.names(), Renewal: c.serving() != nil, Next: o.next, Err: o.err}}
	}
	return o
}

// release gives the lease back, also when ctx has ended.
func (m *Manager) release(ctx context.Context, c *managed, lease *storage.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := lease.Release(ctx); err != nil && !errors.Is(err, storage.ErrLost) {
		m.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: give back the lease: %w", &c.subject, err)})
	}
}
