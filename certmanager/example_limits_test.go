package certmanager_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A CA whose limits are not known: it says that it grants one certificate in a day for the names of a domain. The second name
// waits, and its status says for what and until when.
func ExampleLimits() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", listener.Addr().String())
	issuer := &certmanager.ACME{
		DirectoryURL: ca.URL, HTTPClient: ca.Client(),
		Limits: certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 1, Per: 24 * time.Hour}},
	}
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"www.example.com"}, Issuers: []certmanager.Issuer{issuer}, AgreeToTerms: true, Storage: new(storage.Memory),
		Preflight: certmanager.PreflightOff, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	secure := m.Listener(listener)
	go serveHandshakes(secure)
	defer secure.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	fmt.Println("obtained:", m.Wait(ctx))

	if err := m.Manage(certmanager.Subject{Names: []string{"blog.example.com"}}); err != nil {
		log.Fatal(err)
	}
	status, _ := m.Status("blog.example.com")
	for ; status.Reason != certmanager.ReasonBudget; status, _ = m.Status("blog.example.com") {
		time.Sleep(10 * time.Millisecond)
	}
	grant, _, _ := strings.Cut(status.Deferred, ";")
	fmt.Println(grant)
	fmt.Println("due within:", time.Until(status.Next).Round(time.Hour))
	cancel()
	<-ended
	// Output:
	// obtained: <nil>
	// blog.example.com: 127.0.0.1 grants 1 certificate a day for names of example.com
	// due within: 24h0m0s
}
