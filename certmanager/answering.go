package certmanager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// An answering is a solver whose answers are given by a server that the manager may not have started.
// A failed validation costs one of few attempts that a CA grants, so the first answers are looked for
// before the CA is told.
type answering struct {
	acme.Solver
	vantage diagnose.Vantage
	logger  *slog.Logger
	seen    atomic.Bool // the server is there
	warned  atomic.Bool // it was looked for in vain, which was said
}

// How long a server may take to come up after the manager.
const (
	lookTime  = 10 * time.Second
	lookEvery = 500 * time.Millisecond
)

// Unwrap returns the solver that answers.
func (a *answering) Unwrap() acme.Solver { return a.Solver }

// Wait returns once the answer is seen, or after a while with a warning: from where this process is,
// the name may lead elsewhere than for the CA. Only a server that was reached and can't answer is an
// error.
func (a *answering) Wait(ctx context.Context, p acme.Proof) error {
	if waiting, ok := acme.As[interface {
		Wait(context.Context, acme.Proof) error
	}](a.Solver); ok {
		if err := waiting.Wait(ctx, p); err != nil {
			return err
		}
	}
	if a.seen.Load() || a.warned.Load() {
		return nil
	}
	deadline := time.Now().Add(lookTime)
	for {
		err := diagnose.Visible(ctx, p, a.vantage)
		switch {
		case err == nil:
			a.seen.Store(true)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, diagnose.CausePrivateAddress):
			return nil // it was not looked there: the name may lead elsewhere for the CA
		case errors.Is(err, diagnose.CauseNoALPN) && !a.warned.Swap(true):
			return fmt.Errorf("the CA was not asked to look, for it seems that it would fail; it is asked next time: %w", err)
		case a.warned.Load():
			return nil
		case time.Now().Add(lookEvery).After(deadline):
			if !a.warned.Swap(true) {
				a.logger.LogAttrs(ctx, slog.LevelWarn, "the CA is asked to look though the answer can't be seen from here; is the server running?",
					slog.String("identifier", p.Identifier.Value), slog.String("challenge", a.Type()), slog.String("error", err.Error()))
			}
			return nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// useSolvers prepares the solvers, in the order of preference: those given, then the built-in ones.
func (m *Manager) useSolvers() {
	m.http01, m.tlsALPN01 = new(solver.HTTP01), new(solver.TLSALPN01)
	for _, s := range m.config.Solvers {
		switch given := s.(type) {
		case *solver.TLSALPN01:
			m.tlsALPN01 = given
		case *solver.HTTP01:
			m.http01 = given
		}
	}
	m.http01 = withStorage(m.http01, m.store)
	if given := m.tlsALPN01; given.Storage == nil {
		m.tlsALPN01 = withStorage(given, m.store)
		m.tlsALPN01.Logger = cmp.Or(given.Logger, m.logger)
	}
	m.overTLS = &answering{Solver: m.tlsALPN01, vantage: m.config.Vantage, logger: m.logger}
	m.overHTTP = &answering{Solver: m.http01, vantage: m.config.Vantage, logger: m.logger}
	m.overHTTP.seen.Store(m.http01.Addr != "") // it has a listener of its own
	if m.config.Preflight == PreflightOff {
		m.overTLS.seen.Store(true)
		m.overHTTP.seen.Store(true)
	}
	m.solvers = m.prepared(m.config.Solvers)
}

// A storingSolver keeps something, and can do so in its user's storage if it has none of its own.
type storingSolver interface {
	WithStorage(s storage.Store) acme.Solver
}

// withStorage returns the solver as it keeps things in the storage, if it keeps any and has no other storage.
func withStorage[S acme.Solver](s S, store storage.Store) S {
	if storing, ok := any(s).(storingSolver); ok {
		return storing.WithStorage(store).(S)
	}
	return s
}

// prepared returns the solvers as the manager uses them: those that keep something, with its storage, those that ask
// name servers, from its vantage point, and behind them the built-in ones that are not among them.
func (m *Manager) prepared(given []acme.Solver) []acme.Solver {
	solvers := slices.Clone(given)
	for i, s := range solvers {
		switch s := s.(type) {
		case *solver.TLSALPN01:
			solvers[i] = m.overTLS
		case *solver.HTTP01:
			solvers[i] = m.overHTTP
		case *solver.Lego:
			logged := *s
			logged.Logger = cmp.Or(s.Logger, m.logger)
			solvers[i] = &logged
		default:
			solvers[i] = withStorage(s, m.store)
		}
		if looking, ok := solvers[i].(interface {
			WithDNS(*solver.DNS) acme.Solver
		}); ok {
			solvers[i] = looking.WithDNS(m.config.Vantage.ForSolvers())
		}
	}
	if !slices.Contains(solvers, acme.Solver(m.overTLS)) {
		solvers = append(solvers, m.overTLS)
	}
	if !slices.Contains(solvers, acme.Solver(m.overHTTP)) {
		solvers = append(solvers, mounted{m.overHTTP, &m.httpMounted})
	}
	return solvers
}

// solversFor returns those that can prove control of some name of the subject, in the order of preference.
func (m *Manager) solversFor(s *subject) []acme.Solver {
	solvers := m.solvers
	if len(s.solvers) > 0 {
		solvers = m.prepared(s.solvers)
	}
	return slices.DeleteFunc(slices.Clone(solvers), func(able acme.Solver) bool {
		return !slices.ContainsFunc(s.identifiers, func(id acme.Identifier) bool {
			base, wildcard := strings.CutPrefix(id.Value, "*.")
			return supports(able, acme.Identifier{Type: id.Type, Value: base}, wildcard)
		})
	})
}

// mounted is http-01 by a handler of the user's server, if it was mounted there.
type mounted struct {
	*answering
	is *atomic.Bool
}

// Supports reports whether the identifier can be answered for.
func (s mounted) Supports(id acme.Identifier, wildcard bool) bool {
	return s.is.Load() && acme.Supports(s.Solver, id, wildcard)
}
