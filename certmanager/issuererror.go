package certmanager

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
)

// An UnavailableError says that an issuer can sign for no name at all at the moment, such as for want of an account.
// An [Issuer] returns it from Issue: then all names wait, and one of them tries again. If errors.As finds a refusal
// (an [acme.Problem] or an [acme.TermsError]) in Err, the waits grow up to a day; after any other they are ten seconds and then a minute.
type UnavailableError struct {
	Err error // why; may be nil
	// RetryAfter is how long the issuer asks to wait, at least. Of a refusal it is believed up to eight days, of
	// any other up to an hour, and no longer than half of what a certificate still has. If errors.Is finds
	// [acme.ErrRateLimited], it is believed up to eight days whatever that has. Zero: it does not ask.
	RetryAfter time.Duration
}

// Error says why.
func (e *UnavailableError) Error() string {
	if e.Err == nil {
		return "the issuer can sign for no name at the moment"
	}
	return e.Err.Error()
}

// Unwrap returns why.
func (e *UnavailableError) Unwrap() error { return e.Err }

// An accountError says why an account could not be opened, and at which CA.
type accountError struct {
	directory string // URL
	err       error
}

// Error says why before it says where, unless why has named it.
func (e *accountError) Error() string {
	text := bare(e.err)
	if strings.Contains(text, e.directory) {
		return text
	}
	return text + " (account at " + e.directory + ")"
}

func (e *accountError) Unwrap() error { return e.err }

// A storageError is a failure of the storage, and not of the issuer that uses it.
type storageError struct{ error }

func (e storageError) Unwrap() error { return e.error }

// Is reports whether the target is [ErrStorage].
func (e storageError) Is(target error) bool { return target == ErrStorage }

// resultOf returns what an attempt shows of the issuer that failed with the error, or did not.
func resultOf(ctx context.Context, err error) gate.Result {
	r := gate.Result{Err: err, RetryAfter: retryAfter(err), Limit: errors.Is(err, acme.ErrRateLimited), Spread: rand.Float64()}
	var unavailable *UnavailableError
	switch {
	case err == nil:
		r.Outcome = gate.Answer
	case isInHouse(err), errors.As(err, new(*dryRunError)), errors.Is(ctx.Err(), context.Canceled), isSpent(err):
		r.Outcome = gate.Unknown
	case errors.As(err, &unavailable):
		r.RetryAfter = max(r.RetryAfter, unavailable.RetryAfter)
		if r.Outcome = gate.Outage; refusesAll(err) {
			r.Outcome = gate.Refusal
		}
	case errors.As(err, new(*acme.SolverError)):
		r.Outcome = gate.Answer // the network that failed is not the issuer's
	case acme.IsOutage(err), errors.As(err, new(net.Error)):
		r.Outcome = gate.Outage
	default:
		r.Outcome = gate.Answer
	}
	return r
}

// refusesAll reports whether an error that concerns all names is the issuer's word. A rate limit that comes with
// a status of 5xx is that of a busy server, and soon over.
func refusesAll(err error) bool {
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		return !acme.IsOutage(err) && problem.Status < http.StatusInternalServerError
	}
	_, refused := errors.AsType[acme.ProblemType](err)
	return refused || errors.As(err, new(*acme.TermsError))
}

// retryAfter returns the wait that a CA asks for; zero: it does not.
func retryAfter(err error) time.Duration {
	var wait time.Duration
	if problem, ok := errors.AsType[*acme.Problem](err); ok {
		wait = problem.RetryAfter
	}
	if spent, ok := errors.AsType[*spentError](err); ok {
		wait = time.Until(spent.until)
	}
	if later, ok := errors.AsType[*acme.RetryAfterError](err); ok {
		wait = max(wait, later.RetryAfter)
	}
	return wait
}
