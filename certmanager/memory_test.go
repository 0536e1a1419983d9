package certmanager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A pipeListener is a listener in memory.
type pipeListener struct {
	net.Listener
	network acmetest.Network
}

func newPipeListener() *pipeListener {
	l := new(pipeListener)
	var err error
	if l.Listener, err = l.network.Listen("tcp", "192.0.2.1:443"); err != nil {
		panic(err) // nobody else listens
	}
	return l
}

func (l *pipeListener) dial(ctx context.Context) (net.Conn, error) {
	return l.network.DialContext(ctx, "tcp", "192.0.2.1:443")
}

// pipeConn gives a pipe the address that was called.
type pipeConn struct {
	net.Conn
	addr net.Addr
}

func (c pipeConn) LocalAddr() net.Addr { return c.addr }

// A world is a CA and a storage in memory, and what the managers in it reported.
type world struct {
	t     *testing.T
	ca    *acmetest.Server
	zones zones
	store storage.Store

	mu       sync.Mutex
	listener *pipeListener // of the manager that serves
	events   []certmanager.Event
	woken    chan struct{} // closed and replaced with each event
}

func newWorld(t *testing.T, prepare ...func(*acmetest.Server)) *world {
	t.Helper()
	w := &world{t: t, ca: acmetest.NewUnstartedServer(), store: new(storage.Memory), woken: make(chan struct{})}
	w.ca.Dial = func(ctx context.Context, network, address string) (net.Conn, error) { return w.dial(ctx) }
	for _, p := range prepare {
		p(w.ca)
	}
	w.ca.StartInMemory()
	t.Cleanup(w.ca.Close)
	w.ca.SetHost("*", "192.0.2.1")
	return w
}

func (w *world) dial(ctx context.Context) (net.Conn, error) {
	w.mu.Lock()
	l := w.listener
	w.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	return l.dial(ctx)
}

// config returns a configuration for the world's CA and storage, which does not ask for renewal information: through simulated
// months that would be most of the work.
func (w *world) config(names ...string) certmanager.Config {
	return certmanager.Config{
		Names: names, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client()}}, AgreeToTerms: true, Storage: w.store,
		Logger: slog.New(slog.DiscardHandler), OnEvent: w.onEvent, RenewalInfoInterval: -1,
		Vantage: w.zones.vantage(func(ctx context.Context, _, _ string) (net.Conn, error) { return w.dial(ctx) }),
	}
}

// acmeOf returns the configuration's issuer that speaks ACME, to be changed.
func acmeOf(config certmanager.Config) *certmanager.ACME {
	return config.Issuers[0].(*certmanager.ACME)
}

func (w *world) onEvent(e certmanager.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
	close(w.woken)
	w.woken = make(chan struct{})
}

// await returns the n-th event of the kind for the name, from 1. In a bubble a manager goes on through
// the years: there it gives up after one.
func (w *world) await(kind certmanager.EventKind, name string, n int) certmanager.Event {
	w.t.Helper()
	limit := time.NewTimer(366 * 24 * time.Hour)
	defer limit.Stop()
	for {
		w.mu.Lock()
		seen, woken := 0, w.woken
		for _, e := range w.events {
			if e.Kind == kind && slices.Contains(e.Names, name) {
				if seen++; seen == n {
					w.mu.Unlock()
					return e
				}
			}
		}
		w.mu.Unlock()
		select {
		case <-woken:
		case <-limit.C:
			w.t.Fatalf("no event %s for %s within a year", kind, name)
		case <-w.t.Context().Done():
			w.t.Fatalf("no event %s for %s", kind, name)
		}
	}
}

// count returns how many events of the kind there were.
func (w *world) count(kind certmanager.EventKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, e := range w.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// start makes a manager and has it run and serve the world's listener until stop is called.
func (w *world) start(config certmanager.Config) (m *certmanager.Manager, stop func()) {
	w.t.Helper()
	m, err := certmanager.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	return m, w.run(m)
}

func (w *world) run(m *certmanager.Manager) (stop func()) {
	ended := make(chan struct{})
	err, wait := w.begin(m, ended)
	return sync.OnceFunc(func() {
		close(ended)
		wait()
		if *err != nil {
			w.t.Errorf("Run: %v", *err)
		}
	})
}

// runUntil is run for a manager whose process is to die, which ends it. What Run returns is lost then.
func (w *world) runUntil(m *certmanager.Manager, dead <-chan struct{}) (wait func()) {
	_, wait = w.begin(m, dead)
	return wait
}

// begin has the manager run and serve the world's listener until ended is closed. The error is what Run
// returned, once wait has returned.
func (w *world) begin(m *certmanager.Manager, ended <-chan struct{}) (err *error, wait func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	listener := newPipeListener()
	secure := m.Listener(listener)
	w.mu.Lock()
	w.listener = listener
	w.mu.Unlock()
	err = new(error)
	var group sync.WaitGroup
	group.Go(func() { *err = m.Run(ctx) })
	group.Go(func() { serveHandshakes(secure) })
	return err, sync.OnceFunc(func() {
		<-ended
		cancel()
		listener.Close()
		group.Wait()
	})
}

// serveHandshakes shakes hands with whoever connects, and hangs up.
func serveHandshakes(l net.Listener) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		group.Go(func() {
			defer conn.Close()
			if conn.(*tls.Conn).Handshake() == nil {
				// The client hangs up when it has seen the certificate.
				_, _ = conn.Read(make([]byte, 1))
			}
		})
	}
}

// handshake returns the certificate that a client is shown who asks for the name and trusts the CA.
func (w *world) handshake(ctx context.Context, name string) (*x509.Certificate, error) {
	conn, err := w.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: w.ca.Roots(), Time: time.Now})
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}
