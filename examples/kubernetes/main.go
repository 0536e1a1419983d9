// Kubernetes obtains certificates for an ingress: it proves control of the names by http-01, behind that same ingress, and
// writes each certificate into a Secret of the type kubernetes.io/tls, where the ingress takes it from. Account,
// certificates and leases are in Secrets of a namespace of its own, so that several pods share the work. Manifests.yaml has
// all that a cluster needs for it.
//
//	kubernetes -agree -names=example.com,www.example.com -secrets=web
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage/kubernetes"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	o, err := parseOptions(os.Args[1:], os.Stderr)
	if err == nil {
		err = o.run(ctx)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(1)
	}
}

// options are what the command line says.
type options struct {
	names   []string
	secrets string // namespace
	store   string // URL
	http    string // address
	ca      string // directory URL
	email   string
	agree   bool

	preflight certmanager.Preflight
}

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := new(options)
	f := flag.NewFlagSet("kubernetes", flag.ContinueOnError)
	f.SetOutput(stderr)
	names := f.String("names", "", "domain `names` to have a certificate each, with commas between")
	f.StringVar(&o.secrets, "secrets", "", "`namespace` that the certificates are written into (default that of -store)")
	f.StringVar(&o.store, "store", "kubernetes:///", "`URL` of the API server and the namespace to keep things in, as package storage/kubernetes has it")
	f.StringVar(&o.http, "http", ":8080", "`address` to answer http-01 and probes at")
	f.StringVar(&o.ca, "ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	f.StringVar(&o.email, "email", "", "contact `address` of the account at the CA")
	f.BoolVar(&o.agree, "agree", false, "you agree to the CA's terms of service")
	f.StringVar((*string)(&o.preflight), "preflight", "", "what becomes of faults that are seen before the CA is told to validate: warn, require, or off if pods don't reach their own ingress (default warn)")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no flag", f.Arg(0))
	case *names == "":
		return nil, errors.New("-names is missing: say for which domain names certificates are wanted")
	case !o.agree:
		return nil, errors.New("-agree is missing: a CA issues only to those who agree to its terms of service")
	}
	for name := range strings.SplitSeq(*names, ",") {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return nil, fmt.Errorf("-names: %w", err)
		}
		if strings.HasPrefix(id.Value, "*.") {
			return nil, fmt.Errorf("-names: http-01 does not prove control of the wildcard %s", id.Value)
		}
		o.names = append(o.names, id.Value)
	}
	return o, nil
}

// run obtains and renews until ctx ends.
func (o *options) run(ctx context.Context) error {
	store, err := kubernetes.Open(ctx, o.store, kubernetes.Config{})
	if err != nil {
		return err
	}
	defer store.Close()
	manager, err := certmanager.New(certmanager.Config{
		Names:        o.names,
		Email:        o.email,
		AgreeToTerms: o.agree,
		Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: o.ca}},
		Storage:      store,
		Solvers:      []acme.Solver{new(solver.HTTP01)}, // before tls-alpn-01, which does not get through an ingress
		Preflight:    o.preflight,
		Role:         certmanager.RoleRenew, // the ingress serves
	})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	handler := manager.HTTPHandler(mux)
	secrets := &kubernetes.TLSSecrets{Store: store, Namespace: o.secrets, Names: o.names}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Run(ctx) })
	group.Go(func() error { return unlessEnded(ctx, secrets.Run(ctx)) })
	group.Go(func() error { return serve(ctx, o.http, handler) })
	return group.Wait()
}

// unlessEnded returns nil for the error that says that ctx has ended.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// serve serves until ctx ends and requests under way are answered.
func serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended
	return nil
}
