package certmanager_test

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/everseal/everseal/certmanager"
)

// withHello calls f within a handshake, with what crypto/tls hands to GetCertificate. The connection
// has the given local address, or with nil that of a pipe.
func withHello(t *testing.T, local net.Addr, f func(hello *tls.ClientHelloInfo)) {
	t.Helper()
	client, server := net.Pipe()
	if local != nil {
		server = pipeConn{server, local}
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer client.Close()
	group.Go(func() {
		config := &tls.Config{ServerName: "example.com", NextProtos: []string{"h2", "http/1.1"}}
		config.CurvePreferences = []tls.CurveID{tls.CurveP256} // another key exchange is slow under the race detector
		_ = tls.Client(client, config).HandshakeContext(t.Context())
	})
	called := false
	_ = tls.Server(server, &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		called = true
		f(hello)
		return nil, errors.New("only the ClientHello was wanted")
	}}).HandshakeContext(t.Context())
	if !called {
		t.Fatal("the handshake did not come to its certificate")
	}
}

// ask returns what the manager answers to a client that asks for the name, of which any bytes may be.
func ask(t *testing.T, m *certmanager.Manager, name string) (certificate *tls.Certificate, err error) {
	t.Helper()
	withHello(t, nil, func(hello *tls.ClientHelloInfo) {
		certificate, err = m.GetCertificate(named(hello, name))
	})
	return certificate, err
}

// named returns the hello of the same handshake for another name.
func named(hello *tls.ClientHelloInfo, name string) *tls.ClientHelloInfo {
	other := *hello
	other.ServerName = name
	return &other
}
