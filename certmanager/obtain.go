package certmanager

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/storage"
)

// keepTime is for storing what must not be lost, also when Run ends.
const keepTime = 30 * time.Second

// An attempt is the work on one certificate with one issuer, under the work's lease.
type attempt struct {
	*Manager
	certificate *managed
	issuer      *gatedIssuer
	lease       *storage.Lease
	stored      *record // as found under the lease; nil: none
	journal     journal
}

// readJournal finds how far the work came.
func (a *attempt) readJournal(ctx context.Context) error {
	value := a.lease.Value()
	journal, err := decodeJournal(value)
	if err != nil {
		c := a.certificate
		if err := a.setAside(ctx, workKey(a.issuer, &c.subject), value, Event{Names: c.names(), Issuer: a.issuer.ID(), Err: err}); err != nil {
			return err
		}
	}
	if journal.isFor(a.stored) {
		journal, _ = decodeJournal(nil)
	}
	a.journal = journal
	return nil
}

// obtain has the certificate issued, stores it and serves it.
func (a *attempt) obtain(run context.Context) outcome {
	c, ctx := a.certificate, a.lease.Context()
	event := Event{Names: c.names(), Issuer: a.issuer.ID(), Renewal: c.serving() != nil}
	if err := a.issuer.closed(); err != nil && c.unkept(a.issuer) == nil {
		return a.failed(run, event, err)
	}
	obtaining := event
	obtaining.Kind = EventObtaining
	a.emit(ctx, obtaining)
	r, err := c.unkept(a.issuer), error(nil)
	if r == nil {
		r, err = a.issue(ctx)
	}
	var kept *record
	if err == nil {
		if ctx.Err() == nil {
			a.serve(c, r) // nobody else has worked on it, and the storage may take its time
		}
		kept, err = a.keep(ctx, r)
		c.setUnkept(r, err)
	}
	if err != nil {
		return a.failed(run, event, err)
	}
	served := a.serve(c, kept)
	if kept != r {
		o := outcome{next: renewal(kept)}
		if served {
			o.events = []Event{loaded(c, kept)}
		}
		return o
	}
	a.journal, _ = decodeJournal(nil)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	if err := a.saveJournal(ctx); err != nil {
		// Not needed: whoever reads it sees that the certificate has come.
		a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: clear the journal: %w", &c.subject, err)})
	}
	event.Kind, event.Serial, event.NotAfter, event.Next = EventObtained, r.serial, r.notAfter, renewal(r)
	return outcome{next: event.Next, events: []Event{event}}
}

// issue has the issuer sign, or go on with what it had begun.
func (a *attempt) issue(ctx context.Context) (*record, error) {
	c := a.certificate
	key, err := a.journal.begin(c.keyType)
	if err != nil {
		return nil, err
	}
	warn := func(err error) {
		a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Issuer: a.issuer.ID(), Err: fmt.Errorf("certmanager: %w", err)})
	}
	certificate, err := a.issuer.Issue(ctx, Request{
		Identifiers: slices.Clone(c.identifiers),
		Key:         key,
		Solvers:     rotated(a.solversFor(&c.subject), a.journal.Rotation),
		Preflight:   a.config.Preflight,
		Vantage:     a.config.Vantage,
		Storage:     a.store,
		Journal:     a.journal.Notes,
		Record: func(ctx context.Context, notes []byte) error {
			a.journal.Notes = notes
			return a.saveJournal(ctx)
		},
		Warn: warn,
	})
	if err != nil {
		return nil, err
	}
	chain, err := a.checkIssued(certificate, key, c.identifiers)
	if err != nil {
		return nil, &acme.OrderError{Err: fmt.Errorf("issuer %s: %w", a.issuer.ID(), err)}
	}
	if len(certificate.Warnings) > 0 {
		warn(fmt.Errorf("%v: %s", &c.subject, strings.Join(certificate.Warnings, "; ")))
	}
	meta := recordMeta{Issuer: a.issuer.ID(), Names: c.names(), KeyType: c.keyType, URL: certificate.URL,
		Obtained: a.obtained(), OnDemand: c.onDemand()}
	return newRecord(meta, key, chain, certificate.Leaf), nil
}

// obtained returns the time to note for a certificate that has just come. It is later than that of what
// it replaces, though a clock be set back.
func (a *attempt) obtained() time.Time {
	now := time.Now().UTC()
	for _, predecessor := range []*record{a.stored, a.certificate.serving()} {
		if predecessor != nil && !now.After(predecessor.meta.Obtained) {
			now = predecessor.meta.Obtained.Add(1)
		}
	}
	return now
}

// rotated returns the solvers with the n-th first: after a failure another way to prove control, if
// there is one, may fare better.
func rotated(solvers []acme.Solver, n int) []acme.Solver {
	n %= max(len(solvers), 1)
	return slices.Concat(solvers[n:], solvers[:n])
}

// checkIssued judges what an issuer returned, and returns its chain.
func (m *Manager) checkIssued(certificate *acme.Certificate, key crypto.Signer, identifiers []acme.Identifier) ([][]byte, error) {
	if err := certificate.Verify(key.Public(), identifiers, time.Now()); err != nil {
		return nil, err
	}
	if len(certificate.Chain) == 0 || !bytes.Equal(certificate.Chain[0], certificate.Leaf.Raw) {
		return nil, errors.New("the chain does not begin with the certificate")
	}
	return m.intermediates.share(certificate.Chain)
}

func (a *attempt) saveJournal(ctx context.Context) error {
	value, err := a.journal.encode()
	if err != nil {
		return err
	}
	return a.lease.Save(ctx, value)
}

// keep stores the certificate in place of the one that was there when the lease was taken. Where there
// is another by now, the lease was lost meanwhile and its new holder's certificate stays. It returns what
// is stored then. It goes on for a while when ctx has ended: what was issued is not to be lost.
func (a *attempt) keep(ctx context.Context, r *record) (*record, error) {
	value, err := r.encode()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTime)
	defer cancel()
	for pause := 100 * time.Millisecond; ; pause *= 2 {
		kept := r
		_, err = storage.Update(ctx, a.store, recordKey(a.issuer, &a.certificate.subject), func(old []byte) ([]byte, error) {
			kept = r
			if stored, err := a.decodeRecord(old, &a.certificate.subject); err == nil && !stored.same(a.stored) && !stored.same(r) {
				kept = stored
				return old, nil
			}
			return value, nil
		})
		if err == nil {
			return kept, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("store the certificate: %w", err)
		}
	}
}

// failed writes down that the attempt failed and chooses the time of the next one. A failure only because
// Run ends, or because another process took over, is none.
func (a *attempt) failed(run context.Context, event Event, err error) outcome {
	c := a.certificate
	err = fmt.Errorf("certmanager: %v: %w", &c.subject, err)
	if run.Err() != nil {
		return outcome{next: time.Now(), err: err}
	}
	if a.lease.Context().Err() != nil && errors.Is(context.Cause(a.lease.Context()), storage.ErrLost) {
		return outcome{next: time.Now().Add(schedule.TransientBackoff(1, rand.Float64())), err: err}
	}
	event.Kind, event.Err = EventFailed, err
	if next, deferred := a.issuer.defers(err); deferred {
		o := outcome{next: next, err: err}
		if event.Next = next; !errors.As(err, new(*gate.ClosedError)) {
			o.events = []Event{event}
		}
		return o
	}
	a.journal.fail(err, time.Now())
	event.Next = a.journal.Next
	// The attempt's own time may be what ran out.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(run), keepTime)
	defer cancel()
	if saveErr := a.saveJournal(ctx); saveErr != nil {
		a.emit(ctx, Event{Kind: EventWarning, Names: c.names(), Err: fmt.Errorf("certmanager: %v: keep the journal: %w", &c.subject, saveErr)})
	}
	return outcome{next: event.Next, err: err, events: []Event{event}}
}
