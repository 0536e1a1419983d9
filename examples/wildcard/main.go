// Wildcard is an HTTPS server for a domain and all names below it, with one certificate for both. It proves
// control of the domain by DNS records, which it sets at Cloudflare, with a token from CF_Token or
// CF_API_TOKEN,
//
//	CF_Token=… wildcard -agree example.com
//
// or at a DNS server of one's own, by dynamic updates (RFC 2136) signed with a key (TSIG):
//
//	RFC2136_NAMESERVER=192.0.2.53 RFC2136_TSIG_KEY=everseal RFC2136_TSIG_SECRET=… wildcard -agree -dns rfc2136 example.com
//
// It needs port 443, and no CA needs to reach it. Each provider is a file of its own; any other of libdns takes
// its place by the same few lines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	service := flag.String("dns", "cloudflare", "who serves the zone: cloudflare or rfc2136")
	email := flag.String("email", "", "contact `address` of the account at the CA")
	ca := flag.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	agree := flag.Bool("agree", false, "you agree to the CA's terms of service")
	flag.Parse()
	err := errors.New("name one domain, such as example.com")
	if flag.NArg() == 1 {
		err = run(ctx, *service, certmanager.Config{
			Subjects:     []certmanager.Subject{{Names: []string{flag.Arg(0), "*." + flag.Arg(0)}}},
			Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}},
			Email:        *email,
			AgreeToTerms: *agree,
		})
	}
	if err != nil {
		log.Fatal("wildcard: ", err)
	}
}

func run(ctx context.Context, service string, config certmanager.Config) error {
	provider, err := newProvider(service, os.Getenv)
	if err != nil {
		return err
	}
	config.Solvers = []acme.Solver{&solver.DNS01{Provider: provider}}
	return serve(ctx, config, ":443")
}

func newProvider(service string, getenv func(string) string) (solver.Provider, error) {
	switch service {
	case "cloudflare":
		return newCloudflare(getenv)
	case "rfc2136":
		return newRFC2136(getenv)
	}
	return nil, fmt.Errorf("-dns %q is neither cloudflare nor rfc2136", service)
}

// serve serves a page under all names until ctx ends.
func serve(ctx context.Context, config certmanager.Config, address string) error {
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	page := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "This is %q.\n", r.Host)
	})
	return manager.Serve(ctx, &http.Server{Addr: address, Handler: page, ReadHeaderTimeout: 10 * time.Second})
}
