package main

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/examples/internal/program"
)

func TestMain(m *testing.M) { program.Main(m, main) }

// A page comes by HTTP/2, which announces HTTP/3, and by that, with the same certificate, before and after a renewal.
func TestServer(t *testing.T) {
	address := program.Address(t)
	ca, trust, flags := program.StartCA(t, address, func(ca *acmetest.Server) { ca.Lifetime = 30 * time.Second })
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "page.txt"), []byte("a page\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := program.Start(t, []string{trust}, append(flags, "-listen", address, "-files", folder, "localhost")...)
	server.Line("certificate obtained")
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	url := "https://localhost:" + port + "/page.txt"

	tickets := &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(1), put: make(chan struct{}, 10)}
	trusting := &tls.Config{RootCAs: ca.Roots(), ClientSessionCache: tickets}
	slow, fast := &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}, &http3.Transport{TLSClientConfig: trusting}
	defer slow.CloseIdleConnections()
	defer fast.Close()
	second := get(t, slow, url)
	if got, want := second.Header.Get("Alt-Svc"), `h3=":`+port+`"; ma=2592000`; got != want || second.ProtoMajor != 2 {
		t.Errorf("by %s Alt-Svc is %q, want %q", second.Proto, got, want)
	}
	<-tickets.put
	third := get(t, fast, url)
	if third.ProtoMajor != 3 || !third.TLS.DidResume {
		t.Errorf("the page came by %s (session resumed: %v), want HTTP/3, which resumes the session of the other", third.Proto, third.TLS.DidResume)
	}
	<-tickets.put
	checkEarlyData(t, address, trusting)

	server.Line("certificate obtained") // the second, when half of the lifetime has passed
	trusting = &tls.Config{RootCAs: ca.Roots()}
	renewed, renewedFast := &http.Transport{TLSClientConfig: trusting, ForceAttemptHTTP2: true}, &http3.Transport{TLSClientConfig: trusting}
	defer renewed.CloseIdleConnections()
	defer renewedFast.Close()
	before := serial(second)
	if a, b := serial(get(t, renewed, url)), serial(get(t, renewedFast, url)); a != b || a == before {
		t.Errorf("after the renewal of %s HTTP/2 has the certificate %s and HTTP/3 %s", before, a, b)
	}
	if old, still := serial(third), serial(get(t, fast, url)); still != old {
		t.Errorf("a connection from before the renewal has the certificate %s, want %s", still, old)
	}

	server.Signal(syscall.SIGTERM)
	if status, said := server.End(); status != 0 {
		t.Errorf("the status is %d:\n%s", status, said)
	}
}

// checkEarlyData checks that a client that has a ticket resumes its session, but sends no requests before the handshake is done.
func checkEarlyData(t *testing.T, address string, config *tls.Config) {
	t.Helper()
	config = config.Clone()
	config.ServerName, config.NextProtos = "localhost", []string{http3.NextProtoH3}
	conn, err := quic.DialAddrEarly(t.Context(), address, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.CloseWithError(0, "") }()
	<-conn.HandshakeComplete()
	if state := conn.ConnectionState(); state.Used0RTT || !state.TLS.DidResume {
		t.Errorf("the session is resumed: %v, and used for 0-RTT data: %v; want that it is and they are not", state.TLS.DidResume, state.Used0RTT)
	}
}

// get gets the page.
func get(t *testing.T, transport http.RoundTripper, url string) *http.Response {
	t.Helper()
	answer, err := (&http.Client{Transport: transport}).Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || string(body) != "a page\n" {
		t.Errorf("the page is %q, %v", body, err)
	}
	return answer
}

func serial(answer *http.Response) string {
	return answer.TLS.PeerCertificates[0].SerialNumber.Text(16)
}

// tickets is a cache of sessions that tells when one has come.
type tickets struct {
	tls.ClientSessionCache
	put chan struct{}
}

func (c *tickets) Put(key string, session *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, session)
	if session != nil {
		c.put <- struct{}{}
	}
}
