package migrate_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A world is a CA in memory, an account there that another tool has made, and the certificates that it has obtained.
type world struct {
	t          testing.TB
	ca         *acmetest.Server
	account    *acme.Client
	accountKey crypto.Signer
	store      storage.Store

	mu       sync.Mutex
	accounts int // that the CA was seen to make or change
}

func newWorld(t testing.TB) *world {
	t.Helper()
	return newWorldWith(t, ecdsaKey(t))
}

// newWorldWith returns a world whose account has the key.
func newWorldWith(t testing.TB, accountKey crypto.Signer) *world {
	t.Helper()
	w := &world{t: t, ca: acmetest.NewUnstartedServer(), store: new(storage.Memory), accountKey: accountKey}
	w.ca.OnAccount = func(acmetest.Account) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.accounts++
	}
	w.ca.StartInMemory()
	t.Cleanup(w.ca.Close)
	w.account = &acme.Client{DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client(), Key: accountKey}
	registered, err := w.account.Register(t.Context(), acme.Registration{AgreeToTerms: true})
	if err != nil {
		t.Fatal(err)
	}
	w.account.AccountURL = registered.URL
	return w
}

// seenAccounts returns how often the CA has made or changed an account.
func (w *world) seenAccounts() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.accounts
}

// requests returns how many the CA has had.
func (w *world) requests() (n int) {
	for _, count := range w.ca.Requests() {
		n += count
	}
	return n
}

// A pair is a certificate, with its chain, and its key.
type pair struct {
	names []string
	chain []byte // PEM
	key   crypto.Signer
}

// leafPEM and abovePEM are the two parts of the chain.
func (p pair) leafPEM() []byte {
	block, _ := pem.Decode(p.chain)
	return pem.EncodeToMemory(block)
}

func (p pair) abovePEM() []byte {
	_, rest := pem.Decode(p.chain)
	return rest
}

func (p pair) leaf(t testing.TB) *x509.Certificate {
	block, _ := pem.Decode(p.chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return leaf
}

// obtain returns a certificate that the account has obtained.
func (w *world) obtain(names ...string) pair { return w.obtainWith(ecdsaKey(w.t), names...) }

func (w *world) obtainWith(key crypto.Signer, names ...string) pair {
	w.t.Helper()
	var ids []acme.Identifier
	for _, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			w.t.Fatal(err)
		}
		ids = append(ids, id)
	}
	issued, err := w.account.Issue(w.t.Context(), acme.Request{Identifiers: ids, Key: key, Solvers: []acme.Solver{&txt{ca: w.ca}}})
	if err != nil {
		w.t.Fatal(err)
	}
	p := pair{names: names, key: key}
	for _, der := range issued.Chain {
		p.chain = append(p.chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	return p
}

// obtainAll returns certificates of the sets of names, each of which has spaces between.
func (w *world) obtainAll(sets ...string) (all []pair) {
	for _, set := range sets {
		all = append(all, w.obtain(strings.Fields(set)...))
	}
	return all
}

// txt answers dns-01 in the CA's own table.
type txt struct {
	ca *acmetest.Server
	mu sync.Mutex
}

func (*txt) Type() string { return acme.TypeDNS01 }

func (s *txt) Present(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ca.SetTXT(strings.TrimSuffix(name, "."), value)
	return err
}

func (*txt) CleanUp(context.Context, acme.Proof) error { return nil }

// config returns that of a manager with the CA and the storage, which manages the sets of names.
func (w *world) config(sets ...string) certmanager.Config {
	c := certmanager.Config{
		Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client()}}, AgreeToTerms: true, Storage: w.store,
		Solvers: []acme.Solver{&txt{ca: w.ca}}, Preflight: certmanager.PreflightOff, RenewalInfoInterval: -1, Logger: slog.New(slog.DiscardHandler),
	}
	for _, set := range sets {
		c.Subjects = append(c.Subjects, certmanager.Subject{Names: strings.Fields(set)})
	}
	return c
}

func newManager(t testing.TB, config certmanager.Config) *certmanager.Manager {
	t.Helper()
	m, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run has a manager run, in a bubble, until the function that it returns is called.
func run(t testing.TB, m *certmanager.Manager) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	synctest.Wait() // until it runs
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// served returns what a client gets for the name.
func served(t testing.TB, m *certmanager.Manager, name string) *x509.Certificate {
	t.Helper()
	name = strings.Replace(name, "*", "any", 1)
	c, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13}, SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256}})
	if err != nil || c == nil {
		t.Errorf("%s: certificate %v, %v", name, c != nil, err)
		return nil
	}
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Certificate) != 2 {
		t.Errorf("%s: %d certificates in the chain", name, len(c.Certificate))
	}
	return leaf
}

func ecdsaKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// pkcs8 and oldKey return the key in PEM as tools write it: in PKCS #8, and in the form before.
func pkcs8(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func oldKey(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	if private, ok := key.(*rsa.PrivateKey); ok {
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	}
	der, err := x509.MarshalECPrivateKey(key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// write writes a file below the folder, and the folders that it is in.
func write(t testing.TB, folder, name string, data ...[]byte) {
	t.Helper()
	name = filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, bytes.Join(data, nil), 0o600); err != nil {
		t.Fatal(err)
	}
}

// link makes a symbolic link below the folder.
func link(t testing.TB, folder, name, target string) {
	t.Helper()
	name = filepath.Join(folder, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

// sets returns the names of the certificates, those of each with spaces between.
func sets(all []pair) (names []string) {
	for _, p := range all {
		names = append(names, strings.Join(p.names, " "))
	}
	return slices.Clip(names)
}
