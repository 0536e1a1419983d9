package certmanager

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A gatedIssuer is an issuer as one manager asks it: behind a gate that all its names share.
type gatedIssuer struct {
	Issuer
	gate gate.Gate
	emit func(context.Context, Event) // tells of what concerns all names

	mu   sync.Mutex
	told time.Time // since when the issuer can't be asked, as was told; zero: it can. Guarded by mu
}

// bind returns the issuers in their order, each behind a gate of its own.
func bind(issuers []Issuer, emit func(context.Context, Event)) []*gatedIssuer {
	gated := make([]*gatedIssuer, len(issuers))
	for i, issuer := range issuers {
		if a, ok := issuer.(*ACME); ok {
			issuer = newACMEIssuer(a)
		}
		gated[i] = &gatedIssuer{Issuer: issuer, emit: emit}
	}
	return gated
}

// Issue asks the issuer for a certificate, if it may be asked at the moment. If not, the error is a
// [*gate.ClosedError] that says until when.
func (g *gatedIssuer) Issue(ctx context.Context, r Request) (*acme.Certificate, error) {
	pass, err := g.gate.Enter(time.Now(), r.end)
	if err != nil {
		return nil, err
	}
	result := gate.Result{} // of an issuer that panics
	defer func() {
		pass.Done(time.Now(), result)
		g.tell(ctx)
	}()
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

// tell tells once that the issuer can't be asked for any name, and once that it can be asked again.
func (g *gatedIssuer) tell(ctx context.Context) {
	closed, ok := errors.AsType[*gate.ClosedError](g.closed(time.Time{}))
	if ok && errors.Is(closed, gate.ErrUnanswered) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case ok && g.told.IsZero():
		g.told = closed.Since
		g.emit(ctx, Event{Kind: EventUnavailable, Issuer: g.ID(), Next: closed.Until, Err: closed.Err})
	case !ok && !g.told.IsZero() && !g.gate.Probing():
		g.emit(ctx, Event{Kind: EventAvailable, Issuer: g.ID(), Since: g.told})
		g.told = time.Time{}
	}
}

// defers reports whether an error of Issue concerns all names and not the one that it was asked for, and when to
// try again for a certificate that ends at a time.
func (g *gatedIssuer) defers(err error, end time.Time) (next time.Time, deferred bool) {
	closed, ok := errors.AsType[*gate.ClosedError](err)
	if !ok && errors.As(err, new(*UnavailableError)) {
		if closed, ok = errors.AsType[*gate.ClosedError](g.closed(end)); !ok {
			// It has answered another meanwhile: what failed here is old.
			return time.Now().Add(schedule.TransientBackoff(1, rand.Float64())), true
		}
	}
	if !ok {
		return time.Time{}, false
	}
	return closed.Until, true
}

// closed returns nil if the issuer may be asked to replace a certificate that ends at a time, or a [*gate.ClosedError] that
// says when to try again. Zero: there is none yet.
func (g *gatedIssuer) closed(end time.Time) error { return g.gate.Closed(time.Now(), end) }

// inFlight returns how many certificates are being obtained from the issuer.
func (g *gatedIssuer) inFlight() int { return g.gate.Out() }

// useKeys tells the issuer where to have its keys made, if it makes any.
func (g *gatedIssuer) useKeys(keys *keyring) {
	if using, ok := g.Issuer.(interface{ useKeys(*keyring) }); ok {
		using.useKeys(keys)
	}
}

// closeIdle closes the connections that the issuer keeps for later, if it keeps any.
func (g *gatedIssuer) closeIdle() {
	if closing, ok := g.Issuer.(interface{ closeIdle() }); ok {
		closing.closeIdle()
	}
}
