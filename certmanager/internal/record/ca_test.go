package record_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// begin is when the certificates of the tests begin.
var begin = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A testCA signs for a subject, or for the next CA below it.
type testCA struct {
	parent *testCA // nil: a root
	parsed *x509.Certificate
	key    crypto.Signer
}

// newCA returns a CA below the parent, or a root, whose certificate is good for so many days.
func newCA(tb testing.TB, parent *testCA, name string, days int) *testCA {
	tb.Helper()
	c := &testCA{parent: parent, key: newKey(tb)}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(days)), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: begin.AddDate(0, 0, days),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer := parent
	if parent == nil {
		signer = &testCA{parsed: template, key: c.key}
	}
	c.parsed = signer.sign(tb, template, c.key.Public())
	return c
}

// newTestCA returns the last of two CAs and a root.
func newTestCA(tb testing.TB) *testCA {
	tb.Helper()
	return newCA(tb, newCA(tb, newCA(tb, nil, "Root", 7000), "Middle", 3000), "Issuing", 1000)
}

func (c *testCA) sign(tb testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, c.parsed, public, c.key)
	if err != nil {
		tb.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return parsed
}

// issue returns a certificate for the names that is good for 90 days, with all above it but the root.
func (c *testCA) issue(tb testing.TB, public crypto.PublicKey, names ...string) *acme.Certificate {
	tb.Helper()
	leaf := c.sign(tb, &x509.Certificate{
		SerialNumber: big.NewInt(0x0abc), NotBefore: begin, NotAfter: begin.AddDate(0, 0, 90), DNSNames: names,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, public)
	issued := &acme.Certificate{Leaf: leaf, Chain: [][]byte{leaf.Raw}}
	for above := c; above.parent != nil; above = above.parent {
		issued.Chain = append(issued.Chain, above.parsed.Raw)
	}
	return issued
}

// record returns the record of a certificate for the names.
func (c *testCA) record(tb testing.TB, key crypto.Signer, names ...string) *record.Certificate {
	tb.Helper()
	meta := record.Meta{Issuer: "ca.example.com-01234567", Names: names, KeyType: "ecdsa-p256",
		URL: "https://ca.example.com/certificate/0123456789", Obtained: begin.Add(time.Hour)}
	r, err := record.New(meta, record.Key{Signer: key}, c.issue(tb, key.Public(), names...), new(record.Intermediates))
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func newRSAKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// dns returns the identifiers of domain names.
func dns(names ...string) (all []acme.Identifier) {
	for _, name := range names {
		all = append(all, acme.Identifier{Type: acme.TypeDNS, Value: name})
	}
	return all
}

// encode returns the stored form.
func encode(tb testing.TB, r interface{ Encode() ([]byte, error) }) []byte {
	tb.Helper()
	value, err := r.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	return value
}

// shown returns all of a value that can be seen, with its keys by what they sign for: equal ones are of equal text.
func shown(value any) string {
	public := func(k record.Key) string {
		if k.Signer == nil {
			return k.Reference
		}
		return fmt.Sprintf("%s %v", k.Reference, k.Public())
	}
	switch v := value.(type) {
	case *record.Certificate:
		return fmt.Sprintf("%+v %s", *v, public(v.Key))
	case *record.Authority:
		text := fmt.Sprintf("%+v", v.AuthorityMeta)
		for _, part := range []record.SigningCertificate{v.Root, v.Intermediate} {
			text += fmt.Sprintf("\n%x %s", part.Certificate.Raw, public(part.Key))
		}
		return text
	case record.Account:
		return fmt.Sprintf("%+v %s %s", v, public(v.Key), public(v.NextKey))
	case record.TicketKeys:
		text := ""
		for _, key := range v {
			text += fmt.Sprintf("%x %v\n", key.Secret[:], key.From)
		}
		return text
	case record.Revocation:
		return fmt.Sprintf("%+v %s", v, public(v.Key))
	case record.Work:
		text := fmt.Sprintf("%d %+v", v.Attempts, v.Failure)
		for _, issuer := range slices.Sorted(maps.Keys(v.Journals)) {
			j := v.Journals[issuer]
			if j != nil && !j.IsZero() {
				text += fmt.Sprintf("\n%s: %+v %s", issuer, *j, public(j.Key))
			}
		}
		return text
	}
	return fmt.Sprintf("%+v", value)
}
