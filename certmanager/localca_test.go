package certmanager_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A localCA is an issuer that signs by itself, whatever it is asked for.
type localCA struct {
	id   string
	key  crypto.Signer
	root *x509.Certificate

	mu       sync.Mutex
	lifetime time.Duration
	err      error                             // fails Issue
	names    []acme.Identifier                 // signed for instead of those asked for, if set
	spoil    func(*acme.Certificate)           // changes what is issued
	work     func(r certmanager.Request) error // is done first
	issued   int
}

func newLocalCA(t testing.TB, id string) *localCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: id}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &localCA{id: id, key: key, root: root, lifetime: 90 * 24 * time.Hour}
}

func (ca *localCA) ID() string { return ca.id }

func (ca *localCA) Issue(_ context.Context, r certmanager.Request) (*acme.Certificate, error) {
	ca.mu.Lock()
	lifetime, err, names, spoil, work := ca.lifetime, ca.err, ca.names, ca.spoil, ca.work
	ca.mu.Unlock()
	if work != nil && err == nil {
		err = work(r)
	}
	if err != nil {
		return nil, err
	}
	if names == nil {
		names = r.Identifiers
	}
	certificate, err := ca.sign(names, r.Key.Public(), lifetime)
	if err == nil && spoil != nil {
		spoil(certificate)
	}
	return certificate, err
}

func (ca *localCA) sign(ids []acme.Identifier, key crypto.PublicKey, lifetime time.Duration) (*acme.Certificate, error) {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: serial, NotBefore: time.Now(), NotAfter: time.Now().Add(lifetime), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, id := range ids {
		if addr, err := netip.ParseAddr(id.Value); err == nil {
			template.IPAddresses = append(template.IPAddresses, addr.AsSlice())
		} else {
			template.DNSNames = append(template.DNSNames, id.Value)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.root, key, ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	ca.mu.Lock()
	ca.issued++
	ca.mu.Unlock()
	return &acme.Certificate{Chain: [][]byte{der, ca.root.Raw}, Leaf: leaf}, nil
}

// change sets what Issue does from now on.
func (ca *localCA) change(f func(ca *localCA)) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	f(ca)
}

func (ca *localCA) count() int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.issued
}

var errClosed = errors.New("the registration authority is closed")
