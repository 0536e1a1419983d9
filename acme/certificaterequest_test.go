package acme_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
)

// certificateRequest returns the certificate request that was sent.
func (c *ca) certificateRequest(t *testing.T) *x509.CertificateRequest {
	t.Helper()
	var payload struct{ CSR string }
	if err := json.Unmarshal([]byte(c.requests("finalize")[0].payload), &payload); err != nil {
		t.Fatal(err)
	}
	der, err := base64.RawURLEncoding.DecodeString(payload.CSR)
	if err != nil {
		t.Fatal(err)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestCommonName(t *testing.T) {
	long, fits := longName(65)+".example.com", longName(52)+".example.com" // 77 and 64 bytes
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"example.com", "www.example.com"}, "example.com"},
		{[]string{"www.example.com", "example.com"}, "www.example.com"},
		{[]string{"192.0.2.1", "example.com"}, "example.com"},
		{[]string{long, fits}, fits},
		{[]string{long}, ""},
		{[]string{"192.0.2.1", "2001:db8::1"}, ""},
	} {
		inBubble(t, func(t *testing.T, c *ca) {
			if _, err := c.issue(t, t.Context(), acme.Request{Identifiers: identifiers(t, test.names...), CommonName: true}); err != nil {
				t.Fatalf("%q: %v", test.names, err)
			}
			request := c.certificateRequest(t)
			if request.Subject.CommonName != test.want || len(request.DNSNames)+len(request.IPAddresses) != len(test.names) {
				t.Errorf("for %q the common name is %q, want %q; names %q, addresses %v", test.names, request.Subject.CommonName, test.want, request.DNSNames, request.IPAddresses)
			}
		})
	}
}

// A request made elsewhere may name a domain in its subject, or there alone (RFC 8555 §7.4).
func TestCSRWithACommonName(t *testing.T) {
	for name, names := range map[string][]string{"both": {"example.com", "www.example.com"}, "subject": {"www.example.com"}} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *ca) {
				key := newKey(t)
				csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
					Subject:  pkix.Name{CommonName: strings.ToUpper("example.com")},
					DNSNames: names,
				}, key)
				if err != nil {
					t.Fatal(err)
				}
				r := acme.Request{Identifiers: identifiers(t, "example.com", "www.example.com"), Solvers: []acme.Solver{c.solver}, CSR: csr}
				certificate, err := c.client.Issue(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(c.certificateRequest(t).Raw, csr) || !key.PublicKey.Equal(certificate.Leaf.PublicKey) {
					t.Error("another request was sent, or the certificate is for another key")
				}
			})
		})
	}
}
