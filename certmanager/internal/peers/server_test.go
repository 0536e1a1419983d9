package peers

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A server is what a user of the library writes: an HTTPS server with a manager, and a plain one beside.
type server struct {
	*certmanager.Manager
	ca      *pebble
	address string // of the HTTPS server
	events  *events
	stop    func() // ends the manager and the servers, and waits for that
}

// startServer starts a server to which the CA's ports lead. What config leaves out of storage and CA is filled in.
func startServer(t *testing.T, p *pebble, config certmanager.Config) *server {
	t.Helper()
	return startServerOn(t, listen(t), p, config)
}

func startServerOn(t *testing.T, secure net.Listener, p *pebble, config certmanager.Config) *server {
	t.Helper()
	s := &server{ca: p, events: newEvents()}
	if len(config.Issuers) == 0 {
		config.Issuers, config.AgreeToTerms = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: p.directory, HTTPClient: p.client()}}, true
	}
	if config.Storage == nil {
		config.Storage = new(storage.Memory)
	}
	if config.Vantage.DNS == nil {
		config.Preflight = certmanager.PreflightOff // the names are in no DNS but the CA's
	}
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	config.OnEvent = s.events.add
	var err error
	if s.Manager, err = certmanager.New(config); err != nil {
		t.Fatal(err)
	}
	plain := listen(t)
	s.address = secure.Addr().String()
	webs := []*web{
		startWeb(t, s.Listener(secure), http.HandlerFunc(page)),
		startWeb(t, plain, s.HTTPHandler(nil)),
	}
	p.tls.lead(s.address)
	p.http.lead(plain.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		for _, w := range webs {
			w.stop(t)
		}
	})
	t.Cleanup(s.stop)
	return s
}

const greeting = "served by the manager's certificate\n"

func page(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, greeting) }

// served returns the certificate with which the server answers a client that wants name and trusts the CA alone.
func (s *server) served(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	certificate, err := handshake(within(t), s.ca, s.address, name)
	if err != nil {
		t.Fatalf("handshake for %s: %v", name, err)
	}
	return certificate
}

// handshake calls a server by name and returns its certificate, verified.
func handshake(ctx context.Context, p *pebble, address, name string) (*x509.Certificate, error) {
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: p.roots(), ServerName: name}}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// serial returns the serial number as events and statuses have it.
func serial(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// settled returns how the certificate that covers name stands, once no attempt is under way: a manager may tell of an
// event before its Status shows it.
func (s *server) settled(t *testing.T, name string) certmanager.Status {
	t.Helper()
	var last certmanager.Status
	for ctx := within(t); ctx.Err() == nil; runtime.Gosched() {
		last, _ = s.Status(name)
		if last.State != certmanager.StateObtaining && last.State != certmanager.StateRenewing && last.State != "" {
			return last
		}
	}
	t.Fatalf("the status of %s does not settle within %v: %+v", name, patience, last)
	return last
}

// events are those that a manager has told of.
type events struct {
	mu   sync.Mutex
	all  []certmanager.Event
	more chan struct{} // closed with the next one
}

func newEvents() *events { return &events{more: make(chan struct{})} }

func (e *events) add(event certmanager.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, event)
	close(e.more)
	e.more = make(chan struct{})
}

// of returns the events of a kind that concern name, and a channel that is closed with the next event.
func (e *events) of(kind certmanager.EventKind, name string) (found []certmanager.Event, more <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.all {
		if event.Kind == kind && slices.Contains(event.Names, name) {
			found = append(found, event)
		}
	}
	return found, e.more
}

// wait returns the first event of the kind that concerns name, once there is one.
func (e *events) wait(t *testing.T, kind certmanager.EventKind, name string) certmanager.Event {
	t.Helper()
	return e.waitFor(t, kind, name, 1)[0]
}

// waitFor returns the events of the kind that concern name, once there are n.
func (e *events) waitFor(t *testing.T, kind certmanager.EventKind, name string, n int) []certmanager.Event {
	t.Helper()
	timeout := time.After(patience)
	for {
		found, more := e.of(kind, name)
		if len(found) >= n {
			return found
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("%d events %q for %s within %v, want %d", len(found), kind, name, patience, n)
		}
	}
}
