package acmetest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Start starts the server on a socket with TLS, at Addr. Like [net/http/httptest.Server.Start] it panics if
// it cannot: the address is not to be had, Root cannot sign certificates, an account in Accounts cannot be
// used, or the server was started or closed before.
func (s *Server) Start() {
	listener, host, err := s.listen()
	if err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	defer func() {
		if s.httpServer == nil { // it panics
			_ = listener.Close()
		}
	}()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	handler := s.start("https://" + net.JoinHostPort(host, port))
	certificate, err := s.authority.serverCertificate(host)
	if err != nil {
		panic(fmt.Sprintf("acmetest: certificate for the server's own address: %v", err))
	}
	s.httpServer = &http.Server{
		Handler:           handler,
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
		ConnState:         s.countConnection,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.Roots()}}}
	s.running.Go(func() { _ = s.httpServer.ServeTLS(listener, "", "") }) // ends with Close
}

// StartInMemory starts the server without a socket: only [Server.Client] reaches it. URL is the same
// in every process. It panics as Start does.
func (s *Server) StartInMemory() {
	const host = "acmetest.invalid"
	s.client = &http.Client{Transport: &memoryTransport{host: host, handler: s.start("https://" + host), begin: s.begin}}
}

// listen returns a listener at Addr, and the host by which clients reach it.
func (s *Server) listen() (listener net.Listener, host string, err error) {
	if s.Addr == "" {
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err == nil {
			return listener, "127.0.0.1", nil
		}
		if listener, err = net.Listen("tcp6", "[::1]:0"); err != nil {
			return nil, "", fmt.Errorf("no port to listen on: %w", err)
		}
		return listener, "::1", nil
	}
	if listener, err = net.Listen("tcp", s.Addr); err != nil {
		return nil, "", fmt.Errorf("Addr is %q: %w", s.Addr, err)
	}
	host, _, err = net.SplitHostPort(s.Addr)
	if addr, _ := netip.ParseAddr(host); host == "" || addr.IsUnspecified() {
		host = "localhost"
	}
	return listener, host, err
}

// countConnection lets Close wait for the connections, which it closes.
func (s *Server) countConnection(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.running.Add(1)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed { // http.Server.Close may have run before it knew of this one
			_ = conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		s.running.Done()
	}
}

// start does what both ways of starting share, and returns the CA's handler.
func (s *Server) start(origin string) http.Handler {
	if s.URL != "" {
		panic("acmetest: the server was started before")
	}
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		panic("acmetest: the server was closed before")
	}
	s.prepare()
	s.origin = origin
	s.URL = s.urlOf("directory", "")
	s.log = s.Logger
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.authority, err = newAuthority(&s.Root, s.AlternateChains); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	if err := s.checkOffers(); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	if err := s.loadAccounts(); err != nil {
		panic(fmt.Sprintf("acmetest: %v", err))
	}
	return s.handler()
}

// errNotStarted is what a client of a server that does not run sees.
var errNotStarted = errors.New("acmetest: the server has not been started: call Start or StartInMemory first")

type idleTransport struct{}

func (idleTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, errNotStarted }

// Client returns an HTTP client that trusts the server, and is the only one to reach a server in memory. Its
// idle connections are closed by Close. All that the client of a server which has not been started returns is
// an error that says so.
func (s *Server) Client() *http.Client {
	if s.client == nil {
		return &http.Client{Transport: idleTransport{}}
	}
	return s.client
}

// Roots returns a pool that holds the CA's root certificate, and those of the alternate chains. It is empty
// before the start, which makes them.
func (s *Server) Roots() *x509.CertPool {
	pool := x509.NewCertPool()
	if s.authority == nil {
		return pool
	}
	for _, root := range s.authority.roots {
		pool.AddCert(root)
	}
	return pool
}

// RootPEM returns what Roots holds in PEM, the certificate in Root first.
func (s *Server) RootPEM() (pem []byte) {
	if s.authority == nil {
		return nil
	}
	for _, root := range s.authority.roots {
		pem = append(pem, encodePEM(root.Raw)...)
	}
	return pem
}
