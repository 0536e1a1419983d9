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
	seen    atomic.Bool // the server is there
	warned  atomic.Bool // it was waited for in vain, which was said
}

// How long a server may take to start after the manager.
const (
	checkTimeout  = 10 * time.Second
	checkInterval = 500 * time.Millisecond
)

// Unwrap returns the solver that answers.
func (a *checkedSolver) Unwrap() acme.Solver { return a.Solver }

// Wait returns once the answer is seen, or after a while with a warning: from where this process is,
// the name may lead elsewhere than for the CA. Only a server that was reached and can't answer is an
// error.
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
