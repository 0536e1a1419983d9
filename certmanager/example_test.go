package certmanager_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

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

// A server with listeners of its own, as systemd hands them over (net.FileListener(os.NewFile(3, ""))), or here at free ports with a
// CA for tests: Listener and HTTPHandler join them to the manager, which answers CAs there and redirects from plain HTTP, and
// Run does the manager's work beside.
func ExampleManager_Listener() {
	secure, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("example.com", secure.Addr().String())
	m, err := certmanager.New(certmanager.Config{
		Names:        []string{"example.com"},
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true,
		Preflight:    certmanager.PreflightOff, // the name leads here for this CA alone
		Storage:      new(storage.Memory),
		Logger:       slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: http.NotFoundHandler(), ReadHeaderTimeout: 30 * time.Second}
	redirects := &http.Server{Handler: m.HTTPHandler(nil), ReadTimeout: 10 * time.Second}
	go server.Serve(m.Listener(secure))
	go redirects.Serve(plain)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	fmt.Println("obtained:", m.Wait(ctx))

	client := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := plain
			if address == "example.com:443" {
				to = secure
			}
			return new(net.Dialer).DialContext(ctx, network, to.Addr().String())
		},
	}
	defer client.CloseIdleConnections()
	for _, url := range []string{"http://example.com/a?b=c", "https://example.com/"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			log.Fatal(err)
		}
		answer, err := client.RoundTrip(request)
		if err != nil {
			log.Fatal(err)
		}
		answer.Body.Close()
		fmt.Printf("%s %s %q\n", answer.Proto, answer.Status, answer.Header.Get("Location"))
	}
	fmt.Println("ended:", server.Shutdown(ctx), redirects.Shutdown(ctx))
	cancel()
	fmt.Println("Run returned:", <-ended)
	// Output:
	// obtained: <nil>
	// HTTP/1.1 302 Found "https://example.com/a?b=c"
	// HTTP/2.0 404 Not Found ""
	// ended: <nil> <nil>
	// Run returned: <nil>
}

// A program that a timer starts: it does what is due, says what failed, and ends.
func ExampleManager_Settle() {
	store := new(storage.Memory) // in practice a folder
	for range 2 {
		m, err := certmanager.New(certmanager.Config{
			Names: []string{"www.internal"}, Issuers: []certmanager.Issuer{new(certmanager.LocalCA)}, Storage: store, Logger: slog.New(slog.DiscardHandler),
		})
		if err != nil {
			log.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		failed := m.Settle(ctx)
		cancel()
		fmt.Println(<-ended, failed, "obtained:", m.Counts().Obtained)
	}
	// Output:
	// <nil> <nil> obtained: 1
	// <nil> <nil> obtained: 0
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
