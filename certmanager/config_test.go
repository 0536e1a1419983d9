package certmanager_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A refusedConfig can't work; New's error says what is wrong, and what to do.
type refusedConfig struct {
	name   string
	config certmanager.Config
	says   []string
}

func refusedConfigs(t *testing.T) []refusedConfig {
	local := newLocalCA(t, "local")
	subjects := func(names ...[]string) (all []certmanager.Subject) {
		for _, n := range names {
			all = append(all, certmanager.Subject{Names: n})
		}
		return all
	}
	limits := func(l certmanager.Limit) certmanager.Config {
		return withIssuer(certmanager.ACME{AgreeToTerms: true, Limits: certmanager.Limits{NewOrders: l}})
	}
	return []refusedConfig{
		{"a limit without a period", limits(certmanager.Limit{Count: 5}), []string{"ACME.Limits.NewOrders is 5 in 0s"}},
		{"a limit of none", limits(certmanager.Limit{Per: time.Hour}), []string{"ACME.Limits.NewOrders is none in 1h0m0s", "-1 says"}},
		{"a limit that is none, with a period", limits(certmanager.Limit{Count: -1, Per: time.Hour}), []string{"Per is to be zero"}},
		{"a limit of years", limits(certmanager.Limit{Count: 5, Per: 9000 * time.Hour}), []string{"up to a year"}},
		{"a limit in a negative time", limits(certmanager.Limit{Count: 5, Per: -time.Hour}), []string{"more than nothing"}},
		{"an empty name", certmanager.Config{Names: []string{""}}, []string{"empty"}},
		{"a space", certmanager.Config{Names: []string{"exam ple.com"}}, []string{`"exam ple.com"`}},
		{"a URL", certmanager.Config{Names: []string{"https://example.com/"}}, []string{`"https://example.com/"`, "scheme"}},
		{"a port", certmanager.Config{Names: []string{"example.com:443"}}, []string{`"example.com:443"`, "port"}},
		{"an empty label", certmanager.Config{Names: []string{"example..com"}}, []string{`"example..com"`}},
		{"a long label", certmanager.Config{Names: []string{strings.Repeat("a", 64) + ".com"}}, []string{"63"}},
		{"a long name", certmanager.Config{Names: []string{strings.Repeat("abcdefg.", 40) + "com"}}, []string{"253"}},
		{"control characters", certmanager.Config{Names: []string{"a\x1b[31m\n.com"}}, []string{`\x1b`}},
		{"a wildcard within", certmanager.Config{Names: []string{"www.*.com"}}, []string{`"www.*.com"`}},
		{"two wildcards", certmanager.Config{Names: []string{"*.*.example.com"}}, []string{`"*.*.example.com"`}},
		{"a subject without names", certmanager.Config{Subjects: subjects(nil)}, []string{"no names"}},
		{"a bad name among several", certmanager.Config{Subjects: subjects([]string{"example.com", "-"})}, []string{`"-"`}},
		{"overlapping subjects", certmanager.Config{Names: []string{"www.example.com"}, Subjects: subjects([]string{"example.com", "www.example.com"})},
			[]string{"www.example.com", "name it once"}},
		{"a wildcard without DNS", certmanager.Config{Names: []string{"*.example.com"}}, []string{"*.example.com", "dns-01", "Config.Solvers"}},
		{"a wildcard with other solvers", certmanager.Config{Names: []string{"*.example.com"}, Solvers: []acme.Solver{&solver.HTTP01{}, &solver.TLSALPN01{}}}, []string{"dns-01"}},
		{"terms not agreed to", certmanager.Config{Names: []string{"example.com"}}, []string{"AgreeToTerms", "Let's Encrypt"}},
		{"terms of staging", withIssuer(certmanager.ACME{DirectoryURL: acme.LetsEncryptStaging}), []string{"AgreeToTerms"}},
		{"a key type", certmanager.Config{KeyTypes: []certmanager.KeyType{"ed25519"}}, []string{`"ed25519"`, "ecdsa-p256", "rsa-2048"}},
		{"a subject's key type", certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"example.com"}, KeyTypes: []certmanager.KeyType{"rsa-1024"}}}}, []string{`"rsa-1024"`, "ecdsa-p256"}},
		{"the default name", certmanager.Config{DefaultName: "not a name"}, []string{"DefaultName", `"not a name"`}},
		{"no URL", withIssuer(certmanager.ACME{DirectoryURL: "acme-v02.api.letsencrypt.org"}), []string{`"acme-v02.api.letsencrypt.org"`, "https://"}},
		{"a file", withIssuer(certmanager.ACME{DirectoryURL: "file:///etc/passwd"}), []string{`"file:///etc/passwd"`}},
		{"a broken URL", withIssuer(certmanager.ACME{DirectoryURL: "https://ca example/\n"}), []string{`\n`}},
		{"an e-mail address with a name", certmanager.Config{Email: "Ann <a@example.com>"}, []string{"Config.Email", "alone"}},
		{"an issuer's e-mail address", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Email: "a"}), []string{"ACME.Email"}},
		{"roots beside an HTTP client", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Roots: x509.NewCertPool(), HTTPClient: new(http.Client)}), []string{"ACME.Roots"}},
		{"one issuer twice", certmanager.Config{Issuers: []certmanager.Issuer{local, local}}, []string{"Config.Issuers", `"local"`}},
		{"an ID with a slash", certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "a/b")}}, []string{`"a/b"`, "lower-case"}},
		{"an ID in capitals", certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "CA")}}, []string{`"CA"`, "lower-case"}},
		{"an empty ID", certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, "")}}, []string{`""`}},
		{"an ID that leaves no room", certmanager.Config{Issuers: []certmanager.Issuer{newLocalCA(t, strings.Repeat("a", 400))}}, []string{"aaaa"}},
		{"fewer than no workers", certmanager.Config{Workers: -1}, []string{"Config.Workers", "-1", "512"}},
		{"sweeps without a pause", certmanager.Config{SweepInterval: time.Second}, []string{"Config.SweepInterval", "1s", "1m0s", "24h0m0s"}},
		{"tickets that are not sealed", certmanager.Config{SharedTickets: true}, []string{"Config.SharedTickets", "storage.Sealed"}},
		{"fewer than none in memory", certmanager.Config{MaxLoaded: -1}, []string{"Config.MaxLoaded", "-1"}},
		{"fewer than no new names", certmanager.Config{MaxNewNames: -1}, []string{"Config.MaxNewNames", "-1", "20"}},
		{"no issuer", certmanager.Config{Issuers: []certmanager.Issuer{local, nil}}, []string{"Config.Issuers", "nil"}},
		{"two for http-01", certmanager.Config{Solvers: []acme.Solver{new(solver.HTTP01), new(solver.TLSALPN01), &solver.HTTP01{Addr: ":80"}}}, []string{"Config.Solvers", "2", "*solver.HTTP01"}},
		{"two for tls-alpn-01", withIssuer(certmanager.ACME{DirectoryURL: "https://ca.example.com/", Solvers: []acme.Solver{new(solver.TLSALPN01), new(solver.TLSALPN01)}}), []string{"ACME.Solvers", "2", "*solver.TLSALPN01"}},
		{"no solver", certmanager.Config{Solvers: []acme.Solver{nil}}, []string{"Config.Solvers", "nil"}},
		{"a solver without a provider", certmanager.Config{Solvers: []acme.Solver{new(solver.DNS01)}}, []string{"Config.Solvers", "dns-01", "Provider"}},
		{"a program without a path", certmanager.Config{Solvers: []acme.Solver{&solver.DNSAccount01{Provider: new(solver.Exec)}}}, []string{"Exec.Path"}},
		{"a webhook without a URL", certmanager.Config{Solvers: []acme.Solver{&solver.DNSPersist01{Provider: new(solver.Webhook)}}}, []string{"Webhook.URL"}},
		{"no document root", certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"example.com"}, Solvers: []acme.Solver{new(solver.Webroot)}}}}, []string{"Subject.Solvers", "Webroot.Dir"}},
		{"an empty Lego", certmanager.Config{Solvers: []acme.Solver{new(solver.Lego)}}, []string{"LegoV5"}},
		{"a default name that is not managed", certmanager.Config{Names: []string{"example.com"}, DefaultName: "www.example.com"}, []string{"DefaultName", "www.example.com", "Config.Names"}},
		{"an address without a port", certmanager.Config{HTTPAddr: "off"}, []string{"HTTPAddr", `"off"`, `":80"`}},
		{"a port that is none", certmanager.Config{HTTPAddr: ":99999"}, []string{"HTTPAddr", `":99999"`}},
		{"one address for two", certmanager.Config{HTTPAddr: ":8080", Solvers: []acme.Solver{&solver.HTTP01{Addr: ":8080"}}}, []string{"Config.HTTPAddr", `":8080"`, "leave out Addr"}},
		{"a subject's own listener", certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"example.com"}, Solvers: []acme.Solver{&solver.HTTP01{Addr: ":8080"}}}}},
			[]string{"Subject.Solvers", "HTTP01", `":8080"`, "Config.Solvers"}},
		{"a subject's own storage", certmanager.Config{Subjects: []certmanager.Subject{{Names: []string{"example.com"}, Solvers: []acme.Solver{&solver.TLSALPN01{Storage: new(storage.Memory)}}}}},
			[]string{"Subject.Solvers", "TLSALPN01", "a Storage"}},
		{"a CA's own listener", certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{Solvers: []acme.Solver{&solver.HTTP01{Addr: ":8080"}}}}},
			[]string{"ACME.Solvers", `":8080"`}},
		{"an address and none", certmanager.Config{HTTPAddr: ":80", NoHTTP: true}, []string{"HTTPAddr", "NoHTTP"}},
		{"one kind of key twice", certmanager.Config{KeyTypes: []certmanager.KeyType{"rsa-2048", "rsa-2048"}}, []string{"KeyTypes", "twice"}},
		{"a public suffix", letsEncrypt("co.uk"), []string{"co.uk", "registered below it"}},
		{"a wildcard below a public suffix", letsEncrypt("*.com"), []string{"*.com"}},
		{"a local name", letsEncrypt("printer.local"), []string{"printer.local", "public DNS"}},
		{"a name of one label", letsEncrypt("localhost"), []string{"localhost"}},
		{"a private address", letsEncrypt("10.0.0.1"), []string{"10.0.0.1", "private networks"}},
		{"a role that is none", certmanager.Config{Role: "lead"}, []string{"Config.Role", `"lead"`, `"serve"`}},
		{"several things", certmanager.Config{Names: []string{"-", "example.com:443"}, Email: "nobody", Preflight: "perhaps", KeyTypes: []certmanager.KeyType{"dsa"}},
			[]string{`"-"`, "port", "Config.Email", "Config.Preflight", `"dsa"`}},
		{"a thousand things", certmanager.Config{Names: strings.Fields(strings.Repeat("- ", 1000))}, []string{"995 more"}},
	}
}

// letsEncrypt returns a configuration with certificates of a public CA.
func letsEncrypt(names ...string) certmanager.Config {
	return certmanager.Config{Names: names, AgreeToTerms: true}
}

func withIssuer(ca certmanager.ACME) certmanager.Config {
	return certmanager.Config{Issuers: []certmanager.Issuer{&ca}}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range refusedConfigs(t) {
		t.Run(test.name, func(t *testing.T) {
			config := test.config
			config.Storage = new(storage.Memory)
			if config.Issuers == nil && !config.AgreeToTerms && test.name != "terms not agreed to" {
				config.Issuers = []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://ca.example.com/directory"}}
			}
			defer func() {
				if r := recover(); r != nil {
					t.Errorf("New panics: %v", r)
				}
			}()
			m, err := certmanager.New(config)
			if m != nil || err == nil {
				t.Fatal("New returned a manager, or no error")
			}
			for _, says := range test.says {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("the error does not say %q: %v", says, err)
				}
			}
			if strings.ContainsAny(err.Error(), "\x1b\n") || len(err.Error()) > 700 {
				t.Errorf("the error shows raw or endless input: %q", err)
			}
		})
	}
}

// An issuer of one's own may have names that no public CA has.
func TestNamesOfAnOwnIssuer(t *testing.T) {
	config := certmanager.Config{Names: []string{"printer.local", "localhost", "10.0.0.1", "co.uk"}, Storage: new(storage.Memory), AgreeToTerms: true,
		Issuers: []certmanager.Issuer{newLocalCA(t, "local")}}
	for _, issuers := range [][]certmanager.Issuer{config.Issuers, {&certmanager.ACME{DirectoryURL: "https://ca.internal/directory"}}, append(config.Issuers, new(certmanager.ACME))} {
		config.Issuers = issuers
		if _, err := certmanager.New(config); err != nil {
			t.Error(err)
		}
	}
}

// TestDefaultStorage shows where a manager keeps things that is not told.
func TestDefaultStorage(t *testing.T) {
	config := certmanager.Config{Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://127.0.0.1:1/directory"}}}
	for _, test := range []struct {
		name        string
		environment map[string]string
		folder      string // below the home
	}{
		{"systemd", map[string]string{"STATE_DIRECTORY": "state:other"}, "state"},
		{"user", map[string]string{"XDG_CONFIG_HOME": "config"}, "config/everseal"},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			t.Setenv("STATE_DIRECTORY", "")
			for key, value := range test.environment {
				t.Setenv(key, filepath.Join(home, strings.ReplaceAll(value, ":", ":"+home+"/")))
			}
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			if entries, err := os.ReadDir(home); err != nil || len(entries) > 0 {
				t.Errorf("New wrote something: %v, %v", entries, err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			running := make(chan error, 1)
			go func() { running <- m.Run(ctx) }()
			cancelled := m.Manage(certmanager.Subject{Names: []string{"example.com"}})
			cancel()
			if err := <-running; err != nil || cancelled != nil {
				t.Errorf("Run: %v, Manage: %v", err, cancelled)
			}
		})
	}
	t.Run("nowhere", func(t *testing.T) {
		for _, key := range []string{"STATE_DIRECTORY", "XDG_CONFIG_HOME", "HOME"} {
			t.Setenv(key, "")
		}
		if _, err := certmanager.New(config); err == nil || !strings.Contains(err.Error(), "Config.Storage") {
			t.Errorf("the error does not say what to set: %v", err)
		}
	})
}

// TestStorageCannotBeWritten has a storage folder below a regular file, which stops even root.
func TestStorageCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(file, "state")
	for name, start := range map[string]func(m *certmanager.Manager) error{
		"Run": func(m *certmanager.Manager) error { return m.Run(t.Context()) },
		"Serve": func(m *certmanager.Manager) error {
			return m.Serve(t.Context(), &http.Server{Addr: "127.0.0.1:0"})
		},
	} {
		m, err := certmanager.New(certmanager.Config{
			Names: []string{"example.com"}, Issuers: []certmanager.Issuer{&certmanager.ACME{DirectoryURL: "https://127.0.0.1:1/directory"}}, Storage: storage.Dir(folder), HTTPAddr: "127.0.0.1:0",
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := start(m); err == nil || !strings.Contains(err.Error(), folder) || !strings.Contains(err.Error(), "Config.Storage") {
			t.Errorf("%s: the error names neither the folder nor the cure: %v", name, err)
		}
	}
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.serving(w.config("example.com"))
		if err := m.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "Run") {
			t.Errorf("a second Run: %v", err)
		}
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("the first Run does not go on: %v", err)
		}
		stop()
		stop = w.run(m)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			synctest.Wait()
			err = m.Renew(t.Context(), "example.com")
			if err != nil {
				t.Errorf("after a Run that ended: %v", err)
			}
		}
		stop()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := m.Run(ended); err != nil {
			t.Errorf("Run with a context that has ended: %v", err)
		}
	})
}

// TestTermsOfOtherCAs shows that the terms of a CA other than Let's Encrypt are found out when it is
// asked.
func TestTermsOfOtherCAs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		config := w.config("example.com")
		config.AgreeToTerms = false
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if text := failed.Err.Error(); !strings.Contains(text, "/terms") || !strings.Contains(text, "AgreeToTerms") {
			t.Errorf("the error names neither the terms nor the cure: %s", text)
		}
		if len(made.all) != 0 || w.newOrders() != 0 {
			t.Error("an account or an order was made")
		}
	})
}

// TestServerWithoutALPN has a server with a tls.Config of its own that lacks "acme-tls/1": that must be
// found out before a CA is asked to validate, which would cost a failed validation.
func TestServerWithoutALPN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		config.Solvers = []acme.Solver{&solver.TLSALPN01{Storage: w.store}}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		stop := w.runBehind(m, &tls.Config{GetCertificate: m.GetCertificate, NextProtos: []string{"h2", "http/1.1"}})
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		for _, says := range []string{"acme-tls/1", "NextProtos", "example.com"} {
			if !strings.Contains(failed.Err.Error(), says) {
				t.Errorf("the error does not say %q: %v", says, failed.Err)
			}
		}
		synctest.Wait()
		if failure := statusOf(t, m, "example.com").Failure; failure == nil || !strings.Contains(failure.Err.Error(), "acme-tls/1") {
			t.Errorf("the status does not tell of it: %+v", failure)
		}
		if n := w.ca.Requests()["challenge"]; n != 0 {
			t.Errorf("the CA was asked for %d validations", n)
		}
		stop()
		stop = w.run(m)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// TestNoServer has nothing serve the names: after a while the CA is asked all the same, with a warning,
// because it may see more than this process.
func TestNoServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) {
			ca.Dial = func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
			}
		})
		logs := new(logs)
		config := w.config("example.com")
		config.Logger = logs.logger()
		config.Solvers = []acme.Solver{&solver.TLSALPN01{Storage: w.store}}
		config.Vantage.Dial = func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if wait := failed.Next.Sub(failed.Time); wait < time.Minute {
			t.Errorf("after a failed validation the next attempt is due after %v", wait)
		}
		if text := logs.String(); !strings.Contains(text, "is the server running?") || !strings.Contains(text, "example.com") {
			t.Errorf("no warning was logged:\n%s", text)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
