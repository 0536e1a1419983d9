// Smtp receives mail for a domain over STARTTLS and TLS, with certificates that a certmanager keeps: see README.md.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/emersion/go-smtp"
	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// graceTime is how long clients may take to finish when the server is told to end.
const graceTime = 30 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	addresses := [3]*string{
		flag.String("smtp", ":25", "`address` for SMTP with STARTTLS"),
		flag.String("smtps", ":465", "`address` for SMTP over TLS"),
		flag.String("http", ":80", "`address` where the CA validates (http-01)"),
	}
	domain := flag.String("domain", "", "`domain` whose mail is taken, such as example.com")
	maildir := flag.String("maildir", "/var/mail/example", "`folder` that gets it")
	ca := flag.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	agree := flag.Bool("agree", false, "you agree to the CA's terms of service")
	folder := flag.String("storage", "/var/lib/example-smtp", "`folder` for account and certificates")
	preflight := flag.String("preflight", "warn", "check before the CA does whether it will succeed: warn, require or off")
	flag.Parse()
	err := errors.New("name one host, such as mx.example.com, and the -domain whose mail it takes")
	if flag.NArg() == 1 && *domain != "" {
		err = run(ctx, addresses, &inbox{dir: *maildir, domain: *domain}, certmanager.Config{
			Names:        flag.Args(),
			DefaultName:  flag.Arg(0), // most mail servers name none in the handshake
			Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}},
			AgreeToTerms: *agree,
			Solvers:      []acme.Solver{new(solver.HTTP01)}, // first: nobody listens on port 443
			Storage:      storage.Dir(*folder),
			Preflight:    certmanager.Preflight(*preflight),
		})
	}
	if err != nil {
		log.Fatal("smtp: ", err)
	}
}

// run takes mail until ctx ends or something fails.
func run(ctx context.Context, addresses [3]*string, mail *inbox, config certmanager.Config) error {
	if err := mail.prepare(); err != nil {
		return err
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	secured := manager.TLSConfig()
	secured.NextProtos = nil // mail has no ALPN

	server := smtp.NewServer(mail)
	server.Domain = config.DefaultName
	server.TLSConfig = secured // for STARTTLS
	server.MaxMessageBytes = 25 << 20
	server.MaxRecipients = 100
	server.ReadTimeout, server.WriteTimeout = 5*time.Minute, 5*time.Minute // RFC 5321 §4.5.3.2
	web := &http.Server{Handler: manager.HTTPHandler(http.NotFoundHandler()), ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}

	var listeners [3]net.Listener
	for i, address := range addresses {
		if listeners[i], err = net.Listen("tcp", *address); err != nil {
			return err
		}
	}
	log.Printf("taking mail for %s at %v and, over TLS, %v", mail.domain, listeners[0].Addr(), listeners[1].Addr())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error { return server.Serve(listeners[0]) }) // nil when it is told to end
	group.Go(func() error { return server.Serve(tls.NewListener(listeners[1], secured)) })
	group.Go(func() error {
		if err := web.Serve(listeners[2]); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		log.Printf("no new clients; those that are there have %v", graceTime)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), graceTime)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			log.Printf("clients are cut off, and will try again: %v", err)
		}
		return web.Close()
	})
	return group.Wait()
}
