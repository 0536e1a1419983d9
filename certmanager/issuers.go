package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A gatedIssuer is an issuer as one manager asks it: behind a gate that all its names share.
type gatedIssuer struct {
	Issuer
	id    string // the Issuer's
	bound Issuer // by the Issuer's own means; nil: it has none
	gate  gate.Gate
	polls polls
	emit  func(context.Context, Event) // tells of what concerns all names

	logger *slog.Logger // for panics

	mu    sync.Mutex // guards what follows; held while that is told, so that the one does not overtake the other
	told  time.Time  // since when the issuer can't be asked, as was told; zero: it can
	quiet bool       // the log shows that at DEBUG alone
	pace  pace       // of what the log has of an issuer that fails and answers by turns
}

// bind returns the issuers in their order, bound to the manager that has the services, each behind a gate of its own. What is
// wrong with one is noted.
func bind(issuers []Issuer, s Services, emit func(context.Context, Event), wrong *misconfiguration) []*gatedIssuer {
	gated := make([]*gatedIssuer, len(issuers))
	for i, issuer := range issuers {
		gated[i] = &gatedIssuer{Issuer: issuer, emit: emit, logger: s.Logger}
		binder, ok := issuerAs[interface {
			Bind(Services) (Issuer, error)
		}](issuer)
		if a, isACME := issuer.(*ACME); issuer == nil || isACME && a == nil {
			continue // as was noted
		}
		gated[i].id = issuer.ID()
		if !ok {
			continue
		}
		wrong.add(shield(gated[i].logger, "Issuer.Bind", func() (err error) {
			gated[i].bound, err = binder.Bind(s)
			return err
		}))
	}
	return gated
}

// ID returns the issuer's ID, which does not change.
func (g *gatedIssuer) ID() string { return g.id }

// errNotBound is why an issuer can't issue.
var errNotBound = errors.New("certmanager: the issuer is not bound to a manager: one that wraps another needs a method Unwrap that returns that, and passes Request.Bound on")

// issuerAs returns the issuer, or the first that it wraps, that is a T.
func issuerAs[T any](issuer Issuer) (T, bool) {
	for issuer != nil {
		if t, ok := issuer.(T); ok {
			return t, true
		}
		wrapper, ok := issuer.(interface{ Unwrap() Issuer })
		if !ok {
			break
		}
		issuer = wrapper.Unwrap()
	}
	var none T
	return none, false
}

// capability returns what has the optional methods of an issuer: what is bound to the manager, or else what is not.
func capability[T any](g *gatedIssuer) (T, bool) {
	if t, ok := issuerAs[T](g.bound); ok {
		return t, true
	}
	return issuerAs[T](g.Issuer)
}

// supports returns why the issuer will never issue for the names. A panic is no word about them.
func (g *gatedIssuer) supports(s *subject) error {
	able, ok := capability[interface{ Supports(Request) error }](g)
	if !ok {
		return nil
	}
	err := shield(g.logger, "Issuer.Supports", func() error {
		return able.Supports(Request{Identifiers: s.identifiers, Profile: s.profile})
	})
	if err == nil || errors.As(err, new(*acme.PanicError)) {
		return nil
	}
	return fmt.Errorf("issuer %s: %w", g.ID(), err)
}

// checkSupported notes why no issuer will ever issue for some of the subjects.
func checkSupported(issuers []*gatedIssuer, subjects []subject, wrong *misconfiguration) {
	for i := range subjects {
		s := &subjects[i]
		var why []error
		for _, issuer := range issuers {
			if err := issuer.supports(s); err != nil {
				why = append(why, err)
			}
		}
		if len(why) == len(issuers) {
			wrong.addf("%v: %w", s, cmp.Or(why...))
		}
	}
}

// normalized returns the subjects in their normal form, if some issuer supports each.
func (m *Manager) normalized(given ...Subject) ([]subject, error) {
	var wrong misconfiguration
	subjects := m.config.normalize(given, &wrong)
	checkSupported(m.issuers, subjects, &wrong)
	return subjects, wrong.err()
}

// ableOf returns the issuers that support the subject. At least one does, or it would not be managed; if none does by now, it
// is for them to refuse.
func ableOf(issuers []*gatedIssuer, s *subject) []*gatedIssuer {
	able := slices.DeleteFunc(slices.Clone(issuers), func(issuer *gatedIssuer) bool { return issuer.supports(s) != nil })
	if len(able) == 0 {
		return issuers
	}
	return able
}

// solvers returns those that prove control to this issuer alone. The error is a panic.
func (g *gatedIssuer) solvers() (own []acme.Solver, err error) {
	if has, ok := capability[interface{ Solvers() []acme.Solver }](g); ok {
		err = shield(g.logger, "Issuer.Solvers", func() error {
			own = has.Solvers()
			return nil
		})
	}
	return own, err
}

// hasSolvers reports whether some prove control to this issuer alone, or may.
func (g *gatedIssuer) hasSolvers() bool {
	own, err := g.solvers()
	return len(own) > 0 || err != nil
}

// closeIdle closes the connections that the issuer keeps for later, if it keeps any.
func (g *gatedIssuer) closeIdle() {
	if closing, ok := capability[interface{ CloseIdleConnections() }](g); ok {
		_ = shield(g.logger, "Issuer.CloseIdleConnections", func() error { // it is in the log
			closing.CloseIdleConnections()
			return nil
		})
	}
}

// issue asks the issuer for a certificate to replace one that ends at a time (zero: there is none), if it may be asked at the
// moment: then begun is called first. If not, the error is a [*gate.ClosedError] that says until when.
func (g *gatedIssuer) issue(ctx context.Context, r Request, end time.Time, begun func()) (*acme.Certificate, error) {
	pass, err := g.gate.Enter(time.Now(), end)
	if err != nil {
		return nil, err
	}
	begun()
	result := gate.Result{} // of an issuer that panics
	defer func() {
		pass.Done(time.Now(), result)
		g.tell(ctx)
	}()
	r.Bound, r.Answered = g.bound, pass.Answered
	if record := r.Record; record != nil {
		r.Record = func(ctx context.Context, journal []byte) error {
			if err := record(ctx, journal); err != nil {
				return storageFailure(err)
			}
			return nil
		}
	}
	certificate, err := g.Issue(ctx, r)
	err = inWords(err)
	result = resultOf(ctx, err)
	return certificate, err
}

// tell tells once that the issuer can't be asked for any name, and once that it can be asked again. Of what changes often the log
// has some turns, each with its end.
func (g *gatedIssuer) tell(ctx context.Context) {
	closed, ok := errors.AsType[*gate.ClosedError](g.closed(time.Time{}))
	if ok && errors.Is(closed, gate.ErrUnanswered) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case ok && g.told.IsZero():
		told, similar := g.pace.tell(time.Now())
		g.told, g.quiet = closed.Since, !told
		g.emit(ctx, Event{Kind: EventUnavailable, Issuer: g.ID(), Next: closed.Until, Err: closed.Err, quiet: g.quiet, similar: similar})
	case !ok && !g.told.IsZero() && !g.gate.Probing():
		g.emit(ctx, Event{Kind: EventAvailable, Issuer: g.ID(), Since: g.told, quiet: g.quiet})
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
