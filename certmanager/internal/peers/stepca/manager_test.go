package stepca

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smallstep/certificates/authority/provisioner"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A server is what a user of the library writes: an HTTPS server with a manager.
type server struct {
	*certmanager.Manager
	ca      *authorityServer
	address string // of the HTTPS server
	stop    func() // ends the manager and waits for that
	events  chan certmanager.Event
}

// startServer starts a server to which the CA's ports lead. What config leaves out of the storage is filled in.
func startServer(t *testing.T, ca *authorityServer, config certmanager.Config) *server {
	t.Helper()
	const mostEvents = 1000
	s := &server{ca: ca, events: make(chan certmanager.Event, mostEvents)}
	if config.Issuers == nil {
		config.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.directory, HTTPClient: ca.client()}}
	}
	config.AgreeToTerms = true
	config.Preflight = certmanager.PreflightOff // the names are in no DNS but the CA's
	config.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	config.OnEvent = func(e certmanager.Event) { s.events <- e }
	if config.Storage == nil {
		config.Storage = new(storage.Memory)
	}
	var err error
	if s.Manager, err = certmanager.New(config); err != nil {
		t.Fatal(err)
	}
	s.address = startWeb(t, http.NotFoundHandler(), s.TLSConfig())
	ca.lead(startWeb(t, s.HTTPHandler(nil), nil), s.address)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	t.Cleanup(s.stop)
	return s
}

// wait returns the next event of the kind that concerns name. Those before it are passed over.
func (s *server) wait(t *testing.T, kind certmanager.EventKind, name string) certmanager.Event {
	t.Helper()
	for ctx := within(t); ; {
		select {
		case e := <-s.events:
			if e.Kind == kind && slices.Contains(e.Names, name) {
				return e
			}
		case <-ctx.Done():
			t.Fatalf("no event %q for %s within %v", kind, name, patience)
		}
	}
}

// served returns the certificate with which the server answers a client that wants name and trusts the CA alone.
func (s *server) served(t *testing.T, name string) *x509.Certificate {
	t.Helper()
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: s.ca.roots(), ServerName: name}}
	conn, err := dialer.DialContext(within(t), "tcp", s.address)
	if err != nil {
		t.Fatalf("handshake for %s: %v", name, err)
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
}

// serial returns the serial number as events have it.
func serial(certificate *x509.Certificate) string {
	return hex.EncodeToString(certificate.SerialNumber.Bytes())
}

// solversFor returns the solvers for a type of challenge.
func solversFor(s *authorityServer, challenge string) []acme.Solver {
	switch challenge {
	case acme.TypeHTTP01:
		return []acme.Solver{new(solver.HTTP01)}
	case acme.TypeTLSALPN01:
		return []acme.Solver{new(solver.TLSALPN01)}
	}
	return []acme.Solver{s.dns01()}
}

func TestManagerObtains(t *testing.T) {
	tests := []struct {
		challenge string
		names     []string
		clients   []string // what clients ask for
	}{
		{acme.TypeTLSALPN01, []string{"example.test", "www.example.test", "127.0.0.1"}, []string{"example.test", "www.example.test", "127.0.0.1"}},
		{acme.TypeHTTP01, []string{"example.test", "www.example.test", "127.0.0.1"}, []string{"example.test", "www.example.test", "127.0.0.1"}},
		{acme.TypeDNS01, []string{"example.test", "*.example.test"}, []string{"example.test", "any.example.test"}},
	}
	for _, test := range tests {
		t.Run(test.challenge, func(t *testing.T) {
			ca := start(t)
			config := certmanager.Config{
				Subjects: []certmanager.Subject{{Names: test.names}},
				Solvers:  solversFor(ca, test.challenge),
				Storage:  new(storage.Memory),
			}
			s := startServer(t, ca, config)
			event := s.wait(t, certmanager.EventObtained, test.names[0])
			for _, name := range test.clients {
				if got := serial(s.served(t, name)); got != event.Serial {
					t.Errorf("%s is served with serial number %s, want %s, the obtained one", name, got, event.Serial)
				}
			}
			s.stop()
			again := startServer(t, ca, config)
			if loaded := again.wait(t, certmanager.EventLoaded, test.names[0]); loaded.Serial != event.Serial {
				t.Errorf("serial number %s was loaded, want %s", loaded.Serial, event.Serial)
			}
			ca.wants(t, 1, 1)
			if n := ca.made(t, accounts); n != 1 {
				t.Errorf("the CA has %d accounts, want 1", n)
			}
		})
	}
}

// A certificate that lives for seconds is renewed of itself before it ends, and at any time when told to.
func TestManagerRenews(t *testing.T) {
	const name = "brief.example.test"
	ca := start(t, func(p *provisioner.ACME) {
		p.Claims = &provisioner.Claims{
			MinTLSDur:     &provisioner.Duration{Duration: time.Second},
			DefaultTLSDur: &provisioner.Duration{Duration: 10 * time.Second},
		}
	})
	s := startServer(t, ca, certmanager.Config{Names: []string{name}, Solvers: solversFor(ca, acme.TypeTLSALPN01)})
	first := s.wait(t, certmanager.EventObtained, name)
	if lifetime := first.NotAfter.Sub(first.Time); lifetime > 10*time.Second {
		t.Fatalf("the certificate lives for %v", lifetime)
	}
	if got := serial(s.served(t, name)); got != first.Serial {
		t.Errorf("serial number %s is served, want %s", got, first.Serial)
	}
	second := s.wait(t, certmanager.EventObtained, name)
	if !second.Renewal || second.Serial == first.Serial || second.Time.Before(first.Next) || !second.Time.Before(first.NotAfter) {
		t.Errorf("renewed at %v; it was due at %v and ended at %v", second.Time, first.Next, first.NotAfter)
	}
	s.served(t, name)
	if err := s.Renew(within(t), name); err != nil {
		t.Fatal(err)
	}
	third := s.wait(t, certmanager.EventObtained, name)
	if third.Serial == second.Serial {
		t.Error("Renew left the certificate as it was")
	}
	s.served(t, name)
}

// bound returns the CA as an issuer whose account is bound to an external one.
func bound(ca *authorityServer, external *acme.ExternalAccount) []certmanager.Issuer {
	return []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.directory, HTTPClient: ca.client(), ExternalAccount: external}}
}

func TestManagerExternalAccount(t *testing.T) {
	const name = "bound.example.test"
	ca := start(t, requireExternalAccount)
	external := newExternalAccount(t, ca)
	wrong := &acme.ExternalAccount{KeyID: external.KeyID, MACKey: append([]byte{external.MACKey[0] + 1}, external.MACKey[1:]...)}
	refused := startServer(t, ca, certmanager.Config{Names: []string{name}, Issuers: bound(ca, wrong)})
	failed := refused.wait(t, certmanager.EventFailed, name)
	tellsNoSecret(t, failed.Err.Error(), wrong)
	refused.stop()
	s := startServer(t, ca, certmanager.Config{Names: []string{name}, Issuers: bound(ca, external), Solvers: solversFor(ca, acme.TypeTLSALPN01)})
	s.wait(t, certmanager.EventObtained, name)
	s.served(t, name)
	ca.wants(t, 1, 1)
}

// A failed validation is told of in the CA's words, by the name that failed, and keeps no other certificate waiting.
func TestManagerFails(t *testing.T) {
	const bad, good = "wrong.example.test", "right.example.test"
	ca := start(t)
	s := startServer(t, ca, certmanager.Config{Names: []string{good}, Solvers: solversFor(ca, acme.TypeHTTP01)})
	s.wait(t, certmanager.EventObtained, good)
	ca.lead(startWeb(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("not the answer"))
	}), nil), "")
	if err := s.Manage(certmanager.Subject{Names: []string{bad}}); err != nil {
		t.Fatal(err)
	}
	failed := s.wait(t, certmanager.EventFailed, bad)
	for _, part := range []string{bad, acme.TypeHTTP01, "The server will not issue certificates for the identifier"} {
		if !strings.Contains(failed.Err.Error(), part) {
			t.Errorf("%q does not stand in: %v", part, failed.Err)
		}
	}
	if !failed.Next.After(failed.Time) {
		t.Errorf("the next attempt is due at %v, after %v", failed.Next, failed.Time)
	}
	s.served(t, good)
}
