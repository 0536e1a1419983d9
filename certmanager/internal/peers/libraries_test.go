package peers

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
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
	key         *ecdsa.PrivateKey // also that of the certificates whose library makes none of its own
	certificate *x509.Certificate
	above       [][]byte // the certificates of those above it
}

// newAuthority returns one that nobody vouches for.
func newAuthority() (*authority, error) { return newAuthorityBelow(nil) }

// newAuthorityBelow returns one that another vouches for, if it is not nil.
func newAuthorityBelow(parent *authority) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of a benchmark"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a := &authority{key: key}
	issuer, signer := template, key
	if parent != nil {
		template.Subject.CommonName = "authority below another"
		issuer, signer = parent.certificate, parent.key
		a.above = append([][]byte{parent.certificate.Raw}, parent.above...)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	a.certificate, err = x509.ParseCertificate(der)
	return a, err
}

// sign returns a chain, leaf first: of two, if nobody is above the authority.
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
	return append([][]byte{leaf, a.certificate.Raw}, a.above...), err
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

// loadEverseal has a manager load the certificates from its storage.
func loadEverseal(ctx context.Context, names []string) (getCertificate, func(), error) {
	issuer, err := newAuthority()
	if err != nil {
		return nil, nil, err
	}
	store := &recordStore{authority: issuer}
	const first = "first.example.com"
	_, stop, err := runManager(ctx, issuer, &store.Memory, []string{first}, certmanager.EventObtained)
	if err != nil {
		return nil, nil, err
	}
	stop()
	if err := store.learn(ctx, first); err != nil {
		return nil, nil, err
	}
	m, stop, err := runManager(ctx, issuer, store, names, certmanager.EventLoaded)
	if err != nil {
		return nil, nil, err
	}
	return m.GetCertificate, stop, nil
}

// runManager runs a manager until stop is called. It returns once there was an event of the kind for each name.
func runManager(ctx context.Context, issuer *authority, store storage.Store, names []string, kind certmanager.EventKind) (*certmanager.Manager, func(), error) {
	seen := 0
	all := make(chan struct{})
	m, err := certmanager.New(certmanager.Config{
		Names:   names,
		Issuers: []certmanager.Issuer{issuer},
		Storage: store,
		Logger:  slog.New(slog.DiscardHandler),
		OnEvent: func(e certmanager.Event) {
			before := seen
			if seen += e.Missed; e.Kind == kind {
				seen++
			}
			if before < len(names) && seen >= len(names) {
				close(all)
			}
		},
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop := func() {
		cancel()
		<-ended
	}
	select {
	case <-all:
		return m, stop, nil
	case err := <-ended:
		cancel()
		return nil, nil, fmt.Errorf("Run ended: %w", err)
	}
}

// A recordStore has a record for the certificate of every name, made after one that a manager wrote: the same text with
// another name and another leaf. Obtaining a hundred thousand certificates takes minutes, loading them seconds.
type recordStore struct {
	storage.Memory
	*authority
	key    *ecdsa.PrivateKey // that of the record
	name   string            // its name
	record string            // with the leaf replaced by leafMark
}

const leafMark = "(leaf)"

// learn takes the record of a name as the model.
func (s *recordStore) learn(ctx context.Context, name string) error {
	for key, err := range s.List(ctx, "certificates") {
		if err != nil {
			return err
		}
		item, err := s.Memory.Load(ctx, key)
		if err != nil {
			return err
		}
		pair, err := tls.X509KeyPair(item.Value, item.Value)
		if err != nil {
			return err
		}
		s.name, s.key = name, pair.PrivateKey.(*ecdsa.PrivateKey)
		s.record = strings.Replace(string(item.Value), string(encodeCertificate(pair.Certificate[0])), leafMark, 1)
	}
	if !strings.Contains(s.record, leafMark) {
		return errors.New("no record with a leaf certificate was found")
	}
	return nil
}

// Load makes records of certificates, and has stored all others.
func (s *recordStore) Load(ctx context.Context, key string) (storage.Item, error) {
	rest, ok := strings.CutPrefix(key, "certificates/"+s.ID()+"/")
	if !ok {
		return s.Memory.Load(ctx, key)
	}
	name, _, _ := strings.Cut(rest, "/")
	chain, err := s.sign(name, s.key.Public())
	if err != nil {
		return storage.Item{}, err
	}
	text := strings.Replace(s.record, leafMark, string(encodeCertificate(chain[0])), 1)
	text = strings.ReplaceAll(text, s.name, name)
	return storage.Item{Value: []byte(text), Revision: "made"}, nil
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// loadCertMagic puts the certificates into the cache of a configuration.
func loadCertMagic(ctx context.Context, names []string) (getCertificate, func(), error) {
	a, err := newAuthority()
	if err != nil {
		return nil, nil, err
	}
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil },
		Logger:           zap.NewNop(),
	})
	config = certmagic.New(cache, certmagic.Config{
		OCSP:   certmagic.OCSPConfig{DisableStapling: true},
		Logger: zap.NewNop(),
	})
	for _, name := range names {
		chain, err := a.sign(name, a.key.Public())
		if err != nil {
			return nil, cache.Stop, err
		}
		certificate := tls.Certificate{Certificate: chain, PrivateKey: a.key}
		if _, err := config.CacheUnmanagedTLSCertificate(ctx, certificate, nil); err != nil {
			return nil, cache.Stop, err
		}
	}
	return config.GetCertificate, cache.Stop, nil
}

// A signingCache gives autocert a certificate for whatever name it asks for.
type signingCache struct{ *authority }

// Get returns a key and a certificate for the name, in PEM.
func (c signingCache) Get(_ context.Context, name string) ([]byte, error) {
	chain, err := c.sign(name, c.key.Public())
	if err != nil {
		return nil, err
	}
	key, err := x509.MarshalECPrivateKey(c.key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: key})
	for _, certificate := range chain {
		text = append(text, encodeCertificate(certificate)...)
	}
	return text, nil
}

// Put is not called: nothing is renewed.
func (c signingCache) Put(context.Context, string, []byte) error { return nil }

// Delete is not called either.
func (c signingCache) Delete(context.Context, string) error { return nil }

// loadAutocert has a manager load the certificates from its cache. It can't be stopped.
func loadAutocert(ctx context.Context, names []string) (getCertificate, func(), error) {
	a, err := newAuthority()
	if err != nil {
		return nil, nil, err
	}
	m := &autocert.Manager{
		Prompt:     autocert.AcceptTOS,
		Cache:      signingCache{a},
		HostPolicy: autocert.HostWhitelist(names...),
	}
	hello, err := realHello(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		hello.ServerName = name
		if _, err := m.GetCertificate(hello); err != nil {
			return nil, nil, err
		}
	}
	return m.GetCertificate, func() {}, nil
}
