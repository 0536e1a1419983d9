package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

// options are what the command line asks for.
type options struct {
	flags *flag.FlagSet

	addr     string
	storage  string
	lifetime time.Duration // of the demonstration's certificates

	domains []string // empty: a demonstration
	email   string
	ca      string
	agree   bool
}

// A usageError reports that the program was called wrongly.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

// Bounds of -lifetime. Certificates count in whole seconds, so that of shorter ones little is left.
const (
	shortestLifetime = 5 * time.Second
	longestLifetime  = 90 * 24 * time.Hour
)

// parseOptions reads and checks the arguments.
func parseOptions(args []string) (*options, error) {
	o := &options{flags: flag.NewFlagSet("quickstart", flag.ContinueOnError)}
	o.flags.SetOutput(io.Discard) // run prints the error, once
	o.flags.StringVar(&o.addr, "addr", "", "`address` to serve HTTPS on (default \"127.0.0.1:0\", a free port; with -domain \":443\")")
	o.flags.StringVar(&o.storage, "storage", "", "`folder` to keep account and certificates in (default one for each user)")
	o.flags.DurationVar(&o.lifetime, "lifetime", 2*time.Minute, "how long the demonstration's certificates live")
	domains := o.flags.String("domain", "", "be a production server for this public domain `name`, or several with commas between")
	o.flags.StringVar(&o.email, "email", "", "with -domain: contact `address` of the account at the CA")
	o.flags.StringVar(&o.ca, "ca", "", "with -domain: directory `URL` of the CA (default Let's Encrypt; for trials its staging CA, "+acme.LetsEncryptStaging+")")
	o.flags.BoolVar(&o.agree, "agree", false, "with -domain: you agree to the CA's terms of service")
	err := o.flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return o, err
	}
	if err == nil && *domains != "" {
		o.domains = strings.Split(*domains, ",")
	}
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return o, &usageError{err}
	}
	return o, nil
}

func (o *options) usage(w io.Writer) {
	fmt.Fprintln(w, "Usage: quickstart [flags]\n\nWithout -domain it is a demonstration with a CA of its own.\n\nFlags:")
	o.flags.SetOutput(w)
	o.flags.PrintDefaults()
}

// check reports what is wrong with the options, and fills in what depends on others.
func (o *options) check() error {
	if o.flags.NArg() > 0 {
		return fmt.Errorf("there is an argument too many: %q", o.flags.Arg(0))
	}
	if err := o.checkMode(); err != nil {
		return err
	}
	if o.addr == "" {
		o.addr = "127.0.0.1:0"
		if len(o.domains) > 0 {
			o.addr = ":443"
		}
	}
	_, port, err := net.SplitHostPort(o.addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("-addr %q is not of the form \"127.0.0.1:8443\" or \":8443\"", o.addr)
	}
	return o.checkStorage()
}

// checkMode checks that the flags go together.
func (o *options) checkMode() error {
	given := make(map[string]bool)
	o.flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if len(o.domains) == 0 {
		for _, name := range []string{"domain", "email", "ca", "agree"} {
			if given[name] {
				return fmt.Errorf("-%s is for a production server: name its domain with -domain", name)
			}
		}
		if o.lifetime < shortestLifetime || o.lifetime > longestLifetime {
			return fmt.Errorf("-lifetime %v is not between %v and %v", o.lifetime, shortestLifetime, longestLifetime)
		}
		return nil
	}
	if given["lifetime"] {
		return errors.New("-lifetime is for the demonstration: with -domain the CA decides")
	}
	for _, domain := range o.domains {
		if _, err := acme.ParseIdentifier(domain); err != nil {
			return fmt.Errorf("-domain: %w", err)
		}
	}
	if !o.agree {
		return errors.New("-agree is missing: a CA issues only to those who agree to its terms of service; Let's Encrypt has them at https://letsencrypt.org/repository/")
	}
	return nil
}

// checkStorage makes -storage absolute. Empty, it means the demonstration's own folder; the production
// server leaves the choice to the manager.
func (o *options) checkStorage() error {
	if o.storage == "" {
		if len(o.domains) > 0 {
			return nil
		}
		cache, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("there is no folder to keep things in: name one with -storage: %w", err)
		}
		o.storage = filepath.Join(cache, "everseal-quickstart")
	}
	absolute, err := filepath.Abs(o.storage)
	if err != nil {
		return fmt.Errorf("-storage %q: %w", o.storage, err)
	}
	o.storage = absolute
	return nil
}
