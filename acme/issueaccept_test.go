package acme_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// Who is told ActionAccept can see all answers, and the CA has been told of none.
func TestAcceptIsToldOnceAnswersCanBeSeen(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		var waited atomic.Int32
		s := waitingSolver{
			solver:   c.solver,
			wait:     func(context.Context, acme.Proof) error { waited.Add(1); return nil },
			supports: func(acme.Identifier, bool) bool { return true },
		}
		errUnseen := errors.New("nothing to be seen")
		r := acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com"), Key: newKey(t), Solvers: []acme.Solver{s}}
		refuses := true
		r.Before = func(_ context.Context, step acme.Step) error {
			r.OrderURL = step.OrderURL
			if step.Action != acme.ActionAccept {
				return nil
			}
			if waited.Load() != 2 || len(c.requests("challenge")) != 0 || c.solver.left() != 2 {
				t.Errorf("%d answers waited for, %d in place, %d requests", waited.Load(), c.solver.left(), len(c.requests("challenge")))
			}
			if want := tokens(c.solver.presented); !slices.Equal(tokens(step.Proofs), want) {
				t.Errorf("told of %q, presented are %q", tokens(step.Proofs), want)
			}
			if refuses {
				return errUnseen
			}
			return nil
		}
		if _, err := c.issue(t, t.Context(), r); err != errUnseen {
			t.Errorf("error %v, want Before's own", err)
		}
		if n := len(c.requests("challenge")); n != 0 || c.solver.left() != 0 {
			t.Errorf("the CA was told of %d answers, %d are left", n, c.solver.left())
		}
		refuses = false
		waited.Store(0)
		c.solver.presented = nil
		if _, err := c.issue(t, t.Context(), r); err != nil || len(c.Orders()) != 1 {
			t.Errorf("resumed: error %v, %d orders", err, len(c.Orders()))
		}
	})
}

// What a solver failed at is told by type, once, and the CA is asked nothing.
func TestSolverError(t *testing.T) {
	errAPI := errors.New("the API is down")
	fails := func(context.Context, acme.Proof) error { return errAPI }
	succeeds := func(context.Context, acme.Proof) error { return nil }
	all := func(acme.Identifier, bool) bool { return true }
	for name, test := range map[string]struct {
		solver   func(*solver) acme.Solver
		accepted int
	}{
		"Present": {func(s *solver) acme.Solver { s.present = fails; return s }, 0},
		"Wait":    {func(s *solver) acme.Solver { return waitingSolver{s, fails, all} }, 0},
		"Payload": {func(s *solver) acme.Solver {
			return payloadSolver{s, func(context.Context, acme.Proof) (json.RawMessage, error) { return nil, errAPI }}
		}, 0},
		"wrapped Wait": {func(s *solver) acme.Solver { return wrappedSolver{wrappedSolver{waitingSolver{s, fails, all}}} }, 0},
		"none":         {func(s *solver) acme.Solver { return wrappedSolver{waitingSolver{s, succeeds, all}} }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				_, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{test.solver(c.solver)}})
				if n := len(c.requests("challenge")); n != test.accepted || c.solver.left() != 0 {
					t.Errorf("the CA was told %d times, want %d; %d answers are left", n, test.accepted, c.solver.left())
				}
				if test.accepted > 0 {
					if err != nil {
						t.Error(err)
					}
					return
				}
				failed, ok := errors.AsType[*acme.SolverError](err)
				if !ok || failed.Proof.Identifier.Value != "example.com" || !errors.Is(err, errAPI) {
					t.Fatalf("error %v, want a SolverError for example.com", err)
				}
				if want := name != "Present"; failed.Presented != want {
					t.Errorf("presented: %t, want %t", failed.Presented, want)
				}
				if want := "acme: example.com: http-01: the API is down"; err.Error() != want {
					t.Errorf("error %q, want %q", err, want)
				}
				if errors.As(err, new(*acme.OrderError)) {
					t.Error("the order is given up")
				}
			})
		})
	}
}

// What the CA refuses is not the solver's failure.
func TestRefusedAcceptanceIsNoSolverError(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.SetFaults(acmetest.On("challenge", c.Problem(500, "serverInternal", "no time for that")))
		_, err := c.issue(t, t.Context(), acme.Request{})
		wantError(t, err, acme.ErrServerInternal, "example.com", "http-01", "no time for that")
		if errors.As(err, new(*acme.SolverError)) || strings.Count(err.Error(), "acme: ") != 1 {
			t.Errorf("error %q", err)
		}
	})
}

// A wrappedSolver has no optional method of its own.
type wrappedSolver struct{ wrapped acme.Solver }

func (s wrappedSolver) Type() string { return s.wrapped.Type() }
func (s wrappedSolver) Present(ctx context.Context, p acme.Proof) error {
	return s.wrapped.Present(ctx, p)
}
func (s wrappedSolver) CleanUp(ctx context.Context, p acme.Proof) error {
	return s.wrapped.CleanUp(ctx, p)
}
func (s wrappedSolver) Unwrap() acme.Solver { return s.wrapped }

func TestAs(t *testing.T) {
	zoned := zonedSolver{newSolver(acme.TypeDNS01, nil), ".com"}
	wrapped := wrappedSolver{wrappedSolver{zoned}}
	if got, ok := acme.As[zonedSolver](wrapped); !ok || got != zoned {
		t.Errorf("found %v, %t", got, ok)
	}
	if got, ok := acme.As[wrappedSolver](wrapped); !ok || got != wrapped {
		t.Errorf("found %v, %t, want the outermost", got, ok)
	}
	if _, ok := acme.As[payloadSolver](wrapped); ok {
		t.Error("found what is not there")
	}
	if _, ok := acme.As[zonedSolver](nil); ok {
		t.Error("found something in nil")
	}
	com, org := acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}, acme.Identifier{Type: acme.TypeDNS, Value: "example.org"}
	if !acme.Supports(wrapped, com, false) || acme.Supports(wrapped, org, false) {
		t.Error("the wrapped solver's Supports is not asked")
	}
}
