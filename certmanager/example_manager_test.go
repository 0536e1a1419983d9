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
