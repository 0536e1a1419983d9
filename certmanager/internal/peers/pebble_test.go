package peers

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/core"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// patience is how long a test waits for what has to happen. Only a failing test waits that long, which is less than the
// term of the manager's leases: one that a dead process left behind must not be waited for.
const patience = 45 * time.Second

// within returns a context for what has to happen.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// A pebble is a CA of one test: Pebble in strict mode, with the ports of the network in which it validates.
type pebble struct {
	directory string // URL
	http, tls *relay // where its ports 80 and 443 lead

	names      *resolver
	front      *httptest.Server
	management http.Handler
	database   *db.MemoryStore
	chains     *ca.CAImpl
	traffic    traffic
}

// pebbleSettings are in what one pebble differs from others. The zero value is the usual one.
type pebbleSettings struct {
	listener        net.Listener  // where to serve; nil: on a free port
	nameServer      string        // address of the DNS server to ask, by TCP; empty: that of pebble.names
	badNonces       int           // good nonces refused as bad ones, in percent
	reuse           int           // valid authorizations that new orders take over, in percent, and one more
	externalAccount bool          // accounts are made only with an external one
	lifetime        time.Duration // of certificates; zero: 90 days
	alternates      int           // roots beside the first, each with a chain of its own
	profiles        []string      // kinds of certificate beside the usual one
	retryAfter      int           // seconds until the next poll that authorizations and orders ask for; zero: they do not
}

func startPebble(t testing.TB, s pebbleSettings) *pebble {
	t.Helper()
	p := &pebble{http: startRelay(t), tls: startRelay(t), names: startResolver(t), database: db.NewMemoryStore()}
	// Read by va.New and wfe.New alone.
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", strconv.Itoa(s.badNonces))
	t.Setenv("PEBBLE_AUTHZREUSE", strconv.Itoa(s.reuse))
	t.Setenv("PEBBLE_WFE_ORDERS_PER_PAGE", "2")
	logger := log.New(io.Discard, "", 0)
	profiles := map[string]ca.Profile{"default": {Description: "the only one", ValidityPeriod: uint64(s.lifetime / time.Second)}}
	for _, name := range s.profiles {
		profiles[name] = ca.Profile{Description: name, ValidityPeriod: uint64(s.lifetime / time.Second)}
	}
	const strict = true
	p.chains = ca.New(logger, p.database, "", "ecdsa", s.alternates, 1, profiles)
	validation := va.New(logger, p.http.port(), p.tls.port(), strict, cmp.Or(s.nameServer, p.names.Addr().String()), p.database)
	frontEnd := wfe.New(logger, p.database, validation, p.chains, []string{"pebble.test"}, strict, s.externalAccount, s.retryAfter, s.retryAfter)
	p.management = frontEnd.ManagementHandler()
	p.front = httptest.NewUnstartedServer(p.traffic.watch(newApart(frontEnd.Handler())))
	p.front.Config.ErrorLog = logger
	if s.listener != nil {
		_ = p.front.Listener.Close()
		p.front.Listener = s.listener
	}
	p.front.EnableHTTP2 = true // as the program pebble has it
	p.front.StartTLS()
	t.Cleanup(func() {
		p.front.CloseClientConnections()
		p.front.Close()
	})
	p.directory = p.front.URL + wfe.DirectoryPath
	return p
}

// newApart has Pebble make an order or an account only while it does nothing else. For an order it looks through all
// authorizations, under a lock for which who reads or changes one of them waits with that one locked. An account is
// changed when it is there for others already, such as for another machine that has the same key.
func newApart(pebble http.Handler) http.Handler {
	var apart sync.RWMutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/order-plz", "/sign-me-up":
			apart.Lock()
			defer apart.Unlock()
		default:
			apart.RLock()
			defer apart.RUnlock()
		}
		pebble.ServeHTTP(w, r)
	})
}

// client returns an HTTP client that trusts the server that Pebble runs on.
func (p *pebble) client() *http.Client { return p.front.Client() }

// roots are those to trust in its certificates.
func (p *pebble) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	for i := range p.chains.GetNumberOfRootCerts() {
		pool.AddCert(p.chains.GetRootCert(i).Cert)
	}
	return pool
}

// orders returns how many orders were made.
func (p *pebble) orders() int {
	n := 0
	for _, id := range p.traffic.ids() {
		if p.database.GetOrderByID(id) != nil {
			n++
		}
	}
	return n
}

// accounts returns how many accounts were made.
func (p *pebble) accounts() int {
	n := 0
	for _, id := range p.traffic.ids() {
		if p.database.GetAccountByID(id) != nil {
			n++
		}
	}
	return n
}

// certificates returns those issued for orders of which name is a name; all of them for an empty name.
func (p *pebble) certificates(name string) []*x509.Certificate {
	var issued []*x509.Certificate
	for _, id := range p.traffic.ids() {
		order := p.database.GetOrderByID(id)
		if order == nil {
			continue
		}
		certificate := certificateOf(order)
		if certificate != nil && (name == "" || slices.Contains(certificate.DNSNames, name)) {
			issued = append(issued, certificate)
		}
	}
	return issued
}

// waitReplaced waits until the CA has noted that the certificate has a successor, which is after it has issued that.
func (p *pebble) waitReplaced(ctx context.Context, t *testing.T, leaf *x509.Certificate) {
	t.Helper()
	order, err := p.database.GetOrderByIssuedSerial(hex.EncodeToString(leaf.SerialNumber.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	noted := func() bool {
		order.RLock()
		defer order.RUnlock()
		return order.IsReplaced
	}
	for !noted() {
		if ctx.Err() != nil {
			t.Fatal("the CA does not note that the certificate was replaced")
		}
		runtime.Gosched()
	}
}

func certificateOf(order *core.Order) *x509.Certificate {
	order.RLock()
	defer order.RUnlock()
	if order.CertificateObject == nil {
		return nil
	}
	return order.CertificateObject.Cert
}

// wants fails the test if the CA has made other numbers of orders and certificates.
func (p *pebble) wants(t *testing.T, orders, certificates int) {
	t.Helper()
	if n := p.orders(); n != orders {
		t.Errorf("the CA has %d orders, want %d", n, orders)
	}
	if n := len(p.certificates("")); n != certificates {
		t.Errorf("the CA has issued %d certificates, want %d", n, certificates)
	}
}

// A traffic is what a CA is asked and what it makes of that: each account and order has its URL in the answer 201 Created.
type traffic struct {
	mu        sync.Mutex
	made      []string // ids
	requests  int      // of any kind
	intercept func(request int, serve func())
}

func (f *traffic) ids() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.made)
}

func (f *traffic) total() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// divert has every request from now on pass through f, which may serve it or not, with its number, the first being 1.
func (f *traffic) divert(intercept func(request int, serve func())) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests, f.intercept = 0, intercept
}

func (f *traffic) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests++
		number, intercept := f.requests, f.intercept
		f.mu.Unlock()
		serve := func() { next.ServeHTTP(&answer{w, f}, r) }
		if intercept == nil {
			serve()
			return
		}
		intercept(number, serve)
	})
}

// An answer may tell of something made.
type answer struct {
	http.ResponseWriter
	traffic *traffic
}

// WriteHeader records the URL before the client can see it.
func (a *answer) WriteHeader(status int) {
	if location, err := url.Parse(a.Header().Get("Location")); status == http.StatusCreated && err == nil {
		a.traffic.mu.Lock()
		a.traffic.made = append(a.traffic.made, path.Base(location.Path))
		a.traffic.mu.Unlock()
	}
	a.ResponseWriter.WriteHeader(status)
}
