package certmanager

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/solver"
)

func TestWhereDryRunsAreMade(t *testing.T) {
	client := new(http.Client)
	account := &acme.ExternalAccount{KeyID: "test"}
	for name, test := range map[string]struct {
		of   ACME
		want *ACME
	}{
		"Let's Encrypt": {ACME{AgreeToTerms: true, HTTPClient: client, Profile: "tlsserver"}, &ACME{DirectoryURL: acme.LetsEncryptStaging, AgreeToTerms: true, HTTPClient: client, Profile: "tlsserver"}},
		"off":           {ACME{NoDryRun: true}, nil},
		"staging":       {ACME{DirectoryURL: acme.LetsEncryptStaging}, nil},
		"Google":        {ACME{DirectoryURL: acme.GoogleTrustServices, ExternalAccount: account}, nil},
		"Google with an account there": {ACME{DirectoryURL: acme.GoogleTrustServices, Email: "a@example.com", Staging: &ACME{ExternalAccount: account}},
			&ACME{DirectoryURL: acme.GoogleTrustServicesStaging, Email: "a@example.com", ExternalAccount: account}},
		"unknown": {ACME{DirectoryURL: "https://ca.example.com/directory"}, nil},
		"given": {ACME{DirectoryURL: "https://ca.example.com/directory", HTTPClient: client, CommonName: true, PreferredChain: "X", Staging: &ACME{DirectoryURL: "https://staging.example.com/", PreferredChain: "Y"}},
			&ACME{DirectoryURL: "https://staging.example.com/", CommonName: true, PreferredChain: "Y"}},
	} {
		got := test.of.staging()
		if (got == nil) != (test.want == nil) {
			t.Errorf("%s: %+v, want %+v", name, got, test.want)
			continue
		}
		if got == nil {
			continue
		}
		test.want.NoDryRun = true
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", *test.want) {
			t.Errorf("%s: %+v, want %+v", name, *got, *test.want)
		}
	}
}

func TestWhatADryRunTellsOfNames(t *testing.T) {
	unproved := func(of acme.ProblemType, status int) error {
		return &acme.OrderError{Authorizations: []*acme.AuthorizationError{{Problem: &acme.Problem{Type: of, Status: status}}}}
	}
	for name, test := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":        {nil, false},
		"not proved":     {unproved(acme.ErrConnection, 400), true},
		"its own CAA":    {unproved(acme.ErrCAA, 403), false},
		"down meanwhile": {unproved(acme.ErrServerInternal, 500), false},
		"not allowed":    {&acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400}, true},
		"too often":      {&acme.OrderError{Err: &acme.Problem{Type: acme.ErrRateLimited, Status: 429}, Authorizations: []*acme.AuthorizationError{{}}}, false},
		"no profile":     {&acme.Problem{Type: acme.ErrInvalidProfile, Status: 400}, false},
		"not published":  {&acme.SolverError{Err: http.ErrBodyNotAllowed}, true},
		"no account":     {&UnavailableError{Err: unproved(acme.ErrUnauthorized, 403)}, false},
	} {
		if got := concernsNames(test.err); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Who has not asked the CA has not found out whether it works.
func TestDryRunSaysNothingOfTheCA(t *testing.T) {
	err := &dryRunError{&acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400}, "staging"}
	if r := resultOf(t.Context(), fmt.Errorf("wrapped: %w", err)); r.Outcome != gate.Unknown {
		t.Errorf("the outcome is %v", r.Outcome)
	}
}

func TestSolversOfADryRun(t *testing.T) {
	names := []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}, {Type: acme.TypeDNS, Value: "*.example.com"}}
	web, dns, standing := new(solver.HTTP01), new(solver.DNS01), new(solver.DNSPersist01)
	for _, test := range []struct {
		identifiers []acme.Identifier
		solvers     []acme.Solver
		able        int // solvers; 0: there is no dry run
	}{
		{names, []acme.Solver{standing, dns}, 1},
		{names, []acme.Solver{standing}, 0},
		{names, []acme.Solver{standing, web}, 0},
		{names[:1], []acme.Solver{standing, web}, 1},
		{names, []acme.Solver{web, dns}, 2},
	} {
		solvers, able := dryRunSolvers(&Request{Identifiers: test.identifiers, Solvers: test.solvers})
		if able != (test.able > 0) || len(solvers) != test.able {
			t.Errorf("%v with %v: %v, %v", test.identifiers, test.solvers, solvers, able)
		}
	}
}

func TestLifetimeAskedFor(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 7, time.FixedZone("", 3600))
	if end := notAfter(now, 0); !end.IsZero() {
		t.Error(end)
	}
	if end := notAfter(now, 24*time.Hour); end.Format(time.RFC3339Nano) != "2026-11-27T11:00:00Z" {
		t.Error(end)
	}
}
