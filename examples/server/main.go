// Server is a web server that has its listener, its timeouts, its clients' certificates and its end in its own hand. A
// certmanager is joined to it: see README.md.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// graceTime is how long requests under way may take when the server is told to end.
const graceTime = 30 * time.Second

// maxBody bounds what a client sends, in bytes.
const maxBody = 10 << 20

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	listen := flag.String("listen", ":443", "`address` to serve HTTPS on")
	clients := flag.String("clients", "", "`file` with the certificates, in PEM, of the CAs whose clients are let in (default: all clients are)")
	ca := flag.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	agree := flag.Bool("agree", false, "you agree to the CA's terms of service")
	email := flag.String("email", "", "contact `address` of the account at the CA")
	folder := flag.String("storage", "/var/lib/example-server", "`folder` for account and certificates")
	preflight := flag.String("preflight", "warn", "check before the CA does whether it will succeed: warn, require or off")
	flag.Parse()
	err := run(ctx, *listen, *clients, certmanager.Config{
		Names:        flag.Args(),
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}},
		AgreeToTerms: *agree,
		Email:        *email,
		Storage:      storage.Dir(*folder),
		Preflight:    certmanager.Preflight(*preflight),
	})
	if err != nil {
		log.Fatal("server: ", err)
	}
}

// run serves until ctx ends or something fails.
func run(ctx context.Context, address, clients string, config certmanager.Config) error {
	if len(config.Names) == 0 {
		return errors.New("name the domains to serve, such as api.example.com")
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(answer),
		TLSConfig:         manager.TLSConfig(),
		ReadHeaderTimeout: 10 * time.Second, // and of the handshake
		ReadTimeout:       time.Minute,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	if clients != "" {
		// The CA that validates by tls-alpn-01 has no such certificate, and is let in to that by the TLSConfig.
		server.TLSConfig.ClientAuth = tls.RequireAndVerifyClientCert
		if server.TLSConfig.ClientCAs, err = readCertificates(clients); err != nil {
			return fmt.Errorf("-clients: %w", err)
		}
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error {
		log.Printf("serving at %v", listener.Addr())
		if err := server.ServeTLS(listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		log.Printf("no new connections; requests under way have %v", graceTime)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
	return group.Wait()
}

func readCertificates(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}

// answer counts what it is sent, for whoever sent it.
func answer(w http.ResponseWriter, r *http.Request) {
	who := "stranger"
	if certificates := r.TLS.PeerCertificates; len(certificates) > 0 {
		who = certificates[0].Subject.CommonName
	}
	n, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "Hello, %s: these were %d bytes.\n", who, n)
}
