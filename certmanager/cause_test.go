package certmanager

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/diagnose"
)

// TestCausesInWords has errors of issuers as package acme gives them: the words begin with the cause, say no sentence twice,
// and wrap the error.
func TestCausesInWords(t *testing.T) {
	call := func(err error) error {
		return &accountError{"https://ca.example/dir", fmt.Errorf("acme: directory: %w", &url.Error{Op: "Get", URL: "https://ca.example/dir", Err: err})}
	}
	refusal := &acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400, Detail: `no certificates for "example.com"`,
		Subproblems: []*acme.Problem{{Type: acme.ErrRejectedIdentifier, Detail: `no certificates for "example.com"`, Identifier: &acme.Identifier{Type: acme.TypeDNS, Value: "example.com"}}}}
	for _, test := range []struct {
		err  error
		want string
	}{
		{call(&net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", errors.New("connection refused"))}),
			`the CA can't be reached: check this machine's network, firewall and proxy: Get "https://ca.example/dir": dial tcp: connect: connection refused`},
		{call(&net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "ca.example"}}),
			`the CA's name can't be resolved: check this machine's DNS: Get "https://ca.example/dir": dial tcp: lookup ca.example: no such host`},
		{call(context.DeadlineExceeded), `the CA does not answer: check this machine's network, firewall and proxy: Get "https://ca.example/dir": context deadline exceeded`},
		{call(x509.UnknownAuthorityError{}), `this machine does not trust the CA's server: update its root certificates`},
		{call(x509.CertificateInvalidError{Cert: new(x509.Certificate), Reason: x509.Expired}), `this machine's clock is wrong, or the certificate of the CA's own server is over`},
		{call(x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"portal.example"}}, Host: "ca.example"}),
			`another server answers in place of the CA's: check ACME.DirectoryURL, and this machine's DNS and proxy: Get "https://ca.example/dir": x509: certificate is valid for portal.example, not ca.example`},
		{fmt.Errorf("acme: new order: %w", &acme.Problem{Status: 503, Detail: "busy"}), "the CA is down: busy (HTTP 503)"},
		{fmt.Errorf("acme: new order: %w", &acme.Problem{Type: acme.ErrRateLimited, Status: 429, Detail: "too many"}), "a rate limit of the CA is reached: wait, or stop others that use the account or the names: too many (rateLimited, HTTP 429)"},
		{fmt.Errorf("acme: new order: %w", refusal), `the CA refuses the name: no certificates for "example.com" (rejectedIdentifier, HTTP 400)`},
		{fmt.Errorf("acme: new order: %w", &acme.Problem{Type: acme.ErrMalformed, Status: 400, Detail: "no such thing"}), "the CA refuses the request: new order: no such thing (malformed, HTTP 400)"},
		{&UnavailableError{Err: &accountError{"https://ca.example/dir", &acme.Problem{Type: acme.ErrUnauthorized, Status: 403, Detail: "deactivated"}}},
			"the CA refuses the account: deactivated (unauthorized, HTTP 403) (account at https://ca.example/dir)"},
		{&UnavailableError{Err: &accountError{"https://ca.example/dir", &acme.TermsError{URL: "https://ca.example/terms"}}},
			"the CA's terms of service were not agreed to: read https://ca.example/terms"},
		{&accountError{"https://ca.example/dir", storageFailure(errors.New("no space"))}, "the storage fails: no space (account at https://ca.example/dir)"},
		{&acme.OrderError{Problem: &acme.Problem{Type: acme.ErrServerInternal, Detail: "the HSM is down"}}, "the CA lost the order by a fault of its own: the order failed: the HSM is down (serverInternal)"},
		{storageFailure(errors.New("no space")), "the storage fails: no space"},
		{errors.New("an issuer's own"), "an issuer's own"},
	} {
		err := inWords(test.err)
		if !strings.HasPrefix(err.Error(), test.want) || !errors.Is(err, test.err) {
			t.Errorf("%q, want %q", err, test.want)
		}
		for part := range strings.SplitSeq(err.Error(), ": ") {
			if strings.Count(err.Error(), part) > 1 && strings.Contains(part, " ") {
				t.Errorf("twice %q in %q", part, err)
			}
		}
	}
	if inWords(nil) != nil {
		t.Error("nil has words")
	}
}

// TestQuotesAreNotRepeated has what was seen of a failure quote the CA: the CA's words are not told again.
func TestQuotesAreNotRepeated(t *testing.T) {
	const words = `no connection to 192.0.2.9: "refused"`
	failed := &acme.AuthorizationError{Identifier: "example.com", ChallengeType: "http-01",
		Problem: &acme.Problem{Type: acme.ErrConnection, Status: 400, Detail: words}}
	report := &diagnose.Report{Cause: diagnose.CauseVantagePoints, Reason: "it answers right from here (its words: " + words + ")", Cure: "open the port"}
	for reason, want := range map[string]int{report.Reason: 1, "it answers right from here": 1} {
		report.Reason = reason
		err := &diagnosed{fmt.Errorf("the order failed: %w", failed), []*diagnose.Report{report}}
		text := err.Error()
		if strings.Count(text, words) != want || !strings.Contains(text, "; control was not proved: the order failed: example.com: http-01") || !strings.Contains(text, "(connection, HTTP 400)") {
			t.Errorf("error %q", text)
		}
	}
}
