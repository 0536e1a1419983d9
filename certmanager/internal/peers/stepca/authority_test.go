package stepca

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	stepacme "github.com/smallstep/certificates/acme"
	"github.com/smallstep/certificates/acme/api"
	acmedb "github.com/smallstep/certificates/acme/db/nosql"
	"github.com/smallstep/certificates/authority"
	"github.com/smallstep/certificates/authority/config"
	"github.com/smallstep/certificates/authority/provisioner"
	"github.com/smallstep/certificates/db"
	"github.com/smallstep/nosql"
)

// Tables of step-ca's database.
const (
	accounts     = "acme_accounts"
	orders       = "acme_orders"
	certificates = "acme_certs"
)

// An authorityServer is step-ca, the CA of one test.
type authorityServer struct {
	network
	directory   string // URL
	root        *x509.Certificate
	provisioner *provisioner.ACME
	accounts    stepacme.DB

	front    *httptest.Server
	database nosql.DB

	mu       sync.Mutex
	requests map[string]int // by resource
	watch    func(resource string, count int)
}

// start starts step-ca with a provisioner that the settings, if any, have changed.
func start(t *testing.T, settings ...func(*provisioner.ACME)) *authorityServer {
	t.Helper()
	p := &provisioner.ACME{Type: "ACME", Name: "test", ID: "test"}
	for _, change := range settings {
		change(p)
	}
	s := &authorityServer{provisioner: p, requests: make(map[string]int), front: httptest.NewUnstartedServer(nil)}
	ctx := s.open(t)
	router := chi.NewRouter()
	router.Route("/acme", func(r chi.Router) { api.Route(r) })
	s.front.Config.Handler = s.count(router)
	s.front.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.front.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.front.EnableHTTP2 = true
	s.front.StartTLS()
	t.Cleanup(func() {
		s.front.CloseClientConnections()
		s.front.Close()
	})
	s.directory = s.front.URL + "/acme/" + p.Name + "/directory"
	return s
}

// open makes the CA's keys and database, and returns the context that its handlers need.
func (s *authorityServer) open(t *testing.T) context.Context {
	t.Helper()
	root, rootKey := newIssuer(t, "root of a test", nil, nil)
	intermediate, key := newIssuer(t, "intermediate of a test", root, rootKey)
	s.root = root
	store, err := db.New(&db.Config{Type: nosql.BBoltDriver, DataSource: filepath.Join(t.TempDir(), "stepca.db")})
	if err != nil {
		t.Fatal(err)
	}
	s.database = store.(nosql.DB)
	if s.accounts, err = acmedb.New(s.database); err != nil {
		t.Fatal(err)
	}
	settings := &config.Config{
		DB: new(db.Config),
		AuthorityConfig: &config.AuthConfig{
			Provisioners: provisioner.List{s.provisioner},
			Backdate:     new(provisioner.Duration), // a certificate's lifetime is the one that was asked for
		},
	}
	ca, err := authority.NewEmbedded(authority.WithConfig(settings), authority.WithDatabase(store), authority.WithQuietInit(),
		authority.WithX509RootCerts(root), authority.WithX509Signer(intermediate, key))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ca.Shutdown(); err != nil {
			t.Errorf("step-ca: %v", err)
		}
	})
	ctx := db.NewContext(authority.NewContext(context.WithoutCancel(t.Context()), ca), store)
	linker := stepacme.NewLinker(s.front.Listener.Addr().String(), "acme")
	return stepacme.NewContext(ctx, s.accounts, &s.network, linker, nil)
}

// newIssuer returns the certificate and key of a CA, below a parent or, with nil, of a root.
func newIssuer(t *testing.T, name string, parent *x509.Certificate, parentKey crypto.Signer) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	if parent == nil {
		parent, parentKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), parentKey)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate, key
}

// client returns an HTTP client that trusts the server that the CA runs on.
func (s *authorityServer) client() *http.Client { return s.front.Client() }

// roots are those to trust in its certificates.
func (s *authorityServer) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.root)
	return pool
}

// count has every request counted by the resource that it is for, as the URL has it: "new-order", "order", "authz",
// "challenge", "certificate" and so on.
func (s *authorityServer) count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resource := resourceOf(r.URL.Path)
		s.mu.Lock()
		s.requests[resource]++
		count, watch := s.requests[resource], s.watch
		s.mu.Unlock()
		next.ServeHTTP(w, r)
		if watch != nil {
			watch(resource, count)
		}
	})
}

// resourceOf returns "order" for /acme/test/order/id and "finalize" for /acme/test/order/id/finalize. Only the path of
// a challenge ends in two ids.
func resourceOf(path string) string {
	parts := strings.Split(path, "/")
	switch {
	case len(parts) == 6 && parts[3] != "challenge":
		return parts[5]
	case len(parts) > 3:
		return parts[3]
	}
	return path
}

// asked returns how many requests were made for the resource.
func (s *authorityServer) asked(resource string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[resource]
}

// onRequest has f called after each request with its resource and how many there have been for that.
func (s *authorityServer) onRequest(f func(resource string, count int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watch = f
}

// made returns how many entries a table of the CA's database has.
func (s *authorityServer) made(t *testing.T, table string) int {
	t.Helper()
	entries, err := s.database.List([]byte(table))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// wants fails the test if the CA has made other numbers of orders and certificates.
func (s *authorityServer) wants(t *testing.T, wantOrders, wantCertificates int) {
	t.Helper()
	if n := s.made(t, orders); n != wantOrders {
		t.Errorf("the CA has %d orders, want %d", n, wantOrders)
	}
	if n := s.made(t, certificates); n != wantCertificates {
		t.Errorf("the CA has issued %d certificates, want %d", n, wantCertificates)
	}
}
