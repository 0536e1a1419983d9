package certmanager

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/storage"
)

// A proving has the solvers of one manager, and answers the validations that come to its own listeners.
type proving struct {
	store     storage.Store
	logger    *slog.Logger
	vantage   diagnose.Vantage
	tlsALPN01 *solver.TLSALPN01
	http01    *solver.HTTP01
	overTLS   *checkedSolver // tlsALPN01, as used
	overHTTP  *checkedSolver // http01, as used
	mounted   atomic.Bool    // HTTPHandler was called
	solvers   []acme.Solver  // in the order of preference
}

// prepare prepares the solvers, in the order of preference: those given, then the built-in ones.
func (p *proving) prepare(config *Config, store storage.Store, logger *slog.Logger) {
	p.store, p.logger, p.vantage = store, logger, config.Vantage
	p.http01, p.tlsALPN01 = new(solver.HTTP01), new(solver.TLSALPN01)
	for _, s := range config.Solvers {
		switch given := s.(type) {
		case *solver.TLSALPN01:
			p.tlsALPN01 = given
		case *solver.HTTP01:
			p.http01 = given
		}
	}
	p.http01 = withStorage(p.http01, p.store)
	if given := p.tlsALPN01; given.Storage == nil {
		p.tlsALPN01 = withStorage(given, p.store)
		p.tlsALPN01.Logger = cmp.Or(given.Logger, p.logger)
	}
	p.overTLS = &checkedSolver{Solver: p.tlsALPN01, vantage: p.vantage, logger: p.logger}
	p.overHTTP = &checkedSolver{Solver: p.http01, vantage: p.vantage, logger: p.logger}
	p.overHTTP.seen.Store(p.http01.Addr != "") // it has a listener of its own
	if config.Preflight == PreflightOff {
		p.overTLS.seen.Store(true)
		p.overHTTP.seen.Store(true)
	}
	p.solvers = p.prepared(config.Solvers)
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
// name servers, from its vantage point, those that log, to its logger, and behind them the built-in ones that are not
// among them.
func (p *proving) prepared(given []acme.Solver) []acme.Solver {
	solvers := slices.Clone(given)
	for i, s := range solvers {
		switch s.(type) {
		case *solver.TLSALPN01:
			solvers[i] = p.overTLS
		case *solver.HTTP01:
			solvers[i] = p.overHTTP
		default:
			solvers[i] = withStorage(s, p.store)
		}
		if looking, ok := solvers[i].(interface {
			WithDNS(*solver.DNS) acme.Solver
		}); ok {
			solvers[i] = looking.WithDNS(p.vantage.ForSolvers())
		}
		if telling, ok := solvers[i].(interface {
			WithLogger(*slog.Logger) acme.Solver
		}); ok {
			solvers[i] = telling.WithLogger(p.logger)
		}
	}
	if !slices.Contains(solvers, acme.Solver(p.overTLS)) {
		solvers = append(solvers, p.overTLS)
	}
	if !slices.Contains(solvers, acme.Solver(p.overHTTP)) {
		solvers = append(solvers, mounted{p.overHTTP, &p.mounted})
	}
	return solvers
}

// solversFor returns those that can prove control of some name of the subject to an issuer, in the order of preference:
// the issuer's own, the subject's or the Config's.
func (p *proving) solversFor(s *subject, own []acme.Solver) []acme.Solver {
	solvers := p.solvers
	switch {
	case len(own) > 0:
		solvers = p.prepared(own)
	case len(s.solvers) > 0:
		solvers = p.prepared(s.solvers)
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
	*checkedSolver
	is *atomic.Bool
}

// Supports reports whether the identifier can be answered for.
func (s mounted) Supports(id acme.Identifier, wildcard bool) bool {
	return s.is.Load() && acme.Supports(s.Solver, id, wildcard)
}
