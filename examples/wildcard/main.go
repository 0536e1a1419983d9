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
// or at any other that lego or libdns knows: lego.go and libdns.go have one import to be changed for that.
//
// It needs port 443, and no CA needs to reach it.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// Options are what the command line asks for.
type options struct {
	domain, service, email, ca, caRoot, resolver, dir, listen string
	agree                                                     bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	var o options
	flag.StringVar(&o.service, "dns", "cloudflare", "who serves the zone: cloudflare, rfc2136, lego or libdns")
	flag.StringVar(&o.email, "email", "", "contact `address` of the account at the CA")
	flag.StringVar(&o.ca, "ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	flag.StringVar(&o.caRoot, "ca-root", "", "`file` with the certificate that vouches for the CA's own server, if it is a private one")
	flag.StringVar(&o.resolver, "resolver", "", "`address` of the only DNS server to ask, where the network lets no other be asked (default the zone's own)")
	flag.StringVar(&o.dir, "dir", "", "`folder` to keep account and certificate in (default one for each user)")
	flag.StringVar(&o.listen, "listen", ":443", "`address` to serve HTTPS on")
	flag.BoolVar(&o.agree, "agree", false, "you agree to the CA's terms of service")
	flag.Parse()
	err := errors.New("name one domain, such as example.com")
	if flag.NArg() == 1 {
		o.domain = flag.Arg(0)
		err = run(ctx, &o)
	}
	if err != nil {
		log.Fatal("wildcard: ", err)
	}
}

func run(ctx context.Context, o *options) error {
	issuer := &certmanager.ACME{DirectoryURL: o.ca}
	config := certmanager.Config{
		Subjects:     []certmanager.Subject{{Names: []string{o.domain, "*." + o.domain}}},
		Issuers:      []certmanager.Issuer{issuer},
		Email:        o.email,
		AgreeToTerms: o.agree,
		NoHTTP:       true,
	}
	var propagation solver.Propagation
	if o.resolver != "" {
		config.Vantage.DNS = &solver.DNS{Resolvers: []string{o.resolver}}
		propagation.Recursive = true
	}
	proof, err := newSolver(o.service, propagation, os.Getenv)
	if err != nil {
		return err
	}
	config.Solvers = []acme.Solver{proof}
	if o.dir != "" {
		config.Storage = storage.Dir(o.dir)
	}
	if o.caRoot != "" {
		pem, err := os.ReadFile(o.caRoot)
		if err != nil {
			return err
		}
		issuer.Roots = x509.NewCertPool()
		if !issuer.Roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("-ca-root: %s has no certificate in PEM", o.caRoot)
		}
	}
	return serve(ctx, config, o.listen)
}

// newSolver returns what sets the records at a service, which has its credentials from the environment.
func newSolver(service string, propagation solver.Propagation, getenv func(string) string) (acme.Solver, error) {
	if service == "lego" {
		return newLego(propagation)
	}
	provider, err := newProvider(service, getenv)
	if err != nil {
		return nil, err
	}
	return &solver.DNS01{Provider: provider, Propagation: propagation}, nil
}

func newProvider(service string, getenv func(string) string) (solver.Provider, error) {
	switch service {
	case "cloudflare":
		return newCloudflare(getenv)
	case "rfc2136":
		return newRFC2136(getenv)
	case "libdns":
		return newLibdns(getenv)
	}
	return nil, fmt.Errorf("-dns %q is none of cloudflare, rfc2136, lego and libdns", service)
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
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		if manager.Wait(ctx) == nil {
			log.Printf("%s are served at %s", strings.Join(config.Subjects[0].Names, " and "), address)
		}
	}()
	return manager.Serve(ctx, &http.Server{Addr: address, Handler: page, ReadHeaderTimeout: 10 * time.Second})
}
