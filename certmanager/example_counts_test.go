package certmanager_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"expvar"
	"fmt"
	"log"
	"log/slog"
	"net"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// What the manager has counted is published with package expvar, for whoever reads /debug/vars.
func ExampleManager_Counts() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	expvar.Publish("certmanager", expvar.Func(func() any { return m.Stats() }))
	expvar.Publish("certmanager.counts", expvar.Func(func() any { return m.Counts() }))

	_, _ = m.GetCertificate(&tls.ClientHelloInfo{ServerName: "example.net"}) // a client comes for a name that is not managed

	var counts certmanager.Counts
	if err := json.Unmarshal([]byte(expvar.Get("certmanager.counts").String()), &counts); err != nil {
		log.Fatal(err)
	}
	fmt.Println("served:", counts.Handshakes[certmanager.OutcomeServed])
	fmt.Println("of other names:", counts.Handshakes[certmanager.OutcomeUnknown])
	fmt.Println("renewed in", len(counts.Days), "days:", counts.Renewed)
	// Output:
	// served: 0
	// of other names: 1
	// renewed in 30 days: 0
}

// What is left of the limits of a CA that is asked for one certificate.
func ExampleManager_Budgets() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", listener.Addr().String())
	issuer := &certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client(), Limits: certmanager.Limits{
		NewAccounts:           certmanager.Limit{Count: 10, Per: 30 * time.Hour},
		CertificatesPerDomain: certmanager.Limit{Count: 50, Per: 7 * 24 * time.Hour},
	}}
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

	budgets, err := m.Budgets(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, b := range budgets {
		fmt.Println(b.Kind, b.Name, b.Left, "of", b.Count, "another in", time.Until(b.Next).Round(time.Hour))
	}
	cancel()
	<-ended
	// Output:
	// obtained: <nil>
	// accounts  9 of 10 another in 3h0m0s
	// domain example.com 49 of 50 another in 4h0m0s
}
