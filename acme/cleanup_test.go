package acme_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/everseal/everseal/acme"
)

func TestIssueCleansUp(t *testing.T) {
	t.Run("after the context's end", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *ca) {
			ctx, cancel := context.WithCancel(t.Context())
			c.solver.present = func(context.Context, acme.Proof) error { cancel(); return nil }
			_, err := c.issue(t, ctx, acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com")})
			wantError(t, err, context.Canceled)
			c.wantCleanedUp(t)
			if c.solver.expired {
				t.Error("CleanUp was called with a context that has ended")
			}
		})
	})
	t.Run("after Present failed", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *ca) {
			errFull := errors.New("the zone is full")
			c.solver.present = func(_ context.Context, p acme.Proof) error {
				if p.Identifier.Value == "a.example.com" {
					return errFull
				}
				return nil
			}
			_, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, "a.example.com", "b.example.com")})
			wantError(t, err, errFull, "a.example.com", acme.TypeHTTP01)
			c.wantCleanedUp(t)
			if len(c.requests("challenge")) > 0 {
				t.Error("the CA was told though an answer is not in place")
			}
		})
	})
	t.Run("after a failed validation", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *ca) {
			c.SetHost("*", "")
			_, err := c.issue(t, t.Context(), acme.Request{})
			wantError(t, err, acme.ErrDNS)
			c.wantCleanedUp(t)
		})
	})
	t.Run("what an earlier attempt presented", func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *ca) {
			earlier := acme.Proof{Challenge: acme.Challenge{Type: acme.TypeHTTP01, Token: "earlier"}, Identifier: identifiers(t, "example.com")[0]}
			other := acme.Proof{Challenge: acme.Challenge{Type: acme.TypeDNS01, Token: "other"}}
			if err := c.solver.Present(t.Context(), earlier); err != nil {
				t.Fatal(err)
			}
			if _, err := c.issue(t, t.Context(), acme.Request{Presented: []acme.Proof{earlier, other, earlier}}); err != nil {
				t.Fatal(err)
			}
			if got := c.solver.cleanedTokens(); !slices.Contains(got, "earlier") || slices.Contains(got, "other") || len(c.solver.cleaned) != 2 {
				t.Errorf("cleaned up %q", got)
			}
		})
	})
}

// wantCleanedUp checks that all that was presented has been taken away.
func (c *ca) wantCleanedUp(t *testing.T) {
	t.Helper()
	presented, cleaned := tokens(c.solver.presented), c.solver.cleanedTokens()
	if len(presented) == 0 {
		t.Error("nothing was presented")
	}
	for _, token := range presented {
		if !slices.Contains(cleaned, token) {
			t.Errorf("the answer to %s was not taken away", token)
		}
	}
}

// A zonedSolver is a solver for the names below one, as those for DNS zones are. Other names it fails.
type zonedSolver struct {
	*solver
	zone string
}

var errNoZone = errors.New("no such zone")

func (s zonedSolver) Supports(id acme.Identifier, _ bool) bool {
	return strings.HasSuffix(id.Value, s.zone)
}

func (s zonedSolver) CleanUp(ctx context.Context, p acme.Proof) error {
	if !s.Supports(p.Identifier, p.Wildcard) {
		return errNoZone
	}
	return s.solver.CleanUp(ctx, p)
}

func TestCleanUpIsForTheSolverThatFits(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		com := zonedSolver{newSolver(acme.TypeDNS01, c.Server), ".com"}
		org := zonedSolver{newSolver(acme.TypeDNS01, c.Server), ".org"}
		_, err := c.issue(t, t.Context(), acme.Request{
			Identifiers:   identifiers(t, "example.com", "*.example.org"),
			Solvers:       []acme.Solver{com, org},
			CleanUpFailed: func(p acme.Proof, err error) { t.Errorf("%s: %v", p.Identifier, err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		if com.left() != 0 || org.left() != 0 || len(com.presented) != 1 || len(org.presented) != 1 {
			t.Errorf("%d and %d answers are left of %d and %d", com.left(), org.left(), len(com.presented), len(org.presented))
		}
	})
}

// A stuckSolver cannot take its answers away.
type stuckSolver struct{ *solver }

var errStuck = errors.New("the API is down")

func (s stuckSolver) CleanUp(context.Context, acme.Proof) error { return errStuck }

func TestFailedCleanUpIsReported(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		var mu sync.Mutex
		var failed []string
		_, err := c.issue(t, t.Context(), acme.Request{
			Identifiers: identifiers(t, "a.example.com", "b.example.com"),
			Solvers:     []acme.Solver{stuckSolver{c.solver}},
			CleanUpFailed: func(p acme.Proof, err error) {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, p.Identifier.Value)
				wantError(t, err, errStuck)
			},
		})
		if err != nil {
			t.Errorf("the certificate has come, yet there is the error %v", err)
		}
		slices.Sort(failed)
		if !slices.Equal(failed, []string{"a.example.com", "b.example.com"}) {
			t.Errorf("told of %q", failed)
		}
		if _, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{stuckSolver{c.solver}}}); err != nil {
			t.Error(err)
		}
	})
}

// Of two solvers of one type only the one that presented is asked to clean up.
func TestOnlyThePresenterCleansUp(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		other := newSolver(acme.TypeHTTP01, c.Server)
		if _, err := c.issue(t, t.Context(), acme.Request{Solvers: []acme.Solver{c.solver, other}}); err != nil {
			t.Fatal(err)
		}
		c.wantCleanedUp(t)
		if len(other.cleaned) > 0 {
			t.Errorf("the other solver was asked to clean up %v", other.cleaned)
		}
	})
}
