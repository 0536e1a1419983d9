package certmanager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
)

// A checkedSolver is a solver whose answers are given by a server that the manager may not have started. A failed
// validation costs one of few attempts that a CA grants, so it is checked whether the first answers can be seen before
// the CA is told.
type checkedSolver struct {
	acme.Solver
	vantage diagnose.Vantage
	logger  *slog.Logger
	served  func() bool // whether a server may be there, as far as is known; nil: one may
	seen    atomic.Bool // the server is there
	warned  atomic.Bool // it was waited for in vain, which was said

	unserved atomic.Pointer[time.Time] // when it was found first that none is known; nil: it was not
}

// How long a server may take to start after the manager.
const (
	checkTimeout   = 10 * time.Second
	checkInterval  = 500 * time.Millisecond
	unservedPeriod = time.Minute // for which no CA is asked though none is known
)

// joinServer is what to do when no server is known that could answer.
const joinServer = "call Manager.Serve, or give Manager.Listener or Manager.TLSConfig to the server on port 443, " +
	"or Manager.HTTPHandler to that on port 80, or prove control by the DNS, as with solver.DNS01"

// Unwrap returns the solver that answers.
func (a *checkedSolver) Unwrap() acme.Solver { return a.Solver }

// isServed reports whether a server may be there that answers, as far as is known.
func (a *checkedSolver) isServed() bool { return a.served == nil || a.served() }

// mayAsk reports whether a CA may be asked though the answer is not seen: a server is known, or none became known for a while.
func (a *checkedSolver) mayAsk(now time.Time) bool {
	if a.isServed() {
		return true
	}
	a.unserved.CompareAndSwap(nil, &now)
	return now.Sub(*a.unserved.Load()) >= unservedPeriod
}

// Wait returns once the answer is seen, or after a while with a warning: from where this process is,
// the name may lead elsewhere than for the CA. Only a server that was reached and can't answer is an error, and for a
// while that none is known.
func (a *checkedSolver) Wait(ctx context.Context, p acme.Proof) error {
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
	deadline := time.Now().Add(checkTimeout)
	for {
		err := diagnose.Visible(ctx, p, a.vantage)
		switch {
		case err == nil:
			a.seen.Store(true)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, diagnose.CausePrivateAddress):
			return nil // that is not asked: the name may lead elsewhere for the CA
		case errors.Is(err, diagnose.CauseNoALPN) && !a.warned.Swap(true):
			return fmt.Errorf("the CA was not asked to validate, for it seems that it would fail; it is asked next time: %w", err)
		case a.warned.Load():
			return nil
		case time.Now().Add(checkInterval).After(deadline):
			if !a.mayAsk(time.Now()) {
				return fmt.Errorf("the CA was not asked to validate, for nothing is known to answer: %s: %w", joinServer, err)
			}
			if !a.warned.Swap(true) {
				a.logger.LogAttrs(ctx, slog.LevelWarn, "the CA is asked to validate though the answer can't be seen from here; is the server running?",
					slog.String("identifier", p.Identifier.Value), slog.String("challenge", a.Type()), slog.String("error", err.Error()))
			}
			return nil
		}
		select {
		case <-time.After(checkInterval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
