package acme_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
)

// download has a fake CA answer with the text for a certificate.
func download(t *testing.T, text string) (*acme.Certificate, error) {
	t.Helper()
	client := fake{"/certificate": answer(200, text)}.client(t)
	return client.GetCertificate(t.Context(), fakeOrigin+"/certificate")
}

// wantChainOf checks that the answer's chain is of the certificates, and that there is a warning for each of
// the words, in any order, and no other.
func wantChainOf(t *testing.T, text string, chain []*x509.Certificate, words ...string) {
	t.Helper()
	got, err := download(t, text)
	if err != nil {
		t.Fatal(err)
	}
	want := make([][]byte, len(chain))
	for i, c := range chain {
		want[i] = c.Raw
	}
	if !slices.EqualFunc(got.Chain, want, bytes.Equal) || !got.Leaf.Equal(chain[0]) {
		t.Errorf("the chain has %d certificates, or others than the %d wanted; warnings %q", len(got.Chain), len(want), got.Warnings)
	}
	left := slices.Clone(got.Warnings)
	for _, word := range words {
		i := slices.IndexFunc(left, func(warning string) bool { return strings.Contains(warning, word) })
		if i < 0 {
			t.Errorf("no warning says %q: %q", word, got.Warnings)
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	for _, warning := range left {
		t.Errorf("unexpected warning %q", warning)
	}
	for _, warning := range got.Warnings {
		wantPrintable(t, warning)
	}
}

// below returns an issuer of the name, signed by parent as the template says after change.
func below(t *testing.T, parent *issuer, name string, change func(*x509.Certificate)) *issuer {
	t.Helper()
	i := &issuer{key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	change(template)
	i.certificate = parent.sign(t, template, i.key.Public())
	return i
}

// as returns the certificate that another issuer signs for the same name and key.
func (i *issuer) as(t *testing.T, parent *issuer) *x509.Certificate {
	t.Helper()
	template := *i.certificate
	template.SignatureAlgorithm, template.AuthorityKeyId = x509.UnknownSignatureAlgorithm, nil
	return parent.sign(t, &template, i.key.Public())
}

func TestChainIsThePathFromTheLeaf(t *testing.T) {
	root, otherRoot := newIssuer(t, nil), newIssuer(t, nil)
	upper := newIssuer(t, root)
	lower := newIssuer(t, upper)
	leaf := lower.sign(t, leafTemplate(), newKey(t).Public())
	namesake := below(t, otherRoot, lower.certificate.Subject.CommonName, func(*x509.Certificate) {})
	crossed := root.as(t, otherRoot) // the root's name and key, vouched for by another
	path := []*x509.Certificate{leaf, lower.certificate, upper.certificate}
	whole := append(slices.Clone(path), root.certificate)
	for _, test := range []struct {
		name     string
		answer   []*x509.Certificate
		chain    []*x509.Certificate
		warnings []string
	}{
		{"as it should be", path, path, nil},
		{"with its root", whole, whole, nil},
		{"an unrelated root after it", append(slices.Clone(path), otherRoot.certificate), path, []string{"certificate 4"}},
		{"an unrelated root in it", slices.Insert(slices.Clone(path), 1, otherRoot.certificate), path, []string{"certificate 2"}},
		{"a wrong intermediate", []*x509.Certificate{leaf, namesake.certificate}, path[:1], []string{"certificate 2"}},
		{"a namesake before the right one", slices.Insert(slices.Clone(path), 1, namesake.certificate), path, []string{"certificate 2"}},
		{"the leaf twice", slices.Insert(slices.Clone(path), 1, leaf), path, []string{"certificate 2"}},
		{"all of it twice", append(slices.Clone(whole), whole...), whole, []string{"certificate 5", "certificate 6", "certificate 7", "certificate 8"}},
		{"out of order", []*x509.Certificate{leaf, root.certificate, upper.certificate, lower.certificate}, whole, nil},
		{"a gap", []*x509.Certificate{leaf, upper.certificate, root.certificate}, path[:1], []string{"certificate 2", "certificate 3"}},
		{"another leaf after it", append(slices.Clone(path), lower.sign(t, leafTemplate(), newKey(t).Public())), path, []string{"certificate 4"}},
		{"a root that another vouches for", append(slices.Clone(whole), crossed, otherRoot.certificate),
			append(slices.Clone(path), crossed, otherRoot.certificate), []string{"certificate 4"}},
		{"alone", path[:1], path[:1], nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			wantChainOf(t, chainPEM(test.answer...), test.chain, test.warnings...)
		})
	}
}

// Whether an intermediate is good enough is for those to judge who trust its root.
func TestChainLeavesTheIntermediateToClients(t *testing.T) {
	root := newIssuer(t, nil)
	for name, change := range map[string]func(*x509.Certificate){
		"has ended":                    func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) },
		"has not begun":                func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Hour) },
		"is signed with SHA-1":         func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA1 },
		"is no CA":                     func(c *x509.Certificate) { c.IsCA = false },
		"lacks basicConstraints":       func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false },
		"may not sign certificates":    func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature },
		"is for clients":               func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"may have no other name below": func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.org"} },
		"has an unknown extension": func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			intermediate := below(t, root, "intermediate", change)
			chain := []*x509.Certificate{intermediate.sign(t, leafTemplate(), newKey(t).Public()), intermediate.certificate, root.certificate}
			wantChainOf(t, chainPEM(chain...), chain)
		})
	}
}

// A signature of a kind that can't be verified here may be good for clients: names and key identifiers tell
// who made it.
func TestChainOfUnknownSignatures(t *testing.T) {
	root := newIssuer(t, nil)
	intermediate := below(t, root, "intermediate", func(*x509.Certificate) {})
	namesake := below(t, root, "intermediate", func(*x509.Certificate) {})
	der := intermediate.sign(t, leafTemplate(), newKey(t).Public()).Raw
	withSHA256 := []byte{0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02}
	unknown := append(slices.Clone(withSHA256[:7]), 0x77)
	leaf, err := x509.ParseCertificate(bytes.ReplaceAll(der, withSHA256, unknown))
	if err != nil {
		t.Fatal(err)
	}
	chain := []*x509.Certificate{leaf, intermediate.certificate, root.certificate}
	wantChainOf(t, chainPEM(leaf, namesake.certificate, intermediate.certificate, root.certificate), chain, "certificate 2")
}

func TestChainLeavesOutTheUnreadable(t *testing.T) {
	root := newIssuer(t, nil)
	leaf := root.sign(t, leafTemplate(), newKey(t).Public())
	chain := []*x509.Certificate{leaf, root.certificate}
	garbage := "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	wantChainOf(t, chainPEM(leaf)+garbage+chainPEM(root.certificate), chain, "certificate 2")
	wantChainOf(t, chainPEM(leaf)+strings.ReplaceAll(garbage, "AAAA", "!")+chainPEM(root.certificate), chain, "certificate 2")
	key := "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
	wantChainOf(t, key+chainPEM(leaf)+key+chainPEM(root.certificate), chain, "2 blocks")
}

// An odd chain takes nothing from the certificate: it is issued, and what was odd can be logged.
func TestIssueWithAnOddChain(t *testing.T) {
	inBubble(t, func(t *testing.T, c *ca) {
		key, root := newKey(t), newIssuer(t, nil)
		leaf := root.sign(t, leafTemplate(), key.Public())
		c.replaceCertificate(chainPEM(leaf, newIssuer(t, nil).certificate, root.certificate))
		certificate, err := c.issue(t, t.Context(), acme.Request{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		if len(certificate.Chain) != 2 || len(certificate.Warnings) != 1 {
			t.Errorf("a chain of %d, warnings %q", len(certificate.Chain), certificate.Warnings)
		}
	})
}
