package peers

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"golang.org/x/crypto/acme/autocert"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// An authority signs certificates in this process. It is an issuer for everseal; the other libraries are given what it
// signed.
type authority struct {
	key         *ecdsa.PrivateKey
	certificate *x509.Certificate
}

func newAuthority(b *testing.B) *authority {
	b.Helper()
	key := newKey(b)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a benchmark"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	return &authority{key, certificate}
}

// sign returns a chain of two, leaf first.
func (a *authority) sign(name string, public crypto.PublicKey) ([][]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, a.certificate, public, a.key)
	return [][]byte{leaf, a.certificate.Raw}, err
}

// ID names the authority as an issuer.
func (a *authority) ID() string { return "benchmark" }

// Issue signs at once.
func (a *authority) Issue(_ context.Context, r certmanager.Request) (*acme.Certificate, error) {
	chain, err := a.sign(r.Identifiers[0].Value, r.Key.Public())
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(chain[0])
	return &acme.Certificate{Chain: chain, Leaf: leaf}, err
}

// loadEverseal has a manager obtain the certificates.
func loadEverseal(b *testing.B, names []string) getCertificate {
	b.Helper()
	var obtained atomic.Int64
	all := make(chan struct{})
	m, err := certmanager.New(certmanager.Config{
		Names:   names,
		Issuers: []certmanager.Issuer{newAuthority(b)},
		Storage: new(storage.Memory),
		Logger:  slog.New(slog.DiscardHandler),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained && obtained.Add(1) == int64(len(names)) {
				close(all)
			}
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	select {
	case <-all:
	case <-time.After(5 * time.Minute):
		b.Fatalf("%d of %d certificates within 5 minutes", obtained.Load(), len(names))
	}
	return m.GetCertificate
}

// loadCertMagic puts the certificates into the cache of a configuration.
func loadCertMagic(b *testing.B, names []string) getCertificate {
	b.Helper()
	a, key := newAuthority(b), newKey(b)
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
		Logger:           zap.NewNop(),
	})
	b.Cleanup(cache.Stop)
	config = certmagic.New(cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: b.TempDir()},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true},
		Logger:  zap.NewNop(),
	})
	for _, name := range names {
		chain, err := a.sign(name, key.Public())
		if err != nil {
			b.Fatal(err)
		}
		certificate := tls.Certificate{Certificate: chain, PrivateKey: key}
		if _, err := config.CacheUnmanagedTLSCertificate(b.Context(), certificate, nil); err != nil {
			b.Fatal(err)
		}
	}
	return config.GetCertificate
}

// A signingCache gives autocert a certificate for whatever name it asks for.
type signingCache struct {
	*authority
	key *ecdsa.PrivateKey
}

// Get returns a key and a certificate for the name, in PEM.
func (c signingCache) Get(_ context.Context, name string) ([]byte, error) {
	chain, err := c.sign(name, c.key.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	blocks := []*pem.Block{{Type: "EC PRIVATE KEY", Bytes: der}}
	for _, certificate := range chain {
		blocks = append(blocks, &pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	}
	for _, block := range blocks {
		if err := pem.Encode(&text, block); err != nil {
			return nil, err
		}
	}
	return text.Bytes(), nil
}

// Put is not called: nothing is renewed.
func (c signingCache) Put(context.Context, string, []byte) error { return nil }

// Delete is not called either.
func (c signingCache) Delete(context.Context, string) error { return nil }

// loadAutocert has a manager load the certificates from its cache.
func loadAutocert(b *testing.B, names []string) getCertificate {
	b.Helper()
	known := slices.Sorted(slices.Values(names))
	m := &autocert.Manager{
		Prompt: autocert.AcceptTOS,
		Cache:  signingCache{newAuthority(b), newKey(b)},
		HostPolicy: func(_ context.Context, name string) error {
			if _, ok := slices.BinarySearch(known, name); !ok {
				return errors.New("not one of ours")
			}
			return nil
		},
	}
	hello := realHello(b)
	for _, name := range names {
		hello.ServerName = name
		if _, err := m.GetCertificate(hello); err != nil {
			b.Fatal(err)
		}
	}
	return m.GetCertificate
}
