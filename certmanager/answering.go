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
	"github.com/everseal/everseal/storage"
)

// A checker is a solver that can look whether its own answer can be seen.
type checker interface {
	acme.Solver
	Supports(id acme.Identifier, wildcard bool) bool
	Check(ctx context.Context, p acme.Proof) error
}

// An answering is a solver whose answers are given by a server that the manager may not have started.
// A failed validation costs one of few attempts that a CA grants, so the first answers are looked for
// before the CA is told.
type answering struct {
	checker
	vantage solver.Vantage
	logger  *slog.Logger
	seen    atomic.Bool // the server is there
	warned  atomic.Bool // it was looked for in vain, which was said
}

// How long a server may take to come up after the manager.
const (
	lookTime  = 10 * time.Second
	lookEvery = 500 * time.Millisecond
)

// Wait returns once the answer is seen, or after a while with a warning: from where this process is,
// the name may lead elsewhere than for the CA. Only a server that was reached and can't answer is an
// error.
func (a *answering) Wait(ctx context.Context, p acme.Proof) error {
	if waiting, ok := a.checker.(interface {
		Wait(context.Context, acme.Proof) error
	}); ok {
		if err := waiting.Wait(ctx, p); err != nil {
			return err
		}
	}
	if a.seen.Load() || a.warned.Load() {
		return nil
	}
	deadline := time.Now().Add(lookTime)
	for {
		err := a.look(ctx, p)
		switch {
		case err == nil:
			a.seen.Store(true)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, solver.ErrPrivateAddress):
			return nil // it was not looked there: the name may lead elsewhere for the CA
		case errors.Is(err, solver.ErrNoALPN) && !a.warned.Swap(true):
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

// look looks once, from the vantage point where one is set.
func (a *answering) look(ctx context.Context, p acme.Proof) error {
	if a.vantage.DNS == nil && a.vantage.Dial == nil && !a.vantage.Private {
		return a.Check(ctx, p)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	diagnosis := solver.Diagnose(ctx, p, nil, a.vantage)
	switch {
	case diagnosis.Seen:
		return nil
	case diagnosis.Cause == solver.CauseNoALPN:
		return fmt.Errorf("%w (%v)", solver.ErrNoALPN, diagnosis)
	case diagnosis.Cause == solver.CausePrivateAddress:
		return fmt.Errorf("%w (%v)", solver.ErrPrivateAddress, diagnosis)
	}
	return errors.New(diagnosis.String())
}

// useSolvers prepares the solvers, in the order of preference: those given, then the built-in ones.
func (m *Manager) useSolvers() {
	m.http01 = &solver.HTTP01{Storage: m.store}
	m.tlsALPN01 = &solver.TLSALPN01{Storage: m.store, Logger: m.logger}
	for _, s := range m.config.Solvers {
		switch given := s.(type) {
		case *solver.TLSALPN01:
			m.tlsALPN01 = given
			if given.Storage == nil {
				m.tlsALPN01 = &solver.TLSALPN01{Storage: m.store, Dial: given.Dial, Logger: cmp.Or(given.Logger, m.logger)}
			}
		case *solver.HTTP01:
			m.http01 = given
			if given.Storage == nil {
				m.http01 = &solver.HTTP01{Storage: m.store, Addr: given.Addr, Dial: given.Dial}
			}
		}
	}
	m.overTLS = &answering{checker: m.tlsALPN01, vantage: m.config.Vantage, logger: m.logger}
	m.overHTTP = &answering{checker: m.http01, vantage: m.config.Vantage, logger: m.logger}
	m.overHTTP.seen.Store(m.http01.Addr != "") // it has a listener of its own
	if m.config.Preflight == PreflightOff {
		m.overTLS.seen.Store(true)
		m.overHTTP.seen.Store(true)
	}
	m.solvers = m.prepared(m.config.Solvers)
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
		case interface {
			WithStorage(storage.Store) acme.Solver
		}:
			solvers[i] = s.WithStorage(m.store)
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
			return acme.Supports(able, acme.Identifier{Type: id.Type, Value: base}, wildcard)
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
	return s.is.Load() && s.answering.Supports(id, wildcard)
}
