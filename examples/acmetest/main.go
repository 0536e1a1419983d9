// Acmetest is package acmetest's CA as a command, for tests of clients and servers in whatever language: -h lists its flags, and
// usage.txt has the same text.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
)

//go:embed usage.txt
var usage string

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "acmetest:", err)
		os.Exit(1)
	}
}

// run is a CA until ctx ends.
func run(ctx context.Context, args []string, stdout io.Writer) error {
	ca := acmetest.NewUnstartedServer()
	root, err := configure(ca, args, stdout)
	if err != nil {
		return err
	}
	kept, err := loadState(root)
	if err != nil {
		return err
	}
	ca.Root, ca.Accounts = kept.root, kept.accounts
	ca.OnAccount = func(a acmetest.Account) {
		if err := kept.keep(a); err != nil {
			fmt.Fprintln(os.Stderr, "acmetest: the account is not kept:", err)
		}
	}
	defer ca.Close()
	if err := kept.begin(ca); err != nil {
		return err
	}
	fmt.Fprintf(stdout, `The directory is %[1]s
Its root certificate is in %[2]s. Trust it, for example by
  curl --cacert %[2]s %[1]s
  SSL_CERT_FILE=%[2]s        (programs in Go, and most that use OpenSSL)
  REQUESTS_CA_BUNDLE=%[2]s   (certbot)
  NODE_EXTRA_CA_CERTS=%[2]s  (Node.js)
  acme.sh --server %[1]s --ca-bundle %[2]s
`, ca.URL, root)
	<-ctx.Done()
	return nil
}

// caught calls f and returns what package acmetest panics with, which is what is wrong in a test.
func caught(f func()) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = errors.New(strings.TrimPrefix(fmt.Sprint(reason), "acmetest: "))
		}
	}()
	f()
	return nil
}

// configure sets the CA's fields as the flags say, and returns where its root certificate is to be.
func configure(ca *acmetest.Server, args []string, stdout io.Writer) (root string, err error) {
	f := flag.NewFlagSet("acmetest", flag.ContinueOnError)
	f.SetOutput(io.Discard) // main prints the error, once
	f.Usage = func() { fmt.Fprint(stdout, usage) }
	f.StringVar(&ca.Addr, "addr", "localhost:14000", "")
	f.StringVar(&root, "root", "acmetest.pem", "")
	f.IntVar(&ca.HTTPPort, "http-port", 5002, "")
	f.IntVar(&ca.TLSPort, "tls-port", 5001, "")
	f.DurationVar(&ca.Lifetime, "lifetime", 90*24*time.Hour, "")
	f.DurationVar(&ca.RetryAfter, "retry-after", 0, "")
	verbose := f.Bool("v", false, "")
	var external []string
	f.Func("eab", "", func(text string) error { // read later: package flag repeats what is wrong, and here that is secret
		external = append(external, text)
		return nil
	})
	led := false
	f.Func("host", "", func(text string) error {
		led = true
		return setHost(ca, text)
	})
	f.Func("dns", "", func(address string) error {
		led = true
		return resolveAt(ca, address)
	})
	f.Func("rate-limits", "", func(which string) error {
		if which != "letsencrypt" {
			return errors.New("there are those of letsencrypt only")
		}
		ca.RateLimits = acmetest.LetsEncryptLimits()
		return nil
	})
	var faults []acmetest.Fault
	f.Func("fault", "", func(text string) error {
		fault, err := parseFault(ca, text)
		faults = append(faults, fault)
		return err
	})
	if err := f.Parse(args); err != nil {
		return "", err
	}
	if f.NArg() > 0 {
		return "", fmt.Errorf("%q is no flag: see acmetest -h", f.Arg(0))
	}
	for _, text := range external {
		if err := addExternalAccount(ca, text); err != nil {
			return "", err
		}
	}
	if !led {
		ca.SetHost("*", "127.0.0.1")
	}
	if *verbose {
		ca.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	ca.SetFaults(faults...)
	return root, nil
}

func addExternalAccount(ca *acmetest.Server, text string) error {
	id, encoded, ok := strings.Cut(text, "=")
	key, err := acme.ParseMACKey(encoded)
	if err != nil || !ok || id == "" {
		return errors.New("-eab: want ID=KEY with a key in base64url")
	}
	if ca.ExternalAccounts == nil {
		ca.ExternalAccounts = make(map[string][]byte)
	}
	ca.ExternalAccounts[id] = key
	return nil
}

func setHost(ca *acmetest.Server, text string) error {
	name, address, ok := strings.Cut(text, "=")
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	if !ok || name == "" || net.ParseIP(host) == nil {
		return errors.New("want NAME=ADDRESS, an IP address with a port or without")
	}
	ca.SetHost(name, address)
	return nil
}

// resolveAt has the CA ask the DNS server at the address, at port 53 unless there is another in it.
func resolveAt(ca *acmetest.Server, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "53")
	}
	ca.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	return nil
}
