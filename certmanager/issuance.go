package certmanager

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
)

const (
	issueTimeout = 10 * time.Minute // of one attempt with one issuer; the next resumes
	nameTimeout  = 2 * time.Minute  // more for each further name: some DNS providers need a minute between two records
)

// An issuance is an attempt with one issuer.
type issuance struct {
	*attempt
	issuer  *gatedIssuer
	journal *record.Journal

	validations []record.Validation // of the names that the CA wanted proof for
}

// run has the issuer issue, if its time has come, and stores and serves what comes. It reports whether the next issuer is
// to be asked.
func (i *issuance) run(run context.Context) (o outcome, next bool) {
	e := i.entry
	event := Event{Names: e.names(), Issuer: i.issuer.ID(), Renewal: e.held() != nil, quiet: i.task.Quiet}
	if o, ended := (adoption{i}).run(run); ended {
		return o, false
	}
	if waits(i.journal.Failure, time.Now()) && !i.task.Forced {
		return i.waiting(i.journal.Failure, event), i.leadsOn()
	}
	if closed, ok := errors.AsType[*gate.ClosedError](i.issuer.closed(e.end())); ok {
		return i.closed(closed), true
	}
	if spent, ok := errors.AsType[*spentError](standing{i.attempt}.spent(run, i.issuer)); ok {
		return i.notYet(spent)
	}
	err := i.takeKey(run)
	if err == nil {
		err = i.work.hold(run)
	}
	if err != nil {
		event.Kind = EventFailed
		return i.failed(run, event, err)
	}
	ctx, cancel := context.WithTimeout(i.work.context(), issueTimeout+time.Duration(len(e.identifiers)-1)*nameTimeout)
	defer cancel()
	r, err := i.issue(ctx, func() {
		event.Kind, event.quiet = EventObtaining, i.task.Quiet || i.left.turn != nil || i.common.of(ReasonIssuer, i.issuer.ID()).isTold()
		i.emit(ctx, event)
	})
	if err != nil {
		event.Kind, event.quiet = EventFailed, false
		return i.failed(run, event, err)
	}
	k := keeping{i.attempt, r}
	return k.run(run), false
}

// issue has the issuer sign with the journal's key, or resume what it had begun; it calls begun before it does. The key is recorded before, and what else
// is known only here: whatever is ordered is found again, and a storage that takes no record gets no order.
func (i *issuance) issue(ctx context.Context, begun func()) (*record.Certificate, error) {
	e, j := i.entry, i.journal
	if err := i.work.save(ctx); err != nil {
		return nil, storageFailure(fmt.Errorf("record the key before the order: %w", err))
	}
	own, err := i.issuer.solvers()
	if err != nil {
		return nil, err
	}
	warn := func(err error) { i.warn(ctx, i.issuer.ID(), fmt.Errorf("certmanager: %w", err)) }
	request := Request{
		Identifiers: slices.Clone(e.identifiers),
		Key:         j.Key.Signer,
		Solvers:     rotated(i.solvers(&e.subject, own), j.Rotation),
		Profile:     e.profile,
		Replaces:    i.predecessor(),
		Refusals:    j.Refusals,
		Journal:     j.Notes,
		waiter:      standing{i.attempt}.waiter(i.issuer),
		Record: func(ctx context.Context, notes []byte) error {
			j.Notes = notes
			return i.work.save(ctx)
		},
		Warn: warn,
		Proved: func(p acme.Proof, by time.Time) {
			i.validations = append(i.validations, record.Validation{Name: orderedName(p), Type: p.Type, Validated: by})
		},
	}
	var certificate *acme.Certificate
	err = guard(ctx, i.logger, "Issuer.Issue", func() (err error) {
		certificate, err = i.issuer.issue(ctx, request, e.end(), begun)
		return err
	})
	if err != nil {
		return nil, err
	}
	r, err := i.check(ctx, certificate)
	if err != nil {
		return nil, &acme.OrderError{Err: fmt.Errorf("issuer %s: %w", i.issuer.ID(), err)}
	}
	i.checkTimes(ctx, r)
	if len(certificate.Warnings) > 0 {
		warn(fmt.Errorf("%v: %s", &e.subject, strings.Join(certificate.Warnings, "; ")))
	}
	return r, nil
}

// predecessor returns the certificate that the issuer is to be told of as replaced: its own, as long as that is valid, or nil.
func (i *issuance) predecessor() *x509.Certificate {
	own := i.stored[i.issuer.ID()].Certificate
	if own == nil || own.Imported || !time.Now().Before(own.NotAfter) || !i.entry.serves(own.Chain[0]) {
		return nil
	}
	leaf, err := x509.ParseCertificate(own.Chain[0])
	if err != nil {
		return nil // which is for its replacement to mend
	}
	return leaf
}

// check judges what the issuer returned, and returns its record.
func (i *issuance) check(ctx context.Context, certificate *acme.Certificate) (*record.Certificate, error) {
	e := i.entry
	if err := certificate.Verify(i.journal.Key.Signer.Public(), e.identifiers, time.Now()); err != nil {
		return nil, err
	}
	if len(certificate.Chain) == 0 || !bytes.Equal(certificate.Chain[0], certificate.Leaf.Raw) {
		return nil, errors.New("the chain does not begin with the certificate")
	}
	meta := record.Meta{Issuer: i.issuer.ID(), Names: e.names(), KeyType: string(e.keyType()), URL: certificate.URL,
		Obtained: i.obtained(), OnDemand: e.roles.has(onDemand), Validations: i.proved(ctx)}
	meta.Predecessor = e.serial()
	r, err := record.New(meta, i.journal.Key, certificate, &i.archive.intermediates)
	if err == nil && r.Key.Reference != "" {
		r.Key.Signer = newDistantKey(i.archive.keyring, r)
	}
	return r, err
}

// proved returns how control of the names was proved. A CA that remembers a proof wants no other: it is known then from the
// certificate before, or from that with another kind of key.
func (i *issuance) proved(ctx context.Context) []record.Validation {
	all := i.validations
	if own := i.stored[i.issuer.ID()].Certificate; own != nil {
		all = addProofs(all, &i.entry.subject, own)
	}
	for a := range familyOf(i.catalogue.lookup(i.entry.identifiers[0].Value)).all() {
		if a == i.entry || len(all) >= len(i.entry.identifiers) {
			continue
		}
		if r, err := i.archive.newest(ctx, a); err == nil && r != nil && r.Issuer == i.issuer.ID() {
			all = addProofs(all, &i.entry.subject, r)
		}
	}
	return all
}

// obtained returns the time to note for a certificate that has just come. It is later than that of what it replaces,
// though a clock be set back.
func (i *issuance) obtained() time.Time {
	now := time.Now().UTC()
	if current := i.entry.held(); current != nil && !record.Newer(now, current.obtainedAt(), now) {
		now = current.obtainedAt().Add(1).UTC()
	}
	return now
}

// closed is the outcome when the issuer is not to be asked at the moment, because it fails for all names. Who waits for
// this one is told so; all others wait with it.
func (i *issuance) closed(closed *gate.ClosedError) outcome {
	o := outcome{kind: lifecycle.Deferred, until: yieldTo(i.entry, closed.Until), err: fmt.Errorf("certmanager: %v: %w", &i.entry.subject, closed)}
	if i.task.Commanded && !errors.Is(closed, gate.ErrUnanswered) {
		o.kind = lifecycle.Failed
	}
	return o
}

// failed is the outcome when the issuer has not issued: it writes down why and when to try again. It reports whether the
// next issuer is to be asked.
func (i *issuance) failed(run context.Context, event Event, err error) (o outcome, next bool) {
	if closed, ok := errors.AsType[*gate.ClosedError](err); ok {
		return i.closed(closed), true
	}
	if spent, ok := errors.AsType[*spentError](err); ok && run.Err() == nil {
		return i.notYet(spent)
	}
	if errors.As(err, new(claimError)) {
		return i.notHeld(run, err), false
	}
	err = i.named(err)
	event.Err = err
	switch {
	case run.Err() != nil: // a failure only because Run ends is none
		return outcome{kind: lifecycle.Deferred, until: time.Now(), err: err}, false
	case i.work.isLost(): // to another, or the storage loses what it takes
		hinder(&i.work.Work, err, time.Now())
		return outcome{kind: lifecycle.Deferred, until: i.work.Next, err: err}, false
	case turnWait{i.attempt}.is(err):
		return turnWait{i.attempt}.deferred(err), false
	case isInHouse(err), isOfSolver(err, i.issuers):
		if !isInHouse(err) {
			i.journal.Rotation++
		}
		hinder(&i.work.Work, err, time.Now())
		event.Next = i.work.Next
	default:
		if until, deferred := i.issuer.defers(err, i.entry.end()); deferred { // for what concerns all names this one is told and waits with them
			event.Next = until
			return outcome{kind: lifecycle.Failed, until: soonest(until), err: err, events: []Event{event}}, true
		}
		key := i.journal.Key
		fail(i.journal, err, time.Now(), i.entry.end())
		if i.journal.Key.IsZero() {
			i.work.Unused.Add(key.Reference, time.Now())
		}
		event.Next, next = i.journal.Next, i.leadsOn()
	}
	return outcome{kind: lifecycle.Failed, until: event.Next, err: err, events: []Event{event}}, next
}

// isOfSolver reports whether a solver has failed, and no issuer: its time was over before the answer was published, such as where
// that of another order is, or it is one that all issuers have, with which the next one would fare no better.
func isOfSolver(err error, issuers []*gatedIssuer) bool {
	if _, taken := errors.AsType[takenPlace](err); taken {
		return true
	}
	failed, ok := errors.AsType[*acme.SolverError](err)
	if !ok || errors.As(err, new(*acme.Problem)) || errors.As(err, new(*acme.AuthorizationError)) {
		return false
	}
	return !failed.Presented && errors.Is(failed.Err, context.DeadlineExceeded) || !slices.ContainsFunc(issuers, (*gatedIssuer).hasSolvers)
}

// leadsOn reports whether the next issuer is to be asked: this one has failed often enough, or is not to be asked for long, by a
// limit of its own.
func (i *issuance) leadsOn() bool {
	return i.journal.Failure.Kind == string(FailureRateLimit) || i.journal.Refusals+i.journal.Interruptions >= i.failover
}

// rotated returns the solvers with the n-th first: after a failure another way to prove control, if there is one, may
// fare better.
func rotated(solvers []acme.Solver, n int) []acme.Solver {
	n %= max(len(solvers), 1)
	return slices.Concat(solvers[n:], solvers[:n])
}
