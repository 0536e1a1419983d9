package certmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

const (
	attemptTime = 10 * time.Minute // for one attempt with one issuer; the next goes on where it stopped
	leaseTerm   = time.Minute      // after which another process may take over from one that died
	keepTime    = 30 * time.Second // for storing a certificate that was issued, also when Run ends
)

// An attempt is the work on one certificate with one issuer, under the work's lease.
type attempt struct {
	*Manager
	certificate *managed
	issuer      Issuer
	lease       *storage.Lease
	journal     journal
}

// attempt does what is due for c and, where c is under management, puts the next thing due into the
// queue. It is the one path that obtains and renews.
func (m *Manager) attempt(ctx context.Context, c *managed) error {
	if !c.begin() {
		return nil
	}
	action, next, err := m.tryIssuers(ctx, c)
	next = c.end(action, next, err)
	if m.manages(c) {
		m.queue.Set(c, next)
	}
	return err
}

// tryIssuers asks one issuer after another.
func (m *Manager) tryIssuers(ctx context.Context, c *managed) (Action, time.Time, error) {
	if action, next, err := m.askAgain(ctx, c); action != "" {
		return action, next, err
	}
	var failure error
	var next time.Time
	for _, issuer := range m.issuers {
		due, err := m.tryIssuer(ctx, issuer, c)
		if err == nil {
			return ActionRenew, due, nil
		}
		if failure == nil {
			failure = err
		} else {
			failure = fmt.Errorf("%w; %w", failure, err)
		}
		if next.IsZero() || due.Before(next) {
			next = due
		}
		if ctx.Err() != nil {
			break
		}
	}
	return ActionRetry, next, failure
}

// askAgain asks whether a certificate that was obtained on demand is still allowed, before it is
// renewed. An empty action says that it is; otherwise the certificate is served for the rest of its
// time and then forgotten, unless it is allowed again.
func (m *Manager) askAgain(ctx context.Context, c *managed) (Action, time.Time, error) {
	current := c.serving()
	if !c.onDemand() || current == nil {
		return "", time.Time{}, nil
	}
	err := m.ask(ctx, c.identifiers[0].Value)
	switch {
	case err == nil:
		return "", time.Time{}, nil
	case !errors.Is(err, ErrDenied):
		next, err := m.hindered(ctx, c, err)
		return ActionRetry, next, err
	case !time.Now().Before(current.leaf.NotAfter):
		m.forget(c)
	}
	return ActionRetry, current.leaf.NotAfter.Add(time.Second), err
}

// tryIssuer takes the lease, looks whether there is anything left to do, and does it. It returns when
// something is due next.
func (m *Manager) tryIssuer(ctx context.Context, issuer Issuer, c *managed) (time.Time, error) {
	run := ctx
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	lease, err := storage.Acquire(ctx, m.store, workKey(issuer, &c.subject), leaseTerm)
	if err != nil {
		return m.hindered(run, c, err)
	}
	defer m.release(ctx, c, lease)
	a := &attempt{Manager: m, certificate: c, issuer: issuer, lease: lease}
	stored, err := m.loadRecord(lease.Context(), issuer, &c.subject)
	if err != nil {
		return m.hindered(run, c, err)
	}
	if stored != nil {
		m.serve(c, stored)
	}
	a.readJournal(lease.Context(), stored)
	forced := c.forced()
	if current := c.serving(); current != nil && !forced && c.unkept(issuer) == nil {
		if due := renewal(current); time.Now().Before(due) {
			return due, nil // another process was faster
		}
	}
	if time.Now().Before(a.journal.Next) && !forced {
		return a.journal.Next, &earlierFailure{a.journal.Failed, a.journal.Error}
	}
	return a.obtain(run)
}

// readJournal finds how far the work came.
func (a *attempt) readJournal(ctx context.Context, stored *record) {
	value := a.lease.Value()
	journal, err := decodeJournal(value)
	if err != nil {
		c := a.certificate
		a.setAside(ctx, workKey(a.issuer, &c.subject), value, Event{Names: c.names(), Issuer: a.issuer.ID(), Err: err})
	}
	if journal.isFor(stored) {
		journal, _ = decodeJournal(nil)
	}
	a.journal = journal
}

// obtain has the certificate issued, stores it and serves it.
func (a *attempt) obtain(run context.Context) (time.Time, error) {
	c, ctx := a.certificate, a.lease.Context()
	event := Event{Names: c.names(), Issuer: a.issuer.ID(), Renewal: c.serving() != nil}
	obtaining := event
	obtaining.Kind = EventObtaining
	a.emit(ctx, obtaining)
	r, err := c.unkept(a.issuer), error(nil)
	if r == nil {
		r, err = a.issue(ctx)
	}
	if err == nil {
		a.serve(c, r)
		err = a.keep(ctx, r)
		c.setUnkept(r, err)
	}
	if err != nil {
		return a.failed(run, event, err)
	}
	a.journal, _ = decodeJournal(nil)
	if err := a.saveJournal(ctx); err != nil {
		// Not needed: whoever reads it sees that the certificate has come.
		a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: clear the journal: %w", &c.subject, err)})
	}
	event.Kind, event.Serial, event.NotAfter, event.Next = EventObtained, r.serial(), r.leaf.NotAfter, renewal(r)
	a.emit(ctx, event)
	return event.Next, nil
}

// issue has the issuer sign, or go on with what it had begun.
func (a *attempt) issue(ctx context.Context) (*record, error) {
	c := a.certificate
	key, err := a.journal.begin(c.keyType)
	if err != nil {
		return nil, err
	}
	certificate, err := a.issuer.Issue(ctx, Request{
		Identifiers: c.identifiers,
		Key:         key,
		Solvers:     rotated(a.solvers, a.journal.Refusals),
		Storage:     a.store,
		Journal:     a.journal.Notes,
		Record: func(ctx context.Context, notes []byte) error {
			a.journal.Notes = notes
			return a.saveJournal(ctx)
		},
		Warn: func(err error) {
			a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Issuer: a.issuer.ID(), Err: fmt.Errorf("certmanager: %w", err)})
		},
	})
	if err != nil {
		return nil, err
	}
	err = certificate.Verify(key.Public(), c.identifiers, time.Now())
	if err == nil && (len(certificate.Chain) == 0 || !bytes.Equal(certificate.Chain[0], certificate.Leaf.Raw)) {
		err = errors.New("the chain does not begin with the certificate")
	}
	if err != nil {
		return nil, &acme.OrderError{Err: fmt.Errorf("issuer %s: %w", a.issuer.ID(), err)}
	}
	return &record{
		meta: recordMeta{Issuer: a.issuer.ID(), Names: c.names(), KeyType: c.keyType, URL: certificate.URL,
			Obtained: time.Now().UTC(), OnDemand: c.onDemand()},
		key:   key,
		chain: certificate.Chain,
		leaf:  certificate.Leaf,
	}, nil
}

// rotated returns the solvers with the n-th first: after a refusal another way to prove control, if
// there is one, may fare better.
func rotated(solvers []acme.Solver, n int) []acme.Solver {
	n %= max(len(solvers), 1)
	return slices.Concat(solvers[n:], solvers[:n])
}

func (a *attempt) saveJournal(ctx context.Context) error {
	value, err := a.journal.encode()
	if err != nil {
		return err
	}
	return a.lease.Save(ctx, value)
}

// keep stores the certificate, unless a newer one is there. It goes on for a while when ctx has ended:
// what was issued is not to be lost.
func (a *attempt) keep(ctx context.Context, r *record) error {
	value, err := r.encode()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		_, err = storage.Update(ctx, a.store, recordKey(a.issuer, &a.certificate.subject), func(old []byte) ([]byte, error) {
			if stored, err := decodeRecord(old); err == nil && stored.fits(&a.certificate.subject) == nil && stored.newerThan(r) {
				return old, nil
			}
			return value, nil
		})
		if err == nil {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return fmt.Errorf("store the certificate: %w", err)
		}
	}
}

// failed writes down that the attempt failed and returns when the next one is due. A failure only
// because Run ends, or because another process took over, is none.
func (a *attempt) failed(run context.Context, event Event, err error) (time.Time, error) {
	c := a.certificate
	err = fmt.Errorf("certmanager: %v: %w", &c.subject, err)
	if run.Err() != nil {
		return time.Now(), err
	}
	if a.lease.Context().Err() != nil && errors.Is(context.Cause(a.lease.Context()), storage.ErrLost) {
		return time.Now().Add(schedule.TransientBackoff(1, rand.Float64())), err
	}
	a.journal.fail(err, time.Now())
	event.Kind, event.Next, event.Err = EventFailed, a.journal.Next, err
	// The attempt's own time may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), keepTime)
	defer cancel()
	if saveErr := a.saveJournal(ctx); saveErr != nil {
		a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: keep the journal: %w", &c.subject, saveErr)})
	}
	a.emit(ctx, event)
	return event.Next, err
}

// hindered returns when to try again after something else than an issuer failed: the storage, or the
// question whether a name is allowed.
func (m *Manager) hindered(run context.Context, c *managed, err error) (time.Time, error) {
	err = fmt.Errorf("certmanager: %v: %w", &c.subject, err)
	next := time.Now().Add(schedule.TransientBackoff(c.stumble(), rand.Float64()))
	if run.Err() == nil {
		m.emit(run, Event{Kind: EventFailed, Names: c.names(), Renewal: c.serving() != nil, Next: next, Err: err})
	}
	return next, err
}

// release gives the lease back, also when ctx has ended.
func (m *Manager) release(ctx context.Context, c *managed, lease *storage.Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := lease.Release(ctx); err != nil && !errors.Is(err, storage.ErrLost) {
		m.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: give back the lease: %w", &c.subject, err)})
	}
}
