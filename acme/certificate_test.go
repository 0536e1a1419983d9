package acme_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
)

// An issuer signs certificates as a CA that errs would.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// newIssuer returns an issuer that parent vouches for, or one that vouches for itself.
func newIssuer(t testing.TB, parent *issuer) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: rand.Text()},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = &issuer{certificate: template, key: i.key}
	}
	i.certificate = parent.sign(t, template, i.key.Public())
	return i
}

func (i *issuer) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, public, i.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

// leafTemplate is that of a good certificate for example.com.
func leafTemplate() *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

func chainPEM(certificates ...*x509.Certificate) string {
	var b bytes.Buffer
	for _, c := range certificates {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
	}
	return b.String()
}

// A badChain is what a CA that errs answers with instead of a good certificate for example.com.
type badChain struct {
	name  string
	chain func(t *testing.T, root *issuer, key *ecdsa.PrivateKey) string
	says  string // empty: it is good after all
}

// test obtains the chain, which must be refused, with an OrderError if a new order is needed.
func (test badChain) test(t *testing.T, orderError bool) {
	t.Run(test.name, func(t *testing.T) {
		inBubble(t, func(t *testing.T, c *ca) {
			key := newKey(t)
			c.replaceCertificate(test.chain(t, newIssuer(t, nil), key))
			certificate, err := c.issue(t, t.Context(), acme.Request{Key: key})
			if test.says == "" {
				if err != nil || certificate.Leaf.SerialNumber.Int64() != 2 {
					t.Fatalf("error %v", err)
				}
				return
			}
			wantError(t, err, nil, test.says)
			var failed *acme.OrderError
			if errors.As(err, &failed) != orderError {
				t.Errorf("error %v; an OrderError: %t, want %t", err, !orderError, orderError)
			}
			if certificate != nil {
				t.Error("the certificate was handed out all the same")
			}
		})
	})
}

func TestIssueVerifiesTheCertificate(t *testing.T) {
	leaf := func(change func(*x509.Certificate)) func(*testing.T, *issuer, *ecdsa.PrivateKey) string {
		return func(t *testing.T, root *issuer, key *ecdsa.PrivateKey) string {
			template := leafTemplate()
			change(template)
			return chainPEM(root.sign(t, template, key.Public()), root.certificate)
		}
	}
	for _, test := range []badChain{
		{"good", leaf(func(*x509.Certificate) {}), ""},
		{"another key", func(t *testing.T, root *issuer, _ *ecdsa.PrivateKey) string {
			return chainPEM(root.sign(t, leafTemplate(), newKey(t).Public()), root.certificate)
		}, "another key"},
		{"other names", leaf(func(c *x509.Certificate) { c.DNSNames = []string{"www.example.com"} }), "example.com"},
		{"a wildcard instead of the name", leaf(func(c *x509.Certificate) { c.DNSNames = []string{"*.com"} }), "example.com"},
		{"the name as common name only", leaf(func(c *x509.Certificate) {
			c.DNSNames, c.Subject.CommonName, c.IPAddresses = nil, "example.com", []net.IP{{192, 0, 2, 1}}
		}), "example.com"},
		{"expired", leaf(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), "expired"},
		{"in the future", leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(10 * time.Minute) }), "clock"},
		{"a minute in the future", leaf(func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }), ""},
		{"ended before it began", leaf(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(-time.Minute) }), "ends before it begins"},
		{"ends before it will begin", leaf(func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().Add(3*time.Minute), time.Now().Add(time.Minute)
		}), "ends before it begins"},
		{"a precertificate", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: asn1.NullBytes}}
		}), "precertificate"},
		{"an unknown critical extension", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: asn1.NullBytes}}
		}), "1.2.3.4"},
		{"an unknown extension", leaf(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: asn1.NullBytes}}
		}), ""},
		{"for servers", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }), ""},
		{"for anything", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }), ""},
		{"for servers and more", leaf(func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}}
		}), ""},
		{"for clients", leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), "serverAuth"},
		{"for something unknown", leaf(func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 2, 3}} }), "serverAuth"},
		{"for signatures", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment }), ""},
		{"for encryption", leaf(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "digitalSignature"},
		{"not for a CA", leaf(func(c *x509.Certificate) { c.BasicConstraintsValid = true }), ""},
		{"for a CA", leaf(func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }), "of a CA"},
	} {
		// One that has not begun will do when the clock is right.
		test.test(t, test.says != "clock")
	}
}

func TestIssueVerifiesTheChain(t *testing.T) {
	constant := func(answer string) func(*testing.T, *issuer, *ecdsa.PrivateKey) string {
		return func(*testing.T, *issuer, *ecdsa.PrivateKey) string { return answer }
	}
	for _, test := range []badChain{
		{"alone", func(t *testing.T, root *issuer, key *ecdsa.PrivateKey) string {
			return chainPEM(root.sign(t, leafTemplate(), key.Public()))
		}, ""},
		{"20 certificates", longChain(20), ""},
		{"21 certificates", longChain(21), "more than 20"},
		{"HTML", constant("<html>"), "no certificate in PEM"},
		{"empty", constant(""), "no certificate in PEM"},
		{"a private key", constant("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), "no certificate in PEM"},
		{"garbage in PEM", constant("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "certificate 1"},
	} {
		test.test(t, false)
	}
	badChain{"the wrong way round", func(t *testing.T, root *issuer, key *ecdsa.PrivateKey) string {
		return chainPEM(root.certificate, root.sign(t, leafTemplate(), key.Public()))
	}, "another key"}.test(t, true)
}

func longChain(n int) func(*testing.T, *issuer, *ecdsa.PrivateKey) string {
	return func(t *testing.T, issuer *issuer, key *ecdsa.PrivateKey) string {
		chain := []*x509.Certificate{issuer.certificate}
		for len(chain) < n-1 {
			issuer = newIssuer(t, issuer)
			chain = append([]*x509.Certificate{issuer.certificate}, chain...)
		}
		return chainPEM(append([]*x509.Certificate{issuer.sign(t, leafTemplate(), key.Public())}, chain...)...)
	}
}

// replaceCertificate lets the CA hand out something else than it issued.
func (c *ca) replaceCertificate(chain string) {
	c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
		resp, err := next.RoundTrip(r)
		if err == nil && resourceOf(r) == "certificate" {
			resp.Body = io.NopCloser(strings.NewReader(chain))
		}
		return resp, err
	}
}

func TestVerify(t *testing.T) {
	now := time.Now()
	root, key := newIssuer(t, nil), newKey(t)
	template := leafTemplate()
	template.DNSNames = []string{"example.com", "*.Example.com"}
	template.IPAddresses = []net.IP{net.ParseIP("192.0.2.1"), net.ParseIP("2001:db8::1")}
	leaf := root.sign(t, template, key.Public())
	certificate := &acme.Certificate{Chain: [][]byte{leaf.Raw}, Leaf: leaf}
	for _, name := range []string{"example.com", "*.example.com", "192.0.2.1", "2001:db8::1"} {
		if err := certificate.Verify(key.Public(), identifiers(t, name), now); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"www.example.com", "192.0.2.2", "*.www.example.com", "com"} {
		wantError(t, certificate.Verify(key.Public(), identifiers(t, name), now), nil, name)
	}
	ids := identifiers(t, "example.com")
	if err := certificate.Verify(key.Public(), ids, leaf.NotAfter); err != nil {
		t.Errorf("in its last second: %v", err)
	}
	wantError(t, certificate.Verify(key.Public(), ids, leaf.NotAfter.Add(time.Second)), nil, "expired at "+leaf.NotAfter.UTC().Format(time.RFC3339), "clock right?")
	wantError(t, certificate.Verify(key.Public(), ids, leaf.NotBefore.Add(-time.Hour)), nil, "clock")
	// What no clock can mend is said first.
	wantError(t, certificate.Verify(key.Public(), identifiers(t, "www.example.com"), leaf.NotAfter.Add(time.Second)), nil, "does not name")
	wantError(t, certificate.Verify(nil, ids, now), nil, "another key")
	wantError(t, certificate.Verify(newKey(t).Public(), ids, now), nil, "another key")
}

func TestCertificatePEM(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		certificate, err := c.issue(t, t.Context(), acme.Request{})
		if err != nil {
			t.Fatal(err)
		}
		var chain [][]byte
		for block, rest := pem.Decode(certificate.PEM()); block != nil; block, rest = pem.Decode(rest) {
			chain = append(chain, block.Bytes)
		}
		if !slices.EqualFunc(chain, certificate.Chain, slices.Equal) || len(chain) != 2 {
			t.Errorf("PEM holds %d certificates, the chain has %d", len(chain), len(certificate.Chain))
		}
	})
}

// A signature by an RSA key of 400 KB takes minutes to verify, and no context ends that; this one is smaller.
func TestGetCertificateKeepsNoEnormousKeys(t *testing.T) {
	enormous := new(big.Int).Lsh(big.NewInt(1), 100_000)
	enormous.Add(enormous, big.NewInt(1))
	root := newIssuer(t, nil)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	parent := root.sign(t, template, &rsa.PublicKey{N: enormous, E: 1<<31 - 1})
	chain := chainPEM(&x509.Certificate{Raw: resigned(t, root.sign(t, leafTemplate(), newKey(t).Public()), enormous)}, parent)
	if len(chain) > 1<<20 {
		t.Fatalf("the chain has %d bytes, more than an answer may have", len(chain))
	}
	certificate, err := download(t, chain)
	if err != nil {
		t.Fatal(err)
	}
	if len(certificate.Chain) != 1 || len(certificate.Warnings) != 1 || !strings.Contains(certificate.Warnings[0], "RSA key of 100001 bits") {
		t.Errorf("a chain of %d, warnings %q", len(certificate.Chain), certificate.Warnings)
	}
	_, err = download(t, chainPEM(parent))
	wantError(t, err, nil, "RSA key of 100001 bits")
}

// resigned returns the certificate with a signature of RSA that has as many bytes as the modulus.
func resigned(t *testing.T, c *x509.Certificate, modulus *big.Int) []byte {
	t.Helper()
	var parts struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.Raw, &parts); err != nil {
		t.Fatal(err)
	}
	sha256WithRSA := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}
	was, err := asn1.Marshal(parts.Algorithm)
	if err != nil {
		t.Fatal(err)
	}
	is, err := asn1.Marshal(sha256WithRSA)
	if err != nil {
		t.Fatal(err)
	}
	parts.TBS = asn1.RawValue{Class: parts.TBS.Class, Tag: parts.TBS.Tag, IsCompound: true, Bytes: bytes.Replace(parts.TBS.Bytes, was, is, 1)}
	parts.Algorithm = sha256WithRSA
	size := (modulus.BitLen() + 7) / 8
	parts.Signature = asn1.BitString{Bytes: make([]byte, size), BitLength: size * 8}
	parts.Signature.Bytes[size-1] = 2
	der, err := asn1.Marshal(parts)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestCertificateOfALostOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		c.intercept = func(r *http.Request, next http.RoundTripper) (*http.Response, error) {
			if resourceOf(r) == "certificate" {
				return response(r, http.StatusNotFound, problem("malformed", "no such certificate")), nil
			}
			return next.RoundTrip(r)
		}
		r := c.crash(t, acme.Request{Key: newKey(t)}, acme.ActionDownload)
		var failed *acme.OrderError
		for _, since := range []time.Duration{0, 23 * time.Hour, 25 * time.Hour} {
			r.FinalizedAt = time.Now().Add(-since)
			_, err := c.issue(t, t.Context(), r)
			wantError(t, err, acme.ErrMalformed, "no such certificate")
			if errors.As(err, &failed) != (since > 24*time.Hour) {
				t.Errorf("%v after it was finalized: error %v", since, err)
			}
		}
		if len(c.Orders()) != 1 {
			t.Errorf("%d orders", len(c.Orders()))
		}
		if _, err := c.client.GetCertificate(context.WithoutCancel(t.Context()), c.URL); err == nil {
			t.Error("a directory was taken for a certificate")
		}
	})
}

// What x509 says of a certificate that it can't parse may have as much text as the certificate.
func TestOddCertificatesMakeBoundedErrors(t *testing.T) {
	root := newIssuer(t, nil)
	long := "x:" + strings.Repeat("y", 600_000)
	template := leafTemplate()
	template.URIs = []*url.URL{{Scheme: "x", Opaque: long[2:]}}
	der := root.sign(t, template, newKey(t).Public()).Raw
	for _, odd := range []string{":\x1b[31m" + long[5:], "x:\x7f" + long[3:], "//[" + long[3:], "x:/%zz" + long[6:]} {
		s := newStage(t)
		raw := bytes.Replace(der, []byte(long), []byte(odd[:len(long)]), 1)
		s.fake["/certificate"] = answer(200, chainPEM(&x509.Certificate{Raw: raw}, root.certificate))
		_, err := s.client().GetCertificate(t.Context(), fakeOrigin+"/certificate")
		wantError(t, err, nil, "certificate 1 of the chain")
		wantPrintable(t, err.Error())
	}
}
