package certmanager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

// An acmeIssuer is an ACME issuer at work for one manager: it keeps the account and its client between issuances.
type acmeIssuer struct {
	ACME
	services Services
	ca       ca.CA // what is known of it
	http     *http.Client
	account  account
	budgets  *budgets
	exempt   exemptions
	informer acme.Client // for what needs no account
	staging  *acmeIssuer // for dry runs; nil: there are none
}

func newACMEIssuer(a *ACME, s Services) *acmeIssuer {
	i := &acmeIssuer{ACME: *a, services: s, ca: ca.At(a.directoryURL()), http: a.httpClient()}
	i.account.observe = s.requests.observer(a.ID())
	i.informer.DirectoryURL, i.informer.HTTPClient, i.informer.Observe = a.directoryURL(), i.http, i.account.observe
	i.account.issuer, i.account.http, i.account.keys = &i.ACME, i.http, newKeyring(s.Keys, s.Logger, 1)
	i.budgets = newBudgets(a, i.ca, s.Storage)
	i.account.budgets = i.budgets
	if staging := a.staging(); staging != nil {
		if s.Preflight == PreflightRequire {
			s.Preflight = PreflightWarn // its CAA identities may be others
		}
		i.staging = newACMEIssuer(staging, s)
	}
	return i
}

// Solvers returns those that are for this CA alone.
func (a *acmeIssuer) Solvers() []acme.Solver { return a.ACME.Solvers }

// CloseIdleConnections closes the connections that the issuer keeps for later, if nobody else uses them.
func (a *acmeIssuer) CloseIdleConnections() {
	if a.HTTPClient == nil && a.Roots != nil {
		a.http.CloseIdleConnections()
	}
	if a.staging != nil {
		a.staging.CloseIdleConnections()
	}
}

// Issue resumes the order that the journal tells of, or makes one. Names that the CA has refused go through a dry run
// first.
func (a *acmeIssuer) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	i := &acmeIssuance{issuer: a, request: &r}
	i.notes.read(r.Journal)
	passed, err := i.dryRun(ctx)
	if err != nil {
		return nil, err
	}
	certificate, err := i.obtain(ctx)
	if err != nil && passed {
		err = fmt.Errorf("%w (the dry run at %s succeeded)", err, a.staging.ID())
	}
	return certificate, err
}

// obtain has the certificate issued by an order of the account's.
func (i *acmeIssuance) obtain(ctx context.Context) (*acme.Certificate, error) {
	account, store := &i.issuer.account, i.issuer.services.Storage
	var err error
	if i.account, err = account.open(ctx, store, openAccount{}); err != nil {
		return nil, err
	}
	resumed := i.notes.OrderURL != ""
	certificate, err := i.issue(ctx)
	if account.isChanged(ctx, store, i.account, err) {
		account.forget(i.account)
		if i.account, err = account.open(ctx, store, openAccount{}); err != nil {
			return nil, err
		}
		certificate, err = i.issue(ctx)
	}
	if errors.Is(err, acme.ErrAccountDoesNotExist) {
		lost := i.account
		if i.account, err = account.open(ctx, store, lost); err != nil {
			return nil, err
		}
		if i.account.url != lost.url {
			i.notes.restart() // the order is another account's
		}
		certificate, err = i.issue(ctx)
		return certificate, i.judge(ctx, err)
	}
	// An order left by an earlier attempt may have expired meanwhile, or have been validated while no
	// process was there to answer.
	var dead *acme.OrderError
	if resumed && errors.As(err, &dead) && ctx.Err() == nil {
		i.notes.restart()
		certificate, err = i.issue(ctx)
	}
	return certificate, i.judge(ctx, err)
}

// An acmeIssuance is one call of Issue at work.
type acmeIssuance struct {
	issuer  *acmeIssuer
	account openAccount
	request *Request
	notes   notes
	begun   bool // the CA was asked for the order
	asked   bool // it was, by this process
	charge  charge
	ordered bool // it has made it, or told of it
}

// issue obtains the certificate and notes how far it came.
func (i *acmeIssuance) issue(ctx context.Context) (*acme.Certificate, error) {
	r, n := i.request, &i.notes
	i.begun, i.ordered, i.asked = n.OrderURL != "", false, false
	beside, end := context.WithCancel(ctx)
	flight := &preflight{issuer: i.issuer, client: i.account.client, request: r, end: end, seen: newFindings()}
	defer flight.finish()
	finalized := n.FinalizedAt
	var left []leftAnswer
	certificate, err := i.account.client.Issue(ctx, acme.Request{
		Identifiers:    r.Identifiers,
		NotAfter:       notAfter(time.Now(), i.issuer.Lifetime),
		Profile:        i.issuer.profile(r),
		Replaces:       r.Replaces,
		Key:            r.Key,
		CommonName:     i.issuer.CommonName,
		PreferredChain: i.issuer.PreferredChain,
		Solvers:        r.Solvers,
		OrderURL:       n.OrderURL,
		FinalizedAt:    n.FinalizedAt,
		Presented:      n.Proofs,
		Explain:        flight.explain(),
		CleanUpFailed:  func(p acme.Proof, err error) { left = append(left, leftAnswer{p, err}) },
		Before: func(ctx context.Context, s acme.Step) error {
			if s.Action == acme.ActionAccept {
				return flight.checkAll(ctx, beside, s.Proofs)
			}
			return i.before(ctx, s)
		},
	})
	err = i.tellLeft(left, err)
	if err == nil {
		flight.finish()
		flight.succeeded()
		n.tellProofs(r.Proved)
		return certificate, nil
	}
	finalizedNow := !n.FinalizedAt.Equal(finalized)
	i.issuer.budgets.settle(ctx, &i.charge, failedOrder{r.Identifiers, err, i.ordered, finalizedNow})
	if r.Record != nil && finalizedNow {
		// Not kept, it is noted when the order is resumed: one that the CA processes for ever is given up later.
		_ = i.record(ctx)
	}
	return nil, err
}

// A leftAnswer is one that could not be taken away.
type leftAnswer struct {
	proof acme.Proof
	err   error
}

// tellLeft warns of answers that may still be published. That one which could not be published could not be taken away
// either is no news of its own: the error says both then.
func (i *acmeIssuance) tellLeft(left []leftAnswer, err error) error {
	failed, ok := errors.AsType[*acme.SolverError](err)
	for _, l := range left {
		switch {
		case ok && !failed.Presented && failed.Proof.URL == l.proof.URL:
			err = fmt.Errorf("%w; if it was published all the same, it still is%s", err, unlessSaid(l.err, err))
		case i.request.Warn != nil:
			i.request.Warn(fmt.Errorf("%s: the answer to %s may still be published: %w", l.proof.Identifier.Value, l.proof.Type, l.err))
		}
	}
	return err
}

// unlessSaid returns the end of a sentence that says an error; empty: what is at the bottom of it stands in the other one already.
func unlessSaid(err, other error) string {
	bottom := err
	for next := err; next != nil; next = errors.Unwrap(next) {
		bottom = next
	}
	if strings.Contains(other.Error(), bottom.Error()) {
		return ""
	}
	return ": " + strings.TrimPrefix(err.Error(), "solver: ")
}

// before notes a step that is about to be taken.
func (i *acmeIssuance) before(ctx context.Context, s acme.Step) error {
	n := &i.notes
	switch s.Action {
	case acme.ActionOrder:
		if err := i.pay(ctx); err != nil {
			return err
		}
		i.begun = true
		return nil
	case acme.ActionAuthorize:
		i.ordered = true
		if i.request.Answered != nil {
			i.request.Answered()
		}
		if !n.order(s.OrderURL, time.Now()) {
			return nil
		}
	case acme.ActionPresent:
		n.add(s.Proofs)
	case acme.ActionFinalize, acme.ActionDownload:
		n.finalize(s.Action, time.Now())
		return nil // to be kept only if it is not over in a moment
	}
	return i.record(ctx)
}

// pay takes what a new order costs of the budgets. If the CA does not take what it is to replace, it is asked again
// without, and the order is not exempt.
func (i *acmeIssuance) pay(ctx context.Context) error {
	w := i.request.waiter
	w.identifiers, w.replaces = i.request.Identifiers, w.replaces && i.request.Replaces != nil && !i.asked
	if i.issuer.budgets.isExempt(w) {
		d, err := i.account.client.GetDirectory(ctx)
		if err != nil {
			return err
		}
		w.replaces = d.RenewalInfo != ""
	}
	i.asked = true
	if len(i.charge.purses) > 0 {
		return nil
	}
	var err error
	i.charge, err = i.issuer.budgets.take(ctx, w, i.request.Refusals > 0)
	return err
}

func (i *acmeIssuance) record(ctx context.Context) error {
	if i.request.Record == nil {
		return nil
	}
	encoded, err := json.Marshal(&i.notes)
	if err != nil {
		return err
	}
	if err := i.request.Record(ctx, encoded); err != nil {
		return storageError{err}
	}
	return nil
}

// judge returns the error, as an *UnavailableError if it concerns all names and not those of the order.
func (i *acmeIssuance) judge(ctx context.Context, err error) error {
	switch {
	case err == nil, isInHouse(err), errors.As(err, new(*UnavailableError)), errors.As(err, new(*spentError)), errors.Is(ctx.Err(), context.Canceled):
		return err
	case pauseOf(err) != nil:
		return pauseOf(err)
	case limitsAccount(err, i.request.Identifiers):
		return &UnavailableError{Err: err, RetryAfter: retryAfter(err)}
	case i.ordered, !i.begun, errors.As(err, new(*acme.OrderError)):
		return err
	case errors.Is(err, acme.ErrUnauthorized):
		// It may be about the names alone: the CA is asked for the account.
		if _, findErr := i.account.client.FindAccount(ctx); !errors.Is(findErr, acme.ErrUnauthorized) {
			return err
		}
		i.issuer.account.forget(i.account)
		return &UnavailableError{Err: i.issuer.deactivated(err)}
	case errors.Is(err, acme.ErrUserActionRequired), errors.Is(err, acme.ErrExternalAccountRequired), errors.Is(err, acme.ErrAccountDoesNotExist):
		return &UnavailableError{Err: err, RetryAfter: retryAfter(err)}
	case !errors.As(err, new(*acme.Problem)), acme.IsOutage(err):
		return &UnavailableError{Err: err, RetryAfter: retryAfter(err)} // no word about an order: nobody else would fare better
	}
	return err
}
