package diagnose_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/solver/diagnose"
	"github.com/everseal/everseal/solver/internal/solvertest"
)

// A world is an Internet on loopback: name servers, and servers at addresses. A connection to an address
// where nothing was put is refused.
type world struct {
	*solvertest.DNS
	t           *testing.T
	nameservers []*solvertest.Nameserver // of the zone example.com
	http01      *solver.HTTP01
	tlsALPN01   *solver.TLSALPN01

	mu     sync.Mutex // guards what follows
	places map[string]func(context.Context) (net.Conn, error)
	dialed []string
}

// newWorld returns a world in which the zone example.com is held by ns1 and ns2.
func newWorld(t *testing.T) *world {
	w := &world{
		DNS:       solvertest.NewDNS(t),
		t:         t,
		http01:    new(solver.HTTP01),
		tlsALPN01: new(solver.TLSALPN01),
		places:    make(map[string]func(context.Context) (net.Conn, error)),
	}
	w.nameservers = w.Zone("example.com", "198.51.100.1", "198.51.100.2")
	return w
}

// add adds a record to each server of the zone.
func (w *world) add(name, kind, value string) {
	for _, s := range w.nameservers {
		s.Add(name, kind, value)
	}
}

// put has a loopback server answer at an address and port.
func (w *world) put(place, server string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places[place] = func(ctx context.Context) (net.Conn, error) { return solvertest.DialTo(server)(ctx, "tcp", "") }
}

// fail has connections to an address and port fail.
func (w *world) fail(place string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.places[place] = func(context.Context) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
	}
}

var (
	errFiltered   = os.ErrDeadlineExceeded
	errUnroutable = os.NewSyscallError("connect", syscall.ENETUNREACH)
)

// site has the A record of example.com lead to a handler on port 80.
func (w *world) site(handler http.Handler) {
	w.add("example.com", "A", "192.0.2.1")
	w.put("192.0.2.1:80", solvertest.ServeHTTP(w.t, handler))
}

// answering is the handler that has the answer.
func (w *world) answering() http.Handler { return w.http01.Handler(nil) }

// tlsSite has the A record of example.com lead to a TLS server.
func (w *world) tlsSite(config *tls.Config) {
	w.add("example.com", "A", "192.0.2.1")
	w.put("192.0.2.1:443", solvertest.ServeWithTLS(w.t, config, http.NotFoundHandler()))
}

// certificate returns a TLS configuration for a certificate of the name.
func (w *world) certificate(name string) *tls.Config {
	return &tls.Config{
		NextProtos:   []string{solver.ALPNProto, "http/1.1"},
		Certificates: []tls.Certificate{*solvertest.NewCertificate(w.t, &x509.Certificate{DNSNames: []string{name}})},
	}
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil || network != "tcp" {
		w.t.Errorf("dialled %s %q, want an address", network, address)
	}
	w.mu.Lock()
	place := w.places[address]
	w.dialed = append(w.dialed, address)
	w.mu.Unlock()
	if place == nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	return place(ctx)
}

// vantage looks at the world for the CA ca.example.
func (w *world) vantage() diagnose.Vantage {
	return diagnose.Vantage{DNS: dnsFor(w.DNS), Dial: w.dial, CAAIdentities: []string{"ca.example"}}
}

// diagnose presents the answer to p, if it is of those that a host gives, and diagnoses.
func (w *world) diagnose(p acme.Proof, failure error) *diagnose.Report {
	switch p.Type {
	case acme.TypeHTTP01:
		solvertest.Present(w.t, w.http01, p)
	case acme.TypeTLSALPN01:
		solvertest.Present(w.t, w.tlsALPN01, p)
	}
	return diagnose.After(w.t.Context(), p, failure, w.vantage())
}

// refusal is what a CA says of example.com.
func refusal(problem acme.ProblemType, detail string) error {
	return &acme.OrderError{Authorizations: []*acme.AuthorizationError{
		{Identifier: "www.example.com", Problem: &acme.Problem{Type: acme.ErrCAA, Detail: "of another name"}},
		{Identifier: "example.com", Problem: &acme.Problem{Type: problem, Detail: detail}},
	}}
}

// The proofs of example.com.
var (
	overHTTP = solvertest.NewProof(acme.TypeHTTP01, "example.com")
	overTLS  = solvertest.NewProof(acme.TypeTLSALPN01, "example.com")
	overDNS  = solvertest.NewProof(acme.TypeDNS01, "example.com")
)

// dnsFor returns a DNS that asks d.
func dnsFor(d *solvertest.DNS) *solver.DNS { return dnsVia(d.Dial) }

// dnsVia returns a DNS that asks by dial.
func dnsVia(dial func(ctx context.Context, network, address string) (net.Conn, error)) *solver.DNS {
	return &solver.DNS{Resolvers: []string{solvertest.ResolverAddr}, Dial: dial}
}
