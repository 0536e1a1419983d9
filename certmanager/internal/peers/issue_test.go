package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// startAnswers serves the answers of the solvers where the CA looks for them, without a manager.
func startAnswers(t *testing.T, p *pebble, http01 *solver.HTTP01, tlsALPN01 *solver.TLSALPN01) {
	t.Helper()
	plain, secure := listen(t), listen(t)
	startWeb(t, plain, http01.Handler(nil))
	startWeb(t, tls.NewListener(secure, &tls.Config{
		GetCertificate: tlsALPN01.GetCertificate,
		NextProtos:     []string{solver.ALPNProto},
	}), http.NotFoundHandler())
	p.http.lead(plain.Addr().String())
	p.tls.lead(secure.Addr().String())
}

// newAccount returns a client that has an account.
func newAccount(t *testing.T, p *pebble) *acme.Client {
	t.Helper()
	client := newClient(t, p)
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

// verify fails the test unless the certificate is one that a client that trusts the CA accepts for the names.
func verify(t *testing.T, p *pebble, certificate *acme.Certificate, r acme.Request) {
	t.Helper()
	if err := certificate.Verify(r.Key.Public(), r.Identifiers, time.Now()); err != nil {
		t.Error(err)
	}
	intermediates := x509.NewCertPool()
	for _, der := range certificate.Chain[1:] {
		parsed, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		intermediates.AddCert(parsed)
	}
	for _, id := range r.Identifiers {
		options := x509.VerifyOptions{DNSName: id.Value, Roots: p.roots(), Intermediates: intermediates}
		if _, err := certificate.Leaf.Verify(options); err != nil {
			t.Error(err)
		}
	}
}

func TestIssue(t *testing.T) {
	tests := []struct {
		name  string
		names []string
	}{
		{"a name", []string{"example.test"}},
		{"an IP address", []string{"127.0.0.1"}},
		{"names and an IP address", []string{"example.test", "www.example.test", "mail.example.org", "127.0.0.1"}},
	}
	for _, challenge := range []string{acme.TypeHTTP01, acme.TypeTLSALPN01} {
		for _, test := range tests {
			t.Run(challenge+"/"+test.name, func(t *testing.T) {
				p := startPebble(t, pebbleSettings{})
				http01, tlsALPN01 := new(solver.HTTP01), new(solver.TLSALPN01)
				startAnswers(t, p, http01, tlsALPN01)
				solvers := []acme.Solver{http01, tlsALPN01}
				if challenge == acme.TypeTLSALPN01 {
					slices.Reverse(solvers)
				}
				client := newAccount(t, p)
				request := acme.Request{Identifiers: identifiers(t, test.names...), Key: newKey(t), Solvers: solvers}
				certificate, err := client.Issue(within(t), request)
				if err != nil {
					t.Fatal(err)
				}
				verify(t, p, certificate, request)
				p.wants(t, 1, 1)
				t.Logf("%d requests to the CA for %d names, account included", p.traffic.total(), len(test.names))
			})
		}
	}
}

// A CA that asks to be polled once a second, in seconds or with a date as it pleases, is polled once a second.
func TestIssueRetryAfter(t *testing.T) {
	p := startPebble(t, pebbleSettings{retryAfter: 1})
	http01 := new(solver.HTTP01)
	startAnswers(t, p, http01, new(solver.TLSALPN01))
	request := acme.Request{Identifiers: identifiers(t, "slow.example.test"), Key: newKey(t), Solvers: []acme.Solver{http01}}
	certificate, err := newAccount(t, p).Issue(within(t), request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, p, certificate, request)
}

func TestIssueRefused(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	if err := p.database.AddBlockedDomain("forbidden.test"); err != nil {
		t.Fatal(err)
	}
	http01 := new(solver.HTTP01)
	startAnswers(t, p, http01, new(solver.TLSALPN01))
	client := newAccount(t, p)
	tests := []struct {
		names   []string
		problem error
		culprit string
		order   bool // was made before the refusal
	}{
		{[]string{"good.example.test", "www.forbidden.test"}, acme.ErrRejectedIdentifier, "www.forbidden.test", false},
		{[]string{"good.example.test", "www.nowhere.test"}, acme.ErrConnection, "www.nowhere.test", true},
	}
	for _, test := range tests {
		request := acme.Request{Identifiers: identifiers(t, test.names...), Key: newKey(t), Solvers: []acme.Solver{http01}}
		_, err := client.Issue(within(t), request)
		if !errors.Is(err, test.problem) {
			t.Errorf("%s: %v", test.culprit, err)
		}
		var failed *acme.OrderError
		if isOrderError := errors.As(err, &failed); isOrderError != test.order {
			t.Errorf("%s: %v: an order that failed: %v, want %v", test.culprit, err, isOrderError, test.order)
		}
		if failed == nil {
			continue
		}
		if len(failed.Authorizations) != 1 || failed.Authorizations[0].Identifier != test.culprit {
			t.Errorf("the identifiers that failed are %v, want %s", failed.Authorizations, test.culprit)
		}
	}
	if n := len(p.certificates("")); n != 0 {
		t.Errorf("%d certificates were issued", n)
	}
}

// An order is gone on with by another client, with the account's key and what the first one had written down, from
// whatever state it was left in.
func TestIssueResume(t *testing.T) {
	stopped := errors.New("stopped here")
	for _, last := range []acme.Action{acme.ActionAuthorize, acme.ActionPresent, acme.ActionAccept, acme.ActionFinalize, acme.ActionDownload} {
		t.Run("before "+string(last), func(t *testing.T) {
			p := startPebble(t, pebbleSettings{})
			http01 := new(solver.HTTP01)
			startAnswers(t, p, http01, new(solver.TLSALPN01))
			client := newAccount(t, p)
			request := acme.Request{Identifiers: identifiers(t, "one.example.test", "two.example.test"), Key: newKey(t), Solvers: []acme.Solver{http01}}
			var journal acme.Step
			request.Before = func(_ context.Context, s acme.Step) error {
				journal.OrderURL = s.OrderURL
				journal.Proofs = append(journal.Proofs, s.Proofs...)
				if s.Action == last {
					return stopped
				}
				return nil
			}
			if _, err := client.Issue(within(t), request); !errors.Is(err, stopped) {
				t.Fatalf("Issue returned %v", err)
			}
			request.Before, request.OrderURL, request.Presented = nil, journal.OrderURL, journal.Proofs
			other := &acme.Client{DirectoryURL: p.directory, Key: client.Key, HTTPClient: p.client()}
			certificate, err := other.Issue(within(t), request)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, p, certificate, request)
			p.wants(t, 1, 1)
		})
	}
}

// The states in which no step of Issue leaves an order: validations under way, and a certificate being made.
func TestIssueResumeUnderWay(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	http01 := &solver.HTTP01{Storage: new(storage.Memory)}
	startAnswers(t, p, http01, new(solver.TLSALPN01))
	client := newAccount(t, p)
	ctx := within(t)
	request := acme.Request{Identifiers: identifiers(t, "underway.example.test"), Key: newKey(t), Solvers: []acme.Solver{http01}}
	order, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: request.Identifiers})
	if err != nil {
		t.Fatal(err)
	}
	request.OrderURL = order.URL

	p.http.lead("") // the validation waits until the next server is there
	answers := proofOf(t, client, order)
	if err := http01.Present(ctx, answers); err != nil {
		t.Fatal(err)
	}
	if _, err := client.AcceptChallenge(ctx, answers.URL, nil); err != nil {
		t.Fatal(err)
	}
	second := &solver.HTTP01{Storage: http01.Storage}
	startAnswers(t, p, second, new(solver.TLSALPN01))
	request.Solvers, request.Presented = []acme.Solver{second}, []acme.Proof{answers}
	stopped := errors.New("stopped here")
	request.Before = func(_ context.Context, s acme.Step) error {
		if s.Action == acme.ActionFinalize {
			return stopped
		}
		return nil
	}
	if _, err := client.Issue(ctx, request); !errors.Is(err, stopped) {
		t.Fatalf("Issue returned %v", err)
	}

	order, err = client.GetOrder(ctx, order.URL)
	if err != nil || order.Status != acme.StatusReady {
		t.Fatalf("the order is %+v, %v", order, err)
	}
	order, err = client.FinalizeOrder(ctx, order, certificateRequest(t, request))
	if err != nil {
		t.Fatal(err)
	}
	if order.Status != acme.StatusProcessing {
		t.Fatalf("finalize answered %q; Pebble is known to answer processing", order.Status)
	}
	request.Before = nil
	certificate, err := client.Issue(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	verify(t, p, certificate, request)
	p.wants(t, 1, 1)
}

// proofOf returns the answer to the http-01 challenge of an order for one name.
func proofOf(t *testing.T, client *acme.Client, order *acme.Order) acme.Proof {
	t.Helper()
	authorization, err := client.GetAuthorization(within(t), order.Authorizations[0])
	if err != nil {
		t.Fatal(err)
	}
	proof := acme.Proof{Identifier: authorization.Identifier, DirectoryURL: client.DirectoryURL}
	for _, challenge := range authorization.Challenges {
		if challenge.Type == acme.TypeHTTP01 {
			proof.Challenge = challenge
		}
	}
	if proof.KeyAuthorization, err = client.KeyAuthorization(proof.Token); err != nil {
		t.Fatal(err)
	}
	return proof
}

func certificateRequest(t *testing.T, r acme.Request) []byte {
	t.Helper()
	template := new(x509.CertificateRequest)
	for _, id := range r.Identifiers {
		template.DNSNames = append(template.DNSNames, id.Value)
	}
	csr, err := x509.CreateCertificateRequest(nil, template, r.Key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

// An order that can't be gone on with is reported as such, so that another one is made.
func TestIssueResumeDeadOrder(t *testing.T) {
	p := startPebble(t, pebbleSettings{})
	http01 := new(solver.HTTP01)
	startAnswers(t, p, http01, new(solver.TLSALPN01))
	client := newAccount(t, p)
	ctx := within(t)
	order := func(client *acme.Client, name string) string {
		made, err := client.NewOrder(ctx, acme.OrderRequest{Identifiers: identifiers(t, name)})
		if err != nil {
			t.Fatal(err)
		}
		return made.URL
	}
	invalid := acme.Request{Identifiers: identifiers(t, "www.nowhere.test"), Key: newKey(t), Solvers: []acme.Solver{http01}, OrderURL: order(client, "www.nowhere.test")}
	if _, err := client.Issue(ctx, invalid); err == nil {
		t.Fatal("a name without an address was validated")
	}
	tests := map[string]string{
		"invalid":           invalid.OrderURL,
		"unknown":           order(client, "www.nowhere.test") + "0",
		"another account's": order(newAccount(t, p), "www.nowhere.test"),
		"for other names":   order(client, "other.example.test"),
	}
	for name, url := range tests {
		request := invalid
		request.OrderURL = url
		_, err := client.Issue(ctx, request)
		var dead *acme.OrderError
		if !errors.As(err, &dead) {
			t.Errorf("%s: %v, which is no *OrderError", name, err)
		}
	}
}

// Authorizations that the CA has found valid already are not proved again.
func TestIssueReusesAuthorizations(t *testing.T) {
	p := startPebble(t, pebbleSettings{reuse: 100})
	client, way, request := issueRecorded(t, p, new(answers))
	for _, challenges := range []int{2, 0, 1} {
		request.Identifiers = identifiers(t, "one.example.test", "two.example.test")
		if challenges == 1 {
			request.Identifiers = identifiers(t, "one.example.test", "three.example.test", "two.example.test")
		}
		way.forget(loss{})
		certificate, err := client.Issue(within(t), request)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, p, certificate, request)
		if n := way.count("chalZ"); n != challenges {
			t.Errorf("%d challenges were accepted, want %d: %q", n, challenges, way.asked())
		}
	}
	p.wants(t, 3, 3)
}

// Every second good nonce is refused as a bad one, which costs requests and nothing else.
func TestIssueBadNonces(t *testing.T) {
	p := startPebble(t, pebbleSettings{badNonces: 50})
	client, way, request := issueRecorded(t, p, new(answers))
	const certificates = 5
	for range certificates {
		if _, err := client.Issue(within(t), request); err != nil {
			t.Fatal(err)
		}
	}
	p.wants(t, certificates, certificates)
	way.repeatsNoNonce(t)
}
