package sql

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// A marked store tells which processes of this machine are dead, as a storage.Dir does: who comes after one that was killed
// need not wait for the terms of its leases.
type marked struct {
	storage.Store
	storage.Owners
}

func (m marked) Unwrap() storage.Store { return m.Store }

// A trial is of processes that are killed while they obtain certificates, one process at a time. The CA's validations are
// answered by another server on the same storage, which lives: so no kill makes one fail. What the CA was asked for, and
// what is stored when a process is dead, tell whether the next one finishes what that had begun.
type trial struct {
	ca       *acmetest.Server
	target   target
	root     string             // a file with the CA's
	marks    string             // a folder that tells which processes are dead
	names    []string           // that the next process manages
	store    storage.Store      // of this process
	journals map[string]journal // by name, as they were found last

	mu       sync.Mutex
	orders   map[string]string // guarded by mu; the URL of an order by the paths of what belongs to it
	heeded   map[string]bool   // guarded by mu; by URL, the orders that the CA was asked about after their newOrder
	requests int               // guarded by mu; until moment is closed
	moment   chan struct{}     // guarded by mu
}

// A journal is what is stored of an issuance under way.
type journal struct {
	key   *ecdsa.PublicKey
	order string // its URL; empty: none
}

func newTrial(t *testing.T, d target, names ...string) *trial {
	t.Helper()
	if strings.HasPrefix(d.url, "postgres:") {
		d.url += "?pool_max_conns=2&sslmode=disable" // connections cost more than all else that such a process does
	}
	k := &trial{ca: acmetest.NewServer(), target: d, root: filepath.Join(t.TempDir(), "root.pem"), marks: t.TempDir(), names: names,
		journals: make(map[string]journal), orders: make(map[string]string), heeded: make(map[string]bool)}
	t.Cleanup(k.ca.Close)
	if err := os.WriteFile(k.root, k.ca.RootPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	s, end, err := openAny(t.Context(), k.arguments())
	if err != nil {
		t.Fatal(err)
	}
	k.store = s
	t.Cleanup(func() { _ = end() })
	address := k.answer(t)
	for _, name := range names {
		k.ca.SetHost(name, address)
	}
	k.hear()
	return k
}

// arguments returns those of a child that manages the names.
func (k *trial) arguments() []string {
	return []string{k.target.url, k.target.table, k.ca.URL, k.root, strings.Join(k.names, ","), k.marks}
}

// answer starts the server that answers validations, and returns its address.
func (k *trial) answer(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	answers := solver.TLSALPN01{Storage: k.store}
	config := &tls.Config{GetCertificate: answers.GetCertificate, NextProtos: []string{solver.ALPNProto}}
	front := http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	go front.Serve(tls.NewListener(listener, config))
	t.Cleanup(func() { _ = front.Close() })
	return listener.Addr().String()
}

// hear has the trial know what comes to the CA, through faults if there are any.
func (k *trial) hear(faults ...acmetest.Fault) {
	k.ca.SetFaults(acmetest.All(faults...), k.hearRequest, acmetest.On("newOrder", acmetest.Edit(k.hearOrder)))
}

func (k *trial) hearRequest(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k.mu.Lock()
		if order, ok := k.orders[r.URL.Path]; ok {
			k.heeded[order] = true
		}
		if k.requests--; k.requests == 0 {
			close(k.moment)
		}
		k.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

func (k *trial) hearOrder(r *acmetest.Response) {
	order := r.Header.Get("Location")
	var made struct {
		Authorizations []string
		Finalize       string
	}
	_ = json.Unmarshal(r.Body, &made) // of a problem there is no order
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, resource := range append(made.Authorizations, made.Finalize, order) {
		k.orders[strings.TrimPrefix(resource, "https://"+hostOf(k.ca.URL))] = order
	}
}

func hostOf(url string) string {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "https://"), "/")
	return host
}

// after returns what is closed when the CA has had so many more requests.
func (k *trial) after(requests int) <-chan struct{} {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests, k.moment = requests, make(chan struct{})
	if requests == 0 {
		close(k.moment)
	}
	return k.moment
}

// examine looks at what a dead process has left. Of each order there is the key, and if the CA has heard more of it than
// its newOrder, its URL. What an earlier process had left is still there, or done.
func (k *trial) examine(t *testing.T) {
	t.Helper()
	left := k.left(t)
	done := make(map[string]bool)
	for key, err := range k.store.List(t.Context(), "certificates") {
		if err != nil {
			t.Fatal(err)
		}
		done[nameIn(key)] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range k.ca.Orders() {
		name := o.Names[0]
		switch j := left[name]; {
		case done[name], o.Status == "invalid":
		case j.key == nil:
			t.Errorf("%s: there is an order, and no key is stored", name)
		case k.heeded[o.URL] && j.order != o.URL:
			t.Errorf("%s: %s is at work, and the order %q is stored", name, o.URL, j.order)
		}
	}
	k.forgetRefused()
	for name, j := range left {
		old := k.journals[name]
		if old.key != nil && (j.key == nil || !j.key.Equal(old.key)) {
			t.Errorf("%s: another key is stored than before", name)
		}
		if old.order != "" && j.order != old.order {
			t.Errorf("%s: the order %q is stored, and %q was before", name, j.order, old.order)
		}
		k.journals[name] = j
	}
}

// forgetRefused forgets what was stored of orders that the CA has given up: where all is slow, it may wait in vain for the
// answer to its validation.
func (k *trial) forgetRefused() {
	for _, o := range k.ca.Orders() {
		if o.Status == "invalid" && k.journals[o.Names[0]].order == o.URL {
			delete(k.journals, o.Names[0])
		}
	}
}

// left returns the journals that are stored, by name.
func (k *trial) left(t *testing.T) map[string]journal {
	t.Helper()
	all := make(map[string]journal)
	for r, err := range storage.Scan(t.Context(), k.store, "work", "") {
		if err != nil {
			t.Fatal(err)
		}
		value, _, err := storage.LeaseValue(r.Value)
		if err != nil {
			t.Fatal(err)
		}
		var work struct {
			Journals map[string]struct {
				Key   string
				Notes struct{ OrderURL string }
			}
		}
		if err := json.Unmarshal(value, &work); err != nil && len(value) > 0 {
			t.Fatalf("%s: %v", r.Key, err)
		}
		for _, j := range work.Journals {
			all[nameIn(r.Key)] = journal{publicKey(t, j.Key), j.Notes.OrderURL}
		}
	}
	return all
}

// nameIn returns the name in the key of a record, which is its last part but one.
func nameIn(key string) string {
	parts := strings.Split(key, "/")
	return parts[max(len(parts)-2, 0)]
}

func publicKey(t *testing.T, text string) *ecdsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &key.(*ecdsa.PrivateKey).PublicKey
}

// finish has this process obtain what is left, and returns how many orders were lost: nobody had heard of them.
func (k *trial) finish(t *testing.T) (lost int) {
	t.Helper()
	config, err := managerConfig(k.store, k.arguments())
	if err != nil {
		t.Fatal(err)
	}
	config.OnEvent, config.Logger = nil, slog.New(slog.NewTextHandler(t.Output(), nil))
	m, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	defer running(t, m)()
	ctx, cancel := context.WithTimeout(t.Context(), 3*server.Patience)
	defer cancel()
	if err := m.Wait(ctx, k.names...); err != nil {
		t.Fatal(err)
	}
	k.forgetRefused()
	issued := make(map[string][]*x509.Certificate)
	for _, c := range k.ca.Certificates() {
		issued[nameOf(c)] = append(issued[nameOf(c)], c)
	}
	for _, name := range k.names {
		served, ok := m.Certificate(name)
		switch began := k.journals[name]; {
		case len(issued[name]) != 1:
			t.Errorf("%s: the CA has issued %d certificates", name, len(issued[name]))
		case !ok || !bytes.Equal(served.Certificate[0], issued[name][0].Raw):
			t.Errorf("%s: it is not served with the certificate that the CA has issued", name)
		case began.key != nil && !began.key.Equal(issued[name][0].PublicKey):
			t.Errorf("%s: the certificate is for another key than was stored", name)
		}
	}
	return k.finishedOrders(t)
}

// finishedOrders wants one order for each name to be finished, which is the one that was stored, and returns how many others there are.
func (k *trial) finishedOrders(t *testing.T) (lost int) {
	t.Helper()
	finished := make(map[string]int)
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range k.ca.Orders() {
		name := o.Names[0]
		began := k.journals[name].order
		switch {
		case o.Status == "valid" && (began == "" || began == o.URL):
			finished[name]++
		case o.Status == "valid":
			t.Errorf("%s: the order %s was finished, and %s was begun", name, o.URL, began)
		case o.Status == "invalid":
			t.Logf("%s: the CA has given up the order %s", name, o.URL)
		case k.heeded[o.URL]:
			t.Errorf("%s: the order %s was begun and left behind", name, o.URL)
		default:
			lost++
		}
	}
	for _, name := range k.names {
		if finished[name] != 1 {
			t.Errorf("%s: %d orders are finished", name, finished[name])
		}
	}
	return lost
}

// running runs a manager until end is called.
func running(t *testing.T, m *certmanager.Manager) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func manyNames(n int) (all []string) {
	for i := range n {
		all = append(all, fmt.Sprintf("site%d.example.com", i))
	}
	return all
}

func nameOf(c *x509.Certificate) string { return strings.Join(c.DNSNames, " ") }

// dawdling delays each request that has a body, so that what is cut short is at different steps.
func dawdling(most time.Duration) acmetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				select {
				case <-time.After(rand.N(most)):
				case <-r.Context().Done():
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}
