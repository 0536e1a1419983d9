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

// A web server for a public name: the whole of it.
func Example() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(m.Serve(context.Background(), &http.Server{Handler: http.FileServer(http.Dir("public"))}))
}

// A server of one's own, here with a CA for tests: Listener joins it to the manager, and Run does the
// manager's work beside it.
func ExampleManager_Listener() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("example.com", listener.Addr().String())

	obtained := make(chan certmanager.Event, 1)
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Preflight:    certmanager.PreflightOff, // the name leads here for this CA alone
		Storage:      new(storage.Memory),
		Logger:       slog.New(slog.DiscardHandler),
		OnEvent: func(e certmanager.Event) {
			if e.Kind == certmanager.EventObtained {
				obtained <- e
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(m.Listener(listener))
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	fmt.Println("obtained:", (<-obtained).Names)

	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: ca.Roots()},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, listener.Addr().String())
		},
	}}
	answer, err := client.Get("https://example.com/")
	if err != nil {
		log.Fatal(err)
	}
	answer.Body.Close()
	fmt.Println("served:", answer.TLS.PeerCertificates[0].DNSNames)
	cancel()
	fmt.Println("Run returned:", <-ended)
	// Output:
	// obtained: [example.com]
	// served: [example.com]
	// Run returned: <nil>
}

// A process that takes over from another loads what that has left, so that it serves from its first handshake, and waits
// until all it needs is there. The storage is one in memory here, and in practice a folder or a database.
func ExampleManager_Wait() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer listener.Close()
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", listener.Addr().String())
	store := new(storage.Memory)
	newManager := func(names ...string) *certmanager.Manager {
		m, err := certmanager.New(certmanager.Config{
			Names: names, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}}, AgreeToTerms: true, Preflight: certmanager.PreflightOff,
			Storage: store, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			log.Fatal(err)
		}
		return m
	}
	run := func(m *certmanager.Manager) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		return func() { cancel(); <-ended }
	}

	first := newManager("example.com")
	server := &http.Server{Handler: http.NotFoundHandler()}
	go server.Serve(first.Listener(listener))
	stop := run(first)
	fmt.Println("obtained:", first.Wait(context.Background()))
	stop()

	second := newManager("example.com", "example.net")
	fmt.Println("loaded:", second.Load(context.Background()))
	for _, name := range []string{"example.com", "example.net"} {
		_, ok := second.Certificate(name)
		fmt.Println(name, ok)
	}
	// Output:
	// obtained: <nil>
	// loaded: <nil>
	// example.com true
	// example.net false
}
