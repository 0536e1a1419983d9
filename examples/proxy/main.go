// Proxy is a reverse proxy over HTTPS that obtains the certificates of its names itself. It is told nothing but names and the
// servers behind them:
//
//	proxy -agree example.com=127.0.0.1:8080 www.example.com=127.0.0.1:8080
//
// With -database it serves all domains in the table "domains" of a SQLite file or a PostgreSQL, too, whose rows come and go while
// it runs: a certificate is obtained when the first client asks for it. Names that are in neither are refused in the handshake.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:]); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "proxy:", err)
		os.Exit(1)
	}
}

// run is the proxy until ctx ends and requests under way are answered.
func run(ctx context.Context, args []string) error {
	var config certmanager.Config
	f := flag.NewFlagSet("proxy", flag.ContinueOnError)
	addr := f.String("addr", ":443", "`address` to serve HTTPS on")
	f.StringVar(&config.HTTPAddr, "http", ":80", "`address` that redirects from plain HTTP")
	database := f.String("database", "", "SQLite `file`, or postgres:// URL, with the table \"domains\", which is made if it is missing")
	folder := f.String("storage", "", "`folder` to keep account and certificates in (default one for each user)")
	ca := f.String("ca", "", "directory `URL` of the CA (default Let's Encrypt)")
	f.StringVar(&config.Email, "email", "", "contact `address` of the account at the CA")
	f.BoolVar(&config.AgreeToTerms, "agree", false, "you agree to the CA's terms of service")
	if err := f.Parse(args); err != nil {
		return err
	}
	d := newDomains()
	for _, arg := range f.Args() {
		name, upstream, _ := strings.Cut(arg, "=")
		if _, _, err := net.SplitHostPort(upstream); err != nil {
			return fmt.Errorf("%q is not of the form example.com=127.0.0.1:8080: flags come before it", arg)
		}
		d.fixed[strings.ToLower(name)] = upstream
	}
	if len(d.fixed) == 0 && *database == "" {
		return errors.New("name a domain and the server behind it, such as example.com=127.0.0.1:8080, or a -database of them")
	}
	if !config.AgreeToTerms {
		return errors.New("-agree is missing: a CA issues only to those who agree to its terms of service")
	}
	config.Names = slices.Sorted(maps.Keys(d.fixed))
	config.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: *ca}}
	if *folder != "" {
		config.Storage = storage.Dir(*folder)
	}
	if *database != "" {
		if err := d.open(ctx, *database); err != nil {
			name, _, _ := strings.Cut(*database, "://") // what follows may have a password in it
			return fmt.Errorf("-database %s: %w", name, err)
		}
		defer d.db.Close()
		config.OnDemand = d.allow
	}
	manager, err := certmanager.New(config)
	if err != nil {
		return err
	}
	return manager.Serve(ctx, &http.Server{Addr: *addr, Handler: &proxy{domains: d, transport: newTransport()}})
}
