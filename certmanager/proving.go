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
	overTLS   *checkedSolver // tlsALPN01, as used: it does not wait for the turns of its answers
	overHTTP  *checkedSolver // http01, as used
	joined    atomic.Bool    // TLSConfig was called, or the Config has tlsALPN01: somebody serves it
	listening atomic.Bool    // Serve or Listener was called
	mounted   atomic.Bool    // HTTPHandler was called
	solvers   []acme.Solver  // of the Config, in the order of preference
}

// prepare prepares the solvers that are given, and the built-in ones.
func (p *proving) prepare(config *Config, store storage.Store, logger *slog.Logger) {
	p.store, p.logger, p.vantage = proofStore{store}, logger, config.Vantage
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
	p.overTLS = &checkedSolver{Solver: p.tlsALPN01.WithDeferral(), vantage: p.vantage, logger: p.logger}
	p.overHTTP = &checkedSolver{Solver: p.http01, vantage: p.vantage, logger: p.logger}
	p.overHTTP.seen.Store(p.http01.Addr != "") // it has a listener of its own
	if config.Preflight == PreflightOff {
		p.overTLS.seen.Store(true)
		p.overHTTP.seen.Store(true)
	}
	p.solvers = p.prepared(config.Solvers)
	p.joined.Store(slices.Contains(p.solvers, acme.Solver(p.overTLS)))
}

// listen notes that a server of the manager's own answers on port 443.
func (p *proving) listen() {
	p.listening.Store(true)
	p.overTLS.seen.Store(true)
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
// name servers, from its vantage point, and those that log, to its logger.
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
	return solvers
}

// solversFor returns those that can prove control of some name of the subject to an issuer, in the order of preference:
// the issuer's own, the subject's or the Config's, and behind them the built-in ones that are not among them.
func (p *proving) solversFor(s *subject, own []acme.Solver) []acme.Solver {
	solvers := p.solvers
	switch {
	case len(own) > 0:
		solvers = p.prepared(own)
	case len(s.solvers) > 0:
		solvers = p.prepared(s.solvers)
	}
	var builtIn []acme.Solver
	if p.mounted.Load() && !slices.Contains(solvers, acme.Solver(p.overHTTP)) {
		builtIn = append(builtIn, p.overHTTP)
	}
	if !slices.Contains(solvers, acme.Solver(p.overTLS)) && (p.overTLS.isServed() || !provesAll(s, slices.Concat(solvers, builtIn))) {
		at := len(builtIn) // that HTTPHandler was called says more of port 80 than a tls.Config does of port 443
		if p.listening.Load() {
			at = 0
		}
		builtIn = slices.Insert(builtIn, at, acme.Solver(p.overTLS))
	}
	solvers = slices.Concat(solvers, builtIn)
	return slices.DeleteFunc(solvers, func(able acme.Solver) bool {
		return !slices.ContainsFunc(s.identifiers, func(id acme.Identifier) bool { return proves(able, id) })
	})
}

// provesAll reports whether for each name of the subject there is a solver that can prove control of it.
func provesAll(s *subject, solvers []acme.Solver) bool {
	return !slices.ContainsFunc(s.identifiers, func(id acme.Identifier) bool {
		return !slices.ContainsFunc(solvers, func(able acme.Solver) bool { return proves(able, id) })
	})
}

// proves reports whether the solver can prove control of the name.
func proves(able acme.Solver, id acme.Identifier) bool {
	base, wildcard := strings.CutPrefix(id.Value, "*.")
	return supports(able, acme.Identifier{Type: id.Type, Value: base}, wildcard)
}
