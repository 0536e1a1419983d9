package stepca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
)

// patience is how long a test waits for what has to happen. Only a failing test waits that long.
const patience = 45 * time.Second

// within returns a context for what has to happen.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newClient returns a client whose key the CA has not seen.
func newClient(t *testing.T, s *authorityServer) *acme.Client {
	t.Helper()
	return &acme.Client{DirectoryURL: s.directory, Key: newKey(t), HTTPClient: s.client()}
}

// newAccount returns a client that has an account.
func newAccount(t *testing.T, s *authorityServer) *acme.Client {
	t.Helper()
	client := newClient(t, s)
	if _, err := client.Register(within(t), acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	return client
}

func identifiers(t *testing.T, names ...string) []acme.Identifier {
	t.Helper()
	ids := make([]acme.Identifier, len(names))
	for i, name := range names {
		var err error
		if ids[i], err = acme.ParseIdentifier(name); err != nil {
			t.Fatal(err)
		}
	}
	return ids
}

// startWeb starts an HTTP server, with HTTPS where there is a configuration, and returns its address.
func startWeb(t *testing.T, handler http.Handler, secure *tls.Config) string {
	t.Helper()
	web := httptest.NewUnstartedServer(handler)
	web.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure != nil { // StartTLS would add a certificate of its own
		web.Listener = tls.NewListener(web.Listener, secure)
	}
	web.Start()
	t.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// solvers are those of package solver, with servers that give their answers where the CA looks for them. The first is
// for the type preferred.
func solvers(t *testing.T, s *authorityServer, preferred string) []acme.Solver {
	t.Helper()
	http01, tlsALPN01 := new(solver.HTTP01), new(solver.TLSALPN01)
	s.lead(
		startWeb(t, http01.Handler(nil), nil),
		startWeb(t, http.NotFoundHandler(), &tls.Config{GetCertificate: tlsALPN01.GetCertificate, NextProtos: []string{solver.ALPNProto}}),
	)
	all := []acme.Solver{http01, tlsALPN01, s.dns01()}
	first := slices.IndexFunc(all, func(s acme.Solver) bool { return s.Type() == preferred })
	return slices.Concat(all[first:], all[:first])
}

// verify fails the test unless the certificate is one that a client that trusts the CA accepts for the names.
func verify(t *testing.T, s *authorityServer, certificate *acme.Certificate, r acme.Request) {
	t.Helper()
	intermediates := x509.NewCertPool()
	for _, der := range certificate.Chain[1:] {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(parsed)
	}
	options := x509.VerifyOptions{Roots: s.roots(), Intermediates: intermediates}
	if _, err := certificate.Leaf.Verify(options); err != nil {
		t.Error(err)
	}
	if err := certificate.Verify(r.Key.Public(), r.Identifiers, time.Now()); err != nil {
		t.Error(err)
	}
	if n := len(certificate.Leaf.DNSNames) + len(certificate.Leaf.IPAddresses); n != len(r.Identifiers) {
		t.Errorf("the certificate has %d names, want %d", n, len(r.Identifiers))
	}
}

func TestIssue(t *testing.T) {
	several := []string{"example.test", "www.example.test", "api.example.test", "mail.other.test", "other.test"}
	tests := []struct {
		name      string
		challenge string
		names     []string
	}{
		{"a name", acme.TypeHTTP01, []string{"example.test"}},
		{"an IPv4 address", acme.TypeHTTP01, []string{"127.0.0.1"}},
		{"an IPv6 address", acme.TypeHTTP01, []string{"::1"}},
		{"names and addresses", acme.TypeHTTP01, append([]string{"127.0.0.1", "2001:db8::1"}, several...)},
		{"a name", acme.TypeTLSALPN01, []string{"example.test"}},
		{"an IPv4 address", acme.TypeTLSALPN01, []string{"127.0.0.1"}},
		{"an IPv6 address", acme.TypeTLSALPN01, []string{"::1"}},
		{"names and addresses", acme.TypeTLSALPN01, append([]string{"127.0.0.1", "2001:db8::1"}, several...)},
		{"a name", acme.TypeDNS01, []string{"example.test"}},
		{"a wildcard", acme.TypeDNS01, []string{"*.example.test"}},
		{"a wildcard and its base name", acme.TypeDNS01, []string{"*.example.test", "example.test"}},
		{"wildcards and names", acme.TypeDNS01, append([]string{"*.example.test", "*.other.test"}, several...)},
	}
	for _, test := range tests {
		t.Run(test.challenge+"/"+test.name, func(t *testing.T) {
			s := start(t)
			client := newAccount(t, s)
			request := acme.Request{Identifiers: identifiers(t, test.names...), Key: newKey(t), Solvers: solvers(t, s, test.challenge)}
			request.Before = func(_ context.Context, step acme.Step) error {
				for _, p := range step.Proofs {
					if p.Type != test.challenge {
						t.Errorf("%v is proved by %s, want %s", p.Identifier, p.Type, test.challenge)
					}
				}
				return nil
			}
			certificate, err := client.Issue(within(t), request)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, s, certificate, request)
			s.wants(t, 1, 1)
			if n := s.records(); n != 0 {
				t.Errorf("%d TXT records were left behind", n)
			}
			names := len(test.names)
			for resource, want := range map[string]int{"new-order": 1, "authz": names, "challenge": names, "order": 1, "finalize": 1, "certificate": 1} {
				if n := s.asked(resource); n != want {
					t.Errorf("%d requests for %s, want %d", n, resource, want)
				}
			}
		})
	}
}

// A wildcard is proved by DNS alone, whatever solvers come before.
func TestIssueWildcardSolver(t *testing.T) {
	s := start(t)
	client := newAccount(t, s)
	request := acme.Request{Identifiers: identifiers(t, "*.example.test"), Key: newKey(t), Solvers: solvers(t, s, acme.TypeHTTP01)}
	certificate, err := client.Issue(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, s, certificate, request)
	request.Solvers = request.Solvers[:2]
	if _, err := client.Issue(within(t), request); err == nil || s.made(t, certificates) != 1 {
		t.Errorf("a wildcard without a solver for dns-01: %v", err)
	}
}

// The CA takes the dates of an order, within its limits; what is beyond them it refuses only when it signs, and calls
// an internal error. The order is ready still.
func TestIssueDates(t *testing.T) {
	s := start(t)
	client := newAccount(t, s)
	notAfter := time.Now().Add(3 * time.Hour).Truncate(time.Second)
	request := acme.Request{Identifiers: identifiers(t, "example.test"), NotAfter: notAfter, Key: newKey(t), Solvers: solvers(t, s, acme.TypeHTTP01)}
	certificate, err := client.Issue(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, s, certificate, request)
	if !certificate.Leaf.NotAfter.Equal(notAfter) {
		t.Errorf("the certificate ends at %v, want %v", certificate.Leaf.NotAfter, notAfter)
	}
	request.NotAfter = time.Now().Add(30 * 24 * time.Hour)
	var dead *acme.OrderError
	if _, err = client.Issue(within(t), request); !errors.Is(err, acme.ErrServerInternal) || errors.As(err, &dead) {
		t.Errorf("a certificate for a month: %v", err)
	}
	s.wants(t, 2, 1)
}

// What this CA does not know of an order it passes over: the predecessor that a certificate replaces is not told it.
func TestIssueReplaces(t *testing.T) {
	s := start(t)
	client := newAccount(t, s)
	request := acme.Request{Identifiers: identifiers(t, "example.test"), Key: newKey(t), Solvers: solvers(t, s, acme.TypeTLSALPN01)}
	first, err := client.Issue(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	request.Replaces, request.Key = first.Leaf, newKey(t)
	second, err := client.Issue(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, s, second, request)
	s.wants(t, 2, 2)
}

// A request for other names than the order's is refused, and the order is good still.
func TestFinalizeOtherNames(t *testing.T) {
	s := start(t)
	client := newAccount(t, s)
	ctx := within(t)
	stopped := errors.New("stopped here")
	var orderURL string
	request := acme.Request{Identifiers: identifiers(t, "example.test"), Key: newKey(t), Solvers: solvers(t, s, acme.TypeHTTP01)}
	request.Before = func(_ context.Context, step acme.Step) error {
		if orderURL = step.OrderURL; step.Action == acme.ActionFinalize {
			return stopped
		}
		return nil
	}
	if _, err := client.Issue(ctx, request); !errors.Is(err, stopped) {
		t.Fatalf("Issue returned %v", err)
	}
	order, err := client.GetOrder(ctx, orderURL)
	if err != nil || order.Status != acme.StatusReady {
		t.Fatalf("the order is %+v, %v", order, err)
	}
	other := &x509.CertificateRequest{DNSNames: []string{"other.test"}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, other, request.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.FinalizeOrder(ctx, order, csr); !errors.Is(err, acme.ErrBadCSR) {
		t.Errorf("a certificate request for another name: %v", err)
	}
	request.Before, request.OrderURL = nil, orderURL
	certificate, err := client.Issue(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, s, certificate, request)
	s.wants(t, 1, 1)
}
