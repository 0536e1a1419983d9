package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/examples/internal/program"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// The program's server against a CA for tests and a DNS server that takes updates.
func TestServe(t *testing.T) {
	ca := acmetest.NewServer()
	t.Cleanup(ca.Close)
	zone := startZone(t, "example.com", ca.SetTXT)
	provider, err := newProvider("rfc2136", variables(map[string]string{
		"RFC2136_NAMESERVER":  zone.address,
		"RFC2136_TSIG_KEY":    tsigName,
		"RFC2136_TSIG_SECRET": tsigSecret,
	}))
	if err != nil {
		t.Fatal(err)
	}
	obtained := make(chan certmanager.Event, 1)
	address := program.Address(t)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, certmanager.Config{
			Subjects:     []certmanager.Subject{{Names: []string{"example.com", "*.example.com"}}},
			Issuers:      []certmanager.Issuer{&certmanager.ACME{DirectoryURL: ca.URL, HTTPClient: ca.Client()}},
			AgreeToTerms: true,
			Solvers:      []acme.Solver{&solver.DNS01{Provider: provider, DNS: zone.dns()}},
			Preflight:    certmanager.PreflightOff,
			Storage:      new(storage.Memory),
			NoHTTP:       true,
			Logger:       slog.New(slog.NewTextHandler(t.Output(), nil)),
			OnEvent: func(e certmanager.Event) {
				if e.Kind == certmanager.EventObtained {
					obtained <- e
				}
			},
		}, address)
	}()
	select {
	case <-obtained:
	case err := <-ended:
		t.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca.Roots()},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	for _, name := range []string{"example.com", "shop.example.com"} {
		answer, err := client.Get("https://" + name + "/")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := fmt.Sprintf("This is %q.\n", name); err != nil || string(body) != want {
			t.Errorf("%s: %q, %v", name, body, err)
		}
	}
	stop()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := len(ca.Certificates()); n != 1 {
		t.Errorf("%d certificates were issued", n)
	}
	if added, left := zone.count(); added != 2 || left != 0 {
		t.Errorf("%d records were added and %d are left, want 2 and none", added, left)
	}
}

// variables stands in for the environment.
func variables(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

func TestNewProvider(t *testing.T) {
	for _, test := range []struct {
		service string
		env     map[string]string
		failure string // names what to set
	}{
		{"cloudflare", map[string]string{"CF_Token": "token"}, ""},
		{"cloudflare", map[string]string{"CF_API_TOKEN": "token"}, ""},
		{"cloudflare", nil, "set CF_Token or CF_API_TOKEN"},
		{"rfc2136", map[string]string{"RFC2136_NAMESERVER": "192.0.2.53", "RFC2136_TSIG_KEY": "key", "RFC2136_TSIG_SECRET": "AAAA"}, ""},
		{"rfc2136", map[string]string{"RFC2136_NAMESERVER": "192.0.2.53", "RFC2136_TSIG_KEY": "key"}, "set RFC2136_NAMESERVER"},
		{"libdns", map[string]string{"LIBDNS_PROVIDER": `{"server":"192.0.2.53:53"}`}, ""},
		{"libdns", nil, "set LIBDNS_PROVIDER"},
		{"libdns", map[string]string{"LIBDNS_PROVIDER": "secret"}, "LIBDNS_PROVIDER is not"},
		{"route66", nil, `-dns "route66" is none of cloudflare, rfc2136, lego and libdns`},
	} {
		provider, err := newProvider(test.service, variables(test.env))
		if test.failure == "" && (err != nil || provider == nil) || test.failure != "" && (err == nil || !strings.HasPrefix(err.Error(), test.failure)) {
			t.Errorf("%s with %v: %v", test.service, test.env, err)
		}
	}
}
