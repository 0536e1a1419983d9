package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"html"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/prometheus"
	"github.com/everseal/everseal/certmanager/statuspage"
	"github.com/everseal/everseal/storage"
	sqlstore "github.com/everseal/everseal/storage/sql"
)

// A member is one process of the fleet, as its flags and environment say.
type member struct {
	name     string // shown on the page
	address  string // of HTTPS
	internal string // of the status page and the metrics

	database string // URL
	keys     storage.KeyFunc
	config   certmanager.Config
}

// parseMember reads the flags, and from the environment what is secret.
func parseMember(args []string, getenv func(string) string) (*member, error) {
	m := &member{database: getenv("DATABASE_URL")}
	host, _ := os.Hostname()
	ca := new(certmanager.ACME)
	f := flag.NewFlagSet("fleet member", flag.ContinueOnError)
	f.StringVar(&m.name, "name", host, "of this member, shown on the page")
	f.StringVar(&m.address, "addr", ":443", "`address` to serve HTTPS on")
	f.StringVar(&m.config.HTTPAddr, "http", ":80", "`address` that redirects from plain HTTP; \"off\": none")
	f.StringVar(&m.internal, "internal", "127.0.0.1:9443", "`address` of the status page and the metrics, which only operators may reach")
	f.StringVar(&ca.DirectoryURL, "ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	root := f.String("ca-root", "", "`file` of the root certificate that vouches for the CA's server, if it is a private CA")
	f.StringVar((*string)(&m.config.Preflight), "preflight", "", "what becomes of faults that are seen before the CA is told to validate: warn, require or off (default warn)")
	f.StringVar(&m.config.Email, "email", "", "contact `address` of the account at the CA")
	f.BoolVar(&m.config.AgreeToTerms, "agree", false, "you agree to the CA's terms of service")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no flag", f.Arg(0))
	case m.database == "":
		return nil, errors.New("DATABASE_URL is not set: it is of the form postgres://user:password@host/database")
	case !m.config.AgreeToTerms:
		return nil, errors.New("-agree is missing: a CA issues only to those who agree to its terms of service")
	}
	// Who can read the database has no private keys by that, and no session tickets.
	secret, err := base64.StdEncoding.DecodeString(getenv("SEALING_SECRET"))
	if err == nil {
		m.keys, err = storage.SealingKeys(secret)
	}
	if err != nil {
		return nil, errors.New("SEALING_SECRET is not set, or not to 32 random bytes in base64: have them made by \"openssl rand -base64 32\", once for all members")
	}
	if *root != "" {
		pem, err := os.ReadFile(*root)
		if err != nil {
			return nil, fmt.Errorf("-ca-root: %w", err)
		}
		ca.Roots = x509.NewCertPool()
		if !ca.Roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca-root: there is no certificate in %s", *root)
		}
	}
	if m.config.HTTPAddr == "off" {
		m.config.HTTPAddr, m.config.NoHTTP = "", true
	}
	m.config.Issuers = []certmanager.Issuer{ca}
	return m, nil
}

// run serves until ctx ends and requests under way are answered.
func (m *member) run(ctx context.Context) error {
	pool, err := pgxpool.New(ctx, m.database)
	if err != nil {
		return fmt.Errorf("DATABASE_URL: %w", err)
	}
	defer pool.Close()
	d := &domains{pool}
	if err := d.prepare(ctx); err != nil {
		return err
	}
	store, err := sqlstore.PostgreSQL(pool, sqlstore.Config{})
	if err != nil {
		return err
	}
	notifying, err := store.Notify("certificates") // what one member obtains the others serve at once
	if err != nil {
		return err
	}
	m.config.Storage = &storage.Sealed{Store: notifying, Keys: m.keys}
	m.config.OnDemand = d.allow
	m.config.SharedTickets = true
	manager, err := certmanager.New(m.config)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return manager.Serve(ctx, &http.Server{Addr: m.address, Handler: m.pages(d)}) })
	group.Go(func() error { return serveInternally(ctx, m.internal, manager) })
	return group.Wait()
}

// pages returns what customers' visitors see.
func (m *member) pages(d *domains) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		customer, err := d.customer(r.Context(), host)
		switch {
		case err != nil:
			http.Error(w, "The database does not answer. Try again in a moment.", http.StatusServiceUnavailable)
		case customer == "":
			http.Error(w, "Nobody's domain.", http.StatusMisdirectedRequest)
		default:
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprintf(w, "<p>This is %s of %s, by %s.</p>\n", html.EscapeString(host), html.EscapeString(customer), html.EscapeString(m.name))
		}
	})
}

// serveInternally serves the status page and the metrics.
func serveInternally(ctx context.Context, address string, manager *certmanager.Manager) error {
	registry := prom.NewRegistry()
	registry.MustRegister(&prometheus.Collector{Manager: manager})
	mux := http.NewServeMux()
	mux.Handle("/", statuspage.Handler(manager))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return serve(ctx, listener, mux)
}

// serve serves plain HTTP until ctx ends.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, BaseContext: func(net.Listener) context.Context { return ctx }}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
