package certmanager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestRoots obtains from a CA on a socket whose own certificate only Config.Roots vouch for.
func TestRoots(t *testing.T) {
	ca := acmetest.NewServer()
	t.Cleanup(ca.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ca.SetHost("example.com", listener.Addr().String())
	roots := x509.NewCertPool()
	roots.AddCert(serverCertificate(t, ca.URL))
	for _, test := range []struct {
		name  string
		roots *x509.CertPool
		kind  certmanager.EventKind
	}{
		{"the CA's", roots, certmanager.EventObtained},
		{"others", x509.NewCertPool(), certmanager.EventFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			events := make(chan certmanager.Event, 100)
			m, err := certmanager.New(certmanager.Config{
				Names: []string{"example.com"}, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, Roots: test.roots}}, AgreeToTerms: true, Preflight: certmanager.PreflightOff,
				Storage: new(storage.Memory), OnEvent: func(e certmanager.Event) { events <- e },
			})
			if err != nil {
				t.Fatal(err)
			}
			secure := m.Listener(listener)
			go serveHandshakes(secure)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				_ = m.Run(ctx)
			}()
			for e := range events {
				if e.Kind == test.kind {
					if e.Err != nil && !strings.Contains(e.Err.Error(), "x509") {
						t.Errorf("the failure is not that of a certificate: %v", e.Err)
					}
					break
				}
			}
			cancel()
			<-done
		})
	}
	listener.Close()
}

// serverCertificate returns the certificate that the CA's own HTTPS server shows.
func serverCertificate(t *testing.T, url string) *x509.Certificate {
	t.Helper()
	address := strings.TrimPrefix(url, "https://")
	address, _, _ = strings.Cut(address, "/")
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}
