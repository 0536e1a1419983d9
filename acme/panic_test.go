package acme_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// A panickingSolver is a solver one of whose methods panics.
type panickingSolver struct {
	*solver
	method string
}

// panicIn panics with an error that a method may return for good reasons.
func (s panickingSolver) panicIn(method string) {
	if s.method == method {
		panic(context.Canceled)
	}
}

func (s panickingSolver) Present(ctx context.Context, p acme.Proof) error {
	s.panicIn("Present")
	return s.solver.Present(ctx, p)
}

func (s panickingSolver) CleanUp(ctx context.Context, p acme.Proof) error {
	s.panicIn("CleanUp")
	return s.solver.CleanUp(ctx, p)
}

func (s panickingSolver) Wait(context.Context, acme.Proof) error {
	s.panicIn("Wait")
	return nil
}

func (s panickingSolver) Supports(acme.Identifier, bool) bool {
	s.panicIn("Supports")
	return true
}

func (s panickingSolver) Payload(context.Context, acme.Proof) (json.RawMessage, error) {
	s.panicIn("Payload")
	return nil, nil
}

func TestSolverPanics(t *testing.T) {
	for _, method := range []string{"Present", "Wait", "Supports", "Payload"} {
		t.Run(method, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				_, err := c.issue(t, t.Context(), acme.Request{
					Identifiers: identifiers(t, "a.example.com", "b.example.com"),
					Solvers:     []acme.Solver{panickingSolver{c.solver, method}},
				})
				failed, ok := errors.AsType[*acme.SolverError](err)
				if !ok || !strings.HasSuffix(failed.Proof.Identifier.Value, ".example.com") || failed.Proof.Type != acme.TypeHTTP01 {
					t.Fatalf("error %v, want a SolverError", err)
				}
				checkPanic(t, err, method)
				if errors.As(err, new(*acme.OrderError)) {
					t.Error("the order is given up")
				}
				if n := c.solver.left(); n != 0 {
					t.Errorf("%d answers are left", n)
				}
				if _, err := c.issue(t, t.Context(), acme.Request{}); err != nil {
					t.Errorf("after the panic: %v", err)
				}
			})
		})
	}
}

// checkPanic checks that the error is of the method's panic, and of nothing else.
func checkPanic(t *testing.T, err error, method string) {
	t.Helper()
	panicked, ok := errors.AsType[*acme.PanicError](err)
	if !ok || panicked.Func != method || panicked.Value != context.Canceled || !bytes.Contains(panicked.Stack, []byte("panickingSolver."+method)) {
		t.Fatalf("error %v, want a PanicError of %s", err, method)
	}
	if errors.Is(err, context.Canceled) {
		t.Error("what the method panicked with is taken for its error")
	}
	if !strings.Contains(err.Error(), method+" panicked: context canceled") || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("the error is %q", err)
	}
}

func TestCleanUpPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		failures := 0
		_, err := c.issue(t, t.Context(), acme.Request{
			Identifiers: identifiers(t, "a.example.com", "b.example.com"),
			Solvers:     []acme.Solver{panickingSolver{c.solver, "CleanUp"}},
			CleanUpFailed: func(_ acme.Proof, err error) {
				failures++
				checkPanic(t, err, "CleanUp")
			},
		})
		if err != nil || failures != 2 {
			t.Errorf("error %v, told of %d failures, want 2", err, failures)
		}
	})
}

// A solver that can't say what it is for may have presented what an earlier attempt left.
func TestSupportsPanicsBeforeCleanUp(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		earlier := acme.Proof{Challenge: acme.Challenge{Type: acme.TypeHTTP01, Token: "earlier"}, Identifier: identifiers(t, "example.com")[0]}
		_, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{panickingSolver{c.solver, "Supports"}}, Presented: []acme.Proof{earlier}})
		checkPanic(t, err, "Supports")
		if got := c.solver.cleanedTokens(); len(got) != 1 || got[0] != "earlier" {
			t.Errorf("cleaned up %q", got)
		}
	})
}

// A callback's panic is the caller's: it comes out of Issue, where the caller can recover it.
func TestCallbackPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		defer func() {
			if recover() != errStuck {
				t.Error("the panic is not the callback's")
			}
		}()
		_, err := c.issue(t, t.Context(), acme.Request{
			Solvers:       []acme.Solver{stuckSolver{c.solver}},
			CleanUpFailed: func(_ acme.Proof, err error) { panic(err) },
		})
		t.Errorf("Issue returned %v", err)
	})
}
