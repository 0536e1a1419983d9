package solvertest

import (
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// RequireError fails the test unless err says each of want, within bounds and on one line.
func RequireError(t *testing.T, err error, want ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range want {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
		t.Errorf("an error of %d bytes: %q", len(err.Error()), err)
	}
}

// Present fails the test unless the solver presents the proof.
func Present(t *testing.T, s acme.Solver, p acme.Proof) {
	t.Helper()
	if err := s.Present(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

// CleanUp fails the test unless the solver cleans the proof up.
func CleanUp(t *testing.T, s acme.Solver, p acme.Proof) {
	t.Helper()
	if err := s.CleanUp(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}
