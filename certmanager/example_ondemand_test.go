package certmanager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A server for the domains of its customers, which come and go: certificates are obtained when clients first ask for
// them, for the names that the policy knows.
func ExampleConfig_onDemand() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", listener.Addr().String())

	customers := map[string]bool{"shop.example.net": true}
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"www.example.com"}, // our own
		OnDemand: func(ctx context.Context, q certmanager.Question) error {
			if !customers[q.Name] {
				return fmt.Errorf("%w: %s is no customer's", certmanager.ErrDenied, q.Name)
			}
			return nil
		},
		MaxNewNames: 50, // of one registered domain in an hour
		MaxLoaded:   100_000,

		Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client(), AgreeToTerms: true}},
		Storage: new(storage.Memory), Preflight: certmanager.PreflightOff, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(discard{}, "", 0)}
	go server.Serve(m.Listener(listener))
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	if err := m.Wait(ctx); err != nil {
		log.Fatal(err)
	}

	for _, name := range []string{"shop.example.net", "scan.example.org"} {
		conn, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{ServerName: name, RootCAs: ca.Roots()})
		if err != nil {
			fmt.Println(name, err)
			continue
		}
		fmt.Println(name, "is served a certificate for", conn.ConnectionState().PeerCertificates[0].DNSNames)
		conn.Close()
	}
	// Output:
	// shop.example.net is served a certificate for [shop.example.net]
	// scan.example.org remote error: tls: unrecognized name
}

// discard is a log that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
