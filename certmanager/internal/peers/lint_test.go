package peers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"net"
	"testing"
	"time"

	zx509 "github.com/zmap/zcrypto/x509"
	"github.com/zmap/zlint/v3"
	"github.com/zmap/zlint/v3/lint"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

// lintsExcluded are those that a CA for tests can't pass or need not, each with the reason.
func lintsExcluded() map[string]string {
	const noServer = "public CAs serve issuers and revocation lists over plain http: acmetest has a port for TLS, or none; URLs that lead nowhere would have clients under test wait for them"
	return map[string]string{
		"e_sub_cert_aia_missing":                                  noServer,
		"w_sub_cert_aia_does_not_contain_issuing_ca_url":          noServer,
		"w_sub_ca_aia_missing":                                    noServer,
		"e_missing_crl_distrib_point":                             noServer,
		"e_sub_ca_crl_distribution_points_missing":                noServer,
		"w_ext_subject_key_identifier_not_recommended_subscriber": "RFC 5280 §4.2.1.2 recommends one, and another lint with it",
		"w_subject_common_name_included":                          "it stands where the request asks for it, as with Let's Encrypt's profile classic",
	}
}

// What acmetest issues is as a public CA's certificates have to be, so that what a client makes of it there it makes of
// theirs: zlint has no error and no warning for it.
func TestLint(t *testing.T) {
	excluded := lintsExcluded()
	unused := maps.Clone(excluded)
	check := func(name string, der []byte) {
		t.Run(name, func(t *testing.T) {
			certificate, err := zx509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			for name, result := range zlint.LintCertificate(certificate).Results {
				if result.Status < lint.Warn {
					continue
				}
				delete(unused, name)
				if excluded[name] == "" {
					t.Errorf("%s: %s: %s %s (%s)", name, result.Status, result.LintMetadata.Description, result.Details, result.LintMetadata.Citation)
				}
			}
		})
	}
	s := newLintedSite(t)
	var last *acme.Certificate
	for name, r := range lintedRequests(t) {
		last = s.issue(t, r)
		check(name, last.Chain[0])
	}
	check("intermediate", last.Chain[1])
	for i, url := range last.Alternates {
		alternate, err := s.client.GetCertificate(within(t), url)
		if err != nil {
			t.Fatal(err)
		}
		check(fmt.Sprintf("intermediate of alternate %d", i), alternate.Chain[1])
	}
	for i, root := range decodeChain(s.ca.RootPEM()) {
		check(fmt.Sprintf("root %d", i), root)
	}
	for name := range unused {
		t.Errorf("%s is excluded without need", name)
	}
}

// A lintedRequest is for one kind of certificate.
type lintedRequest struct {
	key                 crypto.Signer
	names               []string
	commonName, profile string
	lifetime            time.Duration // asked for by the order; zero: it is not
}

func lintedRequests(t *testing.T) map[string]lintedRequest {
	t.Helper()
	strong, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	usual := newKey(t)
	name, wildcard, address := "example.com", "*.example.com", "9.9.9.9"
	return map[string]lintedRequest{
		"a name":                  {key: usual, names: []string{name}},
		"two names":               {key: strong, names: []string{name, "www.example.com"}},
		"a wildcard":              {key: usual, names: []string{wildcard, name}},
		"an address":              {key: usual, names: []string{address}, profile: "short"},
		"a name and an address":   {key: usual, names: []string{name, address}},
		"a common name":           {key: usual, names: []string{name, "www.example.com"}, commonName: name},
		"an RSA key":              {key: old, names: []string{name}},
		"an RSA key, common name": {key: old, names: []string{name}, commonName: name},
		"a short lifetime":        {key: usual, names: []string{name}, profile: "short"},
		"a lifetime of a day":     {key: usual, names: []string{name}, lifetime: 24 * time.Hour},
	}
}

// A lintedSite is a CA with an account that has control of all the names.
type lintedSite struct {
	ca     *acmetest.Server
	client *acme.Client
}

func newLintedSite(t *testing.T) *lintedSite {
	t.Helper()
	ca := acmetest.NewUnstartedServer()
	ca.ReuseAuthorizations = true
	ca.AlternateChains = 1
	ca.Profiles = map[string]acmetest.Profile{"short": {Description: "six days", Lifetime: 160 * time.Hour}}
	answers := &answers{setTXT: ca.SetTXT}
	plain, _ := answers.serve(t)
	ca.SetHost("*", plain)
	ca.SetHost("9.9.9.9", plain)
	ca.Start()
	t.Cleanup(ca.Close)
	s := &lintedSite{ca, &acme.Client{DirectoryURL: ca.URL, Key: newKey(t), HTTPClient: ca.Client()}}
	ctx := within(t)
	if _, err := s.client.Register(ctx, acme.Registration{AgreeToTerms: true}); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"example.com", "www.example.com", "9.9.9.9"}, {"*.example.com"}} {
		_, err := s.client.Issue(ctx, acme.Request{
			Identifiers: identifiers(t, names...),
			Key:         newKey(t),
			Solvers:     []acme.Solver{tokenSolver{answers}, recordSolver{acme.TypeDNS01, answers}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// issue takes the steps that Issue takes, with a certificate request of its own.
func (s *lintedSite) issue(t *testing.T, r lintedRequest) *acme.Certificate {
	t.Helper()
	ordered := acme.OrderRequest{Identifiers: identifiers(t, r.names...), Profile: r.profile}
	if r.lifetime != 0 {
		ordered.NotAfter = time.Now().Add(r.lifetime).Truncate(time.Second)
	}
	template := &x509.CertificateRequest{Subject: pkix.Name{CommonName: r.commonName}}
	for _, id := range ordered.Identifiers {
		if id.Type == acme.TypeIP {
			template.IPAddresses = append(template.IPAddresses, net.ParseIP(id.Value))
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, template, r.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := s.finalize(within(t), ordered, csr)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func (s *lintedSite) finalize(ctx context.Context, r acme.OrderRequest, csr []byte) (*acme.Certificate, error) {
	order, err := s.client.NewOrder(ctx, r)
	if err != nil {
		return nil, err
	}
	if order, err = s.client.FinalizeOrder(ctx, order, csr); err != nil {
		return nil, err
	}
	if order, err = s.client.WaitOrder(ctx, order); err != nil {
		return nil, err
	}
	return s.client.GetCertificate(ctx, order.Certificate)
}
