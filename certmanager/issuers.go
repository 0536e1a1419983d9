package certmanager

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A gatedIssuer is an issuer as one manager asks it: behind a gate that all its names share.
type gatedIssuer struct {
	Issuer
	gate gate.Gate
}

// bind returns the issuers in their order, each behind a gate of its own.
func bind(issuers []Issuer) []*gatedIssuer {
	gated := make([]*gatedIssuer, len(issuers))
	for i, issuer := range issuers {
		gated[i] = &gatedIssuer{Issuer: issuer}
	}
	return gated
}

// Issue asks the issuer for a certificate, if it may be asked at the moment. If not, the error is a
// [*gate.ClosedError] that says until when.
func (g *gatedIssuer) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	pass, err := g.gate.Enter(time.Now())
	if err != nil {
		return nil, err
	}
	result := gate.Result{} // of an issuer that panics
	defer func() { pass.Done(time.Now(), result) }()
	r.answered = pass.Answered
	if record := r.Record; record != nil {
		r.Record = func(ctx context.Context, journal []byte) error {
			pass.Answered() // what is there to be noted is the issuer's
			if err := record(ctx, journal); err != nil {
				return storageFailure(err)
			}
			return nil
		}
	}
	certificate, err := g.Issuer.Issue(ctx, r)
	err = inWords(err)
	result = resultOf(ctx, err)
	return certificate, err
}

// defers reports whether an error of Issue concerns all names and not the one that it was asked for, and when to
// try again.
func (g *gatedIssuer) defers(err error) (next time.Time, deferred bool) {
	closed, ok := errors.AsType[*gate.ClosedError](err)
	if !ok && errors.As(err, new(*UnavailableError)) {
		if closed, ok = errors.AsType[*gate.ClosedError](g.closed()); !ok {
			// It has answered another meanwhile: what failed here is old.
			return time.Now().Add(schedule.TransientBackoff(1, rand.Float64())), true
		}
	}
	if !ok {
		return time.Time{}, false
	}
	return closed.Until, true
}

// closed returns nil if the issuer may be asked, or a [*gate.ClosedError] that says when to try again.
func (g *gatedIssuer) closed() error { return g.gate.Closed(time.Now()) }

// inFlight returns how many certificates are being obtained from the issuer.
func (g *gatedIssuer) inFlight() int { return g.gate.Out() }

// rest closes the connections that the issuer keeps for later, if it keeps any.
func (g *gatedIssuer) rest() {
	if resting, ok := g.Issuer.(interface{ rest() }); ok {
		resting.rest()
	}
}
