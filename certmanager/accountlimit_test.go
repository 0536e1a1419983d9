package certmanager

import (
	"errors"
	"fmt"
	"testing"

	"github.com/everseal/everseal/acme"
)

// The texts of limits are those of Let's Encrypt, but for the last ones.
func TestLimitsAccount(t *testing.T) {
	const see = ", retry after 2026-11-01 12:00:00 UTC: see https://letsencrypt.org/docs/rate-limits/"
	limited := func(detail string) *acme.Problem {
		return &acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: detail}
	}
	withSubproblem := limited("too many of these lately")
	withSubproblem.Subproblems = []*acme.Problem{nil, {Type: acme.ErrRateLimited, Identifier: &acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}}}
	for _, test := range []struct {
		err   error
		order string // its name
		want  bool
	}{
		{limited("too many new orders (300) from this account in the last 3h0m0s" + see + "#new-orders-per-account"), "www.example.com", true},
		{limited("too many new orders (300) from this account in the last 3h0m0s" + see), "letsencrypt.org", true},
		{limited("too many new registrations (10) from this IP address in the last 3h0m0s" + see), "www.example.com", true},
		{limited(`too many certificates (50) already issued for "example.com" in the last 168h0m0s` + see), "www.example.com", false},
		{limited(`too many certificates (50) already issued for "example.co.uk" in the last 168h0m0s` + see), "*.www.example.co.uk", false},
		{limited(`too many certificates (50) already issued for "2001:db8:1:2::/64" in the last 168h0m0s` + see), "2001:db8:1:2::3", false},
		{limited(`too many certificates (50) already issued for "192.0.2.1" in the last 168h0m0s` + see), "192.0.2.1", false},
		{limited("too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s" + see), "www.example.com", false},
		{limited("too many certificates (5) already issued for this exact set of domains in the last 168h0m0s" + see), "www.example.com", false},
		{limited(`too many failed authorizations (5) for "example.com" in the last 1h0m0s` + see), "example.com", false},
		{limited("Your account is temporarily prevented from requesting certificates for WWW.example.com and possibly others. Please visit: https://portal.example/"), "www.example.com", false},
		{limited("Service busy; retry later."), "www.example.com", true},
		{limited("too many orders, of customer-example.com"), "example.com", true}, // which has another registered domain
		{limited("for *.example.com."), "example.com", false},
		{limited("for 10.0.0.0/8"), "192.0.2.1", true},
		{limited(""), "www.example.com", true},
		{withSubproblem, "www.example.com", false},
		{fmt.Errorf("acme: new order: %w", limited("too many new orders (300) from this account")), "www.example.com", true},
		{&acme.Problem{Status: 429, Detail: "the answer is no problem document but text/html"}, "www.example.com", true},
		{&acme.Problem{Status: 403, Detail: "the answer is no problem document but text/html"}, "www.example.com", false},
		{&acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400, Detail: "not for you"}, "www.example.com", false},
		{&acme.OrderError{Err: limited("too many requests")}, "www.example.com", false},
		{errors.New("connection refused"), "www.example.com", false},
		{nil, "www.example.com", false},
	} {
		id, err := acme.ParseIdentifier(test.order)
		if err != nil {
			t.Fatal(err)
		}
		if got := limitsAccount(test.err, []acme.Identifier{{Type: acme.TypeDNS, Value: "example.net"}, id}); got != test.want {
			t.Errorf("%s: %v: the account's: %v, want %v", test.order, test.err, got, test.want)
		}
	}
}
