package certmanager

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// storeTimeout is for storing what must not be lost, also when Run ends.
const storeTimeout = 30 * time.Second

// askIssuers has the certificate issued by the first issuer that does, stores it and serves it. Only a failure of an
// issuer's own leads to the next.
func (a *attempt) askIssuers(run context.Context) outcome {
	if r := a.entry.unsaved(); r != nil {
		return a.keep(run, r)
	}
	all := outcome{kind: lifecycle.Deferred}
	for _, issuer := range a.issuers {
		o, next := a.askIssuer(run, issuer)
		o.events = append(all.events, o.events...)
		if !next {
			return o
		}
		all.events = o.events
		if o.kind == lifecycle.Failed {
			all.kind = lifecycle.Failed
		}
		if all.err == nil {
			all.err = o.err
		} else {
			all.err = fmt.Errorf("%w; %w", all.err, o.err)
		}
		if all.until.IsZero() || o.until.Before(all.until) {
			all.until = o.until
		}
	}
	return all
}

// askIssuer has the issuer issue, if its time has come, and stores and serves what comes. It reports whether the next
// issuer is to be asked.
func (a *attempt) askIssuer(run context.Context, issuer *gatedIssuer) (o outcome, next bool) {
	e, j := a.entry, a.work.Journal(issuer.ID())
	event := Event{Names: e.names(), Issuer: issuer.ID(), Renewal: e.served.Load() != nil}
	if waits(j.Failure, time.Now()) && !a.task.Forced {
		return a.waiting(j, event), true
	}
	if closed, ok := errors.AsType[*gate.ClosedError](issuer.closed()); ok {
		return a.closed(closed), true
	}
	ctx, cancel := context.WithTimeout(a.lease.Context(), issueTimeout+time.Duration(len(e.identifiers)-1)*nameTimeout)
	defer cancel()
	obtaining := event
	obtaining.Kind, obtaining.quiet = EventObtaining, a.task.Quiet || a.troubles.of(ReasonIssuer, issuer.ID()).isTold()
	a.emit(ctx, obtaining)
	r, err := a.issue(ctx, issuer, j)
	if err != nil {
		return a.notIssued(run, issuer, event, err)
	}
	return a.keep(run, r), false
}

// waiting is the outcome when the issuer's next attempt is not due: it was set before, maybe by another process. It is
// told once, to whoever has started the program again and wonders.
func (a *attempt) waiting(j *record.Journal, event Event) outcome {
	o := outcome{kind: lifecycle.Failed, until: j.Next, err: &earlierFailure{j.Failed, j.Error}}
	if !a.entry.isFailing() {
		event.Kind, event.Next, event.Err = EventFailed, j.Next, o.err
		o.events = []Event{event}
	}
	return o
}

// issue has the issuer sign, or resume what it had begun. The key is recorded before: whatever is ordered for it is found
// again.
func (a *attempt) issue(ctx context.Context, issuer *gatedIssuer, j *record.Journal) (*record.Certificate, error) {
	e := a.entry
	if j.Key.Signer == nil {
		key, err := e.keyType.generate()
		if err != nil {
			return nil, err
		}
		j.Key, j.Notes = record.Key{Signer: key}, nil
		if err := a.saveWork(ctx); err != nil {
			return nil, storageFailure(fmt.Errorf("record the key before the order: %w", err))
		}
	}
	warn := func(err error) { a.warn(ctx, e, issuer.ID(), fmt.Errorf("certmanager: %w", err)) }
	request := Request{
		Identifiers: slices.Clone(e.identifiers),
		Key:         j.Key.Signer,
		Solvers:     rotated(a.solvers(&e.subject), j.Rotation),
		Preflight:   a.preflight,
		Vantage:     a.vantage,
		Storage:     a.store,
		Journal:     j.Notes,
		Record: func(ctx context.Context, notes []byte) error {
			j.Notes = notes
			return a.saveWork(ctx)
		},
		Warn: warn,
	}
	var certificate *acme.Certificate
	err := guard(ctx, a.logger, "Issuer.Issue", func() (err error) {
		certificate, err = issuer.Issue(ctx, request)
		return err
	})
	if err != nil {
		return nil, err
	}
	r, err := a.check(certificate, issuer, j)
	if err != nil {
		return nil, &acme.OrderError{Err: fmt.Errorf("issuer %s: %w", issuer.ID(), err)}
	}
	if len(certificate.Warnings) > 0 {
		warn(fmt.Errorf("%v: %s", &e.subject, strings.Join(certificate.Warnings, "; ")))
	}
	return r, nil
}

// check judges what an issuer returned, and returns its record.
func (a *attempt) check(certificate *acme.Certificate, issuer *gatedIssuer, j *record.Journal) (*record.Certificate, error) {
	e := a.entry
	if err := certificate.Verify(j.Key.Signer.Public(), e.identifiers, time.Now()); err != nil {
		return nil, err
	}
	if len(certificate.Chain) == 0 || !bytes.Equal(certificate.Chain[0], certificate.Leaf.Raw) {
		return nil, errors.New("the chain does not begin with the certificate")
	}
	meta := record.Meta{Issuer: issuer.ID(), Names: e.names(), KeyType: string(e.keyType), URL: certificate.URL,
		Obtained: a.obtained(), OnDemand: e.isOnDemand()}
	if current := e.served.Load(); current != nil {
		meta.Predecessor = current.serial()
	}
	return record.New(meta, j.Key, certificate, &a.intermediates)
}

// obtained returns the time to note for a certificate that has just come. It is later than that of what it replaces,
// though a clock be set back.
func (a *attempt) obtained() time.Time {
	now := time.Now().UTC()
	if current := a.entry.served.Load(); current != nil && !now.After(current.obtainedAt()) {
		now = current.obtainedAt().Add(1).UTC()
	}
	return now
}

// rotated returns the solvers with the n-th first: after a failure another way to prove control, if there is one, may
// fare better.
func rotated(solvers []acme.Solver, n int) []acme.Solver {
	n %= max(len(solvers), 1)
	return slices.Concat(solvers[n:], solvers[:n])
}

// keep serves a certificate that was issued, and stores it.
func (a *attempt) keep(run context.Context, r *record.Certificate) outcome {
	e, ctx := a.entry, a.lease.Context()
	event := Event{Names: e.names(), Issuer: r.Issuer, Renewal: e.served.Load() != nil}
	if ctx.Err() == nil {
		a.serve(e, r) // nobody else has worked on it, and the storage may take its time
	}
	kept, err := a.storeRecord(ctx, r)
	e.setUnsaved(r, err)
	if err != nil {
		return a.notKept(run, event, err)
	}
	served := a.serve(e, kept)
	if kept != r {
		o := outcome{kind: lifecycle.Current}
		if served {
			o.events = []Event{loadedEvent(e, kept)}
		}
		return o
	}
	a.done(r.Issuer)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	if err := a.saveWork(ctx); err != nil {
		// Not needed: whoever reads it sees that the certificate has come.
		a.warn(ctx, e, r.Issuer, fmt.Errorf("certmanager: %v: clear the journal: %w", &e.subject, err))
	}
	event.Kind, event.Serial, event.NotAfter, event.Next = EventObtained, r.Serial, r.End, renewal(r)
	return outcome{kind: lifecycle.Obtained, events: []Event{event}}
}

// storeRecord stores the certificate in place of the one that was there when the lease was taken. If there is another by now,
// the lease was lost meanwhile and its new holder's certificate stays. It returns what is stored then. It continues for a
// while when ctx has ended: what was issued is not to be lost.
func (a *attempt) storeRecord(ctx context.Context, r *record.Certificate) (kept *record.Certificate, err error) {
	value, err := r.Encode()
	if err != nil {
		return nil, err
	}
	key := record.CertificateKey(r.Issuer, a.entry.name(), string(a.entry.keyType))
	found := a.stored[r.Issuer]
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTimeout)
	defer cancel()
	err = persist(ctx, func() error {
		_, err := storage.Update(ctx, a.store, key, func(old []byte) ([]byte, error) {
			kept = r
			if stored, err := a.decode(old, &a.entry.subject); err == nil && !stored.Same(found) && !stored.Same(r) {
				kept = stored
				return old, nil
			}
			return value, nil
		})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("store the certificate: %w", err)
	}
	return kept, nil
}
