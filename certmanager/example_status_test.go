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

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// Certificates for several names, with kinds of key or solvers of their own.
func ExampleSubject() {
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.org"}, // one certificate
		Subjects: []certmanager.Subject{
			{Names: []string{"example.com", "www.example.com"}},                                                               // one for both
			{Names: []string{"old.example.com"}, KeyTypes: []certmanager.KeyType{certmanager.ECDSAP256, certmanager.RSA2048}}, // two, for clients old and new
			{Names: []string{"*.example.net"}, Solvers: []acme.Solver{&solver.DNS01{Provider: &solver.Exec{Path: "true"}}}},
		},
		AgreeToTerms: true,
		Storage:      new(storage.Memory),
	})
	if err != nil {
		log.Fatal(err)
	}
	for s := range m.All() {
		fmt.Println(s.Names, s.KeyType, s.Action)
	}
	// Unordered output:
	// [example.org] ecdsa-p256 load
	// [example.com www.example.com] ecdsa-p256 load
	// [old.example.com] ecdsa-p256 load
	// [old.example.com] rsa-2048 load
	// [*.example.net] ecdsa-p256 load
}

// What is the matter with certificates, for a check of health of one's own: what has failed, why, and when it is tried again.
func ExampleManager_All() {
	m, err := certmanager.New(certmanager.Config{Names: []string{"example.com"}, AgreeToTerms: true, Storage: new(storage.Memory)})
	if err != nil {
		log.Fatal(err)
	}
	sick := 0
	for s := range m.All() {
		left := time.Until(s.NotAfter)
		if s.Failure == nil || left > 7*24*time.Hour {
			continue
		}
		sick++
		fmt.Println(s.Names, s.Failure.Err, "since", s.Since, "next", s.Next)
	}
	fmt.Println(sick, "are about to end and fail to be renewed")
	// Output: 0 are about to end and fail to be renewed
}

// A function is told of what happens, such as to alert somebody before a certificate ends.
func ExampleEvent() {
	alert := func(text string) { fmt.Println(text) }
	config := certmanager.Config{
		Names: []string{"example.com"}, AgreeToTerms: true,
		OnEvent: func(e certmanager.Event) {
			switch e.Kind {
			case certmanager.EventExpiring, certmanager.EventUnavailable:
				alert(fmt.Sprint(e.Names, " ", e.Err))
			case certmanager.EventRescheduled:
				alert(fmt.Sprint(e.Names, " is to be replaced: ", e.ExplanationURL))
			}
		},
	}
	config.OnEvent(certmanager.Event{Kind: certmanager.EventRescheduled, Names: []string{"example.com"}, ExplanationURL: "https://ca.example/incident"})
	// Output: [example.com] is to be replaced: https://ca.example/incident
}

// A server that sets more than certificates: it wants clients to show certificates of their own, which a CA that validates
// need not.
func ExampleManager_TLSConfig() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	ca := acmetest.NewServer()
	defer ca.Close()
	ca.SetHost("*", listener.Addr().String())
	m, err := certmanager.New(certmanager.Config{
		Names: []string{"example.com"}, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
		AgreeToTerms: true, Storage: new(storage.Memory), Preflight: certmanager.PreflightOff, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	config := m.TLSConfig()
	config.ClientAuth = tls.RequireAnyClientCert
	server := &http.Server{Handler: http.NotFoundHandler(), TLSConfig: config, ErrorLog: log.New(discard{}, "", 0)}
	go server.ServeTLS(listener, "", "")
	defer server.Close()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Run(ctx) }()
	fmt.Println("obtained:", m.Wait(ctx))
	cancel()
	<-ended
	// Output: obtained: <nil>
}
