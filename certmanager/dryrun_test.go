package certmanager_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage/storagetest"
)

// stagingURL is that of the directory of staging in a world: apart from it, both CAs have the same URLs.
const stagingURL = "https://staging.example.com/directory"

// A renamed transport has the directory of a CA in memory, whatever host the URL has.
type renamed struct{ http.RoundTripper }

func (n renamed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Path != "/directory" {
		return n.RoundTripper.RoundTrip(r)
	}
	directory := r.Clone(r.Context())
	directory.URL.Host, directory.Host = "acmetest.invalid", ""
	return n.RoundTripper.RoundTrip(directory)
}

// addStaging starts a second CA that validates as the world's does, and has the configuration make dry runs there.
func (w *world) addStaging(config certmanager.Config) *acmetest.Server {
	w.t.Helper()
	staging := acmetest.NewUnstartedServer()
	staging.Dial = w.ca.Dial
	staging.StartInMemory()
	w.t.Cleanup(staging.Close)
	staging.SetHost("*", "192.0.2.1")
	acmeOf(config).Staging = &certmanager.ACME{DirectoryURL: stagingURL, HTTPClient: &http.Client{Transport: renamed{staging.Client().Transport}}}
	return staging
}

// A name that fails is tried at staging before the CA is asked again, and what comes of that decides.
func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logs
		w := newWorld(t)
		config := w.config("example.com")
		config.Logger = log.logger()
		staging := w.addStaging(config)
		w.ca.FailValidations("example.com", 2)
		staging.FailValidations("example.com", 1)
		_, stop := w.start(config)
		defer stop()
		for n, want := range []struct {
			production, staging int // orders so far
			says                string
		}{
			{1, 0, "control was not proved"},
			{1, 1, "(in the dry run at staging.example.com-"},
			{2, 2, "(the dry run at staging.example.com-"},
		} {
			failed := w.await(certmanager.EventFailed, "example.com", n+1)
			if !strings.Contains(failed.Err.Error(), want.says) || len(failed.Diagnoses) != 1 {
				t.Errorf("failure %d: %d diagnoses, %v", n+1, len(failed.Diagnoses), failed.Err)
			}
			if p, s := len(w.ca.Orders()), len(staging.Orders()); p != want.production || s != want.staging {
				t.Errorf("after failure %d there are %d orders, and %d at staging; want %d and %d", n+1, p, s, want.production, want.staging)
			}
			if wait := failed.Next.Sub(failed.Time); n > 0 && wait < 10*time.Minute*time.Duration(n) {
				t.Errorf("after failure %d the next attempt is due after %v", n+1, wait)
			}
		}
		event := w.await(certmanager.EventObtained, "example.com", 1)
		if p, s := len(w.ca.Orders()), len(staging.Orders()); p != 3 || s != 3 || event.Issuer != acmeOf(config).ID() {
			t.Errorf("obtained of %s with %d orders, and %d at staging; want 3 each", event.Issuer, p, s)
		}
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		if _, item := w.record("certificates"); !strings.Contains(string(item.Value), acmeOf(config).ID()) {
			t.Error("the certificate that is stored is of another issuer")
		}
		if n := strings.Count(log.String(), "the dry run succeeded"); n != 2 {
			t.Errorf("the log has %d lines of dry runs that succeeded, want 2", n)
		}
		time.Sleep(100 * day) // through a renewal: what has succeeded needs no dry run
		if n := len(staging.Orders()); n != 3 {
			t.Errorf("%d orders at staging after a renewal, want 3", n)
		}
	})
}

// A key that the CA has not seen, for a dry run has failed, is that of the next attempt.
func TestDryRunKeepsTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		keys := newMemoryKeys()
		config.Keys = keys
		staging := w.addStaging(config)
		w.ca.FailValidations("example.com", 1)
		staging.FailValidations("example.com", 3)
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if n := w.count(certmanager.EventFailed); n != 4 {
			t.Fatalf("%d failures", n)
		}
		if n := keys.count("Create"); n != 4 { // two accounts, the order that failed, and the one that did not
			t.Errorf("%d keys were made", n)
		}
	})
}

// What tells nothing of the names leaves the word to the CA.
func TestDryRunThatTellsNothing(t *testing.T) {
	for name, spoil := range map[string]func(*acmetest.Server){
		"down":         func(s *acmetest.Server) { s.SetFaults(acmetest.Answer(503, "text/plain", "sorry")) },
		"hangs":        func(s *acmetest.Server) { s.SetFaults(acmetest.On("newOrder", acmetest.Delay(time.Hour))) },
		"no account":   func(s *acmetest.Server) { s.SetFaults(acmetest.On("newAccount", s.Problem(403, "unauthorized", "no"))) },
		"rate limited": func(s *acmetest.Server) { s.SetFaults(acmetest.On("newOrder", s.RateLimited("86400"))) },
		"other CAA": func(s *acmetest.Server) {
			s.SetFaults(acmetest.On("finalize", s.Problem(403, "caa", "not for staging")))
		},
		"another refuse": func(s *acmetest.Server) { s.SetFaults(acmetest.On("finalize", s.Problem(400, "badCSR", "no"))) },
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			config := w.config("example.com")
			spoil(w.addStaging(config))
			w.ca.FailValidations("example.com", 1)
			_, stop := w.start(config)
			defer stop()
			begun := time.Now()
			event := w.await(certmanager.EventObtained, "example.com", 1)
			if orders := len(w.ca.Orders()); orders != 2 || event.Time.Sub(begun) > 10*time.Minute {
				t.Errorf("%s: obtained after %v, with %d orders; want 2", name, event.Time.Sub(begun), orders)
			}
		})
	}
}

// An outage is no reason for a dry run, and neither is a refusal of another CA.
func TestNoDryRun(t *testing.T) {
	for name, spoil := range map[string]func(w *world, config certmanager.Config){
		"outage": func(w *world, _ certmanager.Config) {
			w.ca.SetFaults(acmetest.On("newOrder", acmetest.Next(5, acmetest.Answer(503, "text/plain", "sorry"))))
		},
		"no account": func(w *world, _ certmanager.Config) {
			w.ca.SetFaults(acmetest.On("newAccount", acmetest.Next(1, w.ca.Problem(403, "externalAccountRequired", "no"))))
		},
		"switched off": func(w *world, config certmanager.Config) {
			acmeOf(config).NoDryRun = true
			w.ca.FailValidations("example.com", 2)
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			config := w.config("example.com")
			staging := w.addStaging(config)
			spoil(w, config)
			_, stop := w.start(config)
			defer stop()
			w.await(certmanager.EventObtained, "example.com", 1)
			if n := len(staging.Requests()); n != 0 {
				t.Errorf("%s: staging has had requests for %d resources", name, n)
			}
		})
	}
}

// Notices are answers to dns-01 that outlive the process which has published them.
type notices struct {
	cas []*acmetest.Server

	mu   sync.Mutex
	left map[string]bool // by token
	dead bool            // the process takes nothing away
	kill func()          // the process, once it has published an answer; nil: it lives
}

func (*notices) Type() string { return acme.TypeDNS01 }

func (n *notices) Present(_ context.Context, p acme.Proof) error {
	name, value, err := p.TXTRecord()
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.left[p.Token] = true
	for _, ca := range n.cas {
		ca.SetTXT(name, value)
	}
	if n.kill != nil {
		n.kill()
		n.kill, n.dead = nil, true
		return errKilled
	}
	return nil
}

func (n *notices) CleanUp(_ context.Context, p acme.Proof) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.dead {
		return errKilled
	}
	delete(n.left, p.Token)
	return nil
}

// A process that is killed in a dry run leaves nothing published: the next one begins anew at staging, and the CA has no more
// orders than without.
func TestKilledInADryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("*.example.com")
		staging := w.addStaging(config)
		published := &notices{cas: []*acmetest.Server{w.ca, staging}, left: make(map[string]bool)}
		config.Solvers, config.Preflight = []acme.Solver{published}, certmanager.PreflightOff
		w.ca.FailValidations("*.example.com", 1)
		_, stop := w.start(config)
		w.await(certmanager.EventFailed, "*.example.com", 1)
		stop()

		dead, lost := make(chan struct{}), &storagetest.Faulty{Store: w.store}
		published.kill = func() {
			lost.SetFaults(storagetest.Fault{Err: errKilled})
			close(dead)
		}
		killed := config
		killed.Storage = lost
		m, err := certmanager.New(killed)
		if err != nil {
			t.Fatal(err)
		}
		w.runUntil(m, dead)()
		if len(published.left) != 1 {
			t.Fatalf("%d answers are left by who was killed, want 1", len(published.left))
		}
		published.dead = false

		_, stop = w.start(config)
		defer stop()
		if _, err := w.handshakeWithin("www.example.com", time.Hour); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if production, n := len(w.ca.Orders()), len(staging.Orders()); production != 2 || n != 2 {
			t.Errorf("%d orders, and %d at staging; want 2 each", production, n)
		}
		if len(published.left) != 0 {
			t.Errorf("%d answers are left", len(published.left))
		}
	})
}

// Staging has an account of its own, which is opened once for all names.
func TestAccountAtStaging(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(5)
		config := w.config(names...)
		config.Email = "admin@example.com"
		staging := w.addStaging(config)
		for _, name := range names {
			w.ca.FailValidations(name, 1)
		}
		_, stop := w.serving(config)
		defer stop()
		if n := staging.Requests()["newAccount"]; n != 1 {
			t.Errorf("%d requests for an account at staging", n)
		}
		if n := w.keys("accounts"); n != 2 {
			t.Errorf("%d accounts are stored, want 2", n)
		}
		for _, ca := range []*acmetest.Server{w.ca, staging} {
			if n := len(ca.Orders()); n != 5*2 && ca == w.ca || n != 5 && ca == staging {
				t.Errorf("%d orders", n)
			}
		}
		id := (&certmanager.ACME{DirectoryURL: stagingURL}).ID()
		item, err := w.store.Load(t.Context(), record.AccountKey(id, ""))
		if err != nil || !strings.Contains(string(item.Value), stagingURL) {
			t.Errorf("the account at staging: %s, %v", item.Value, err)
		}
	})
}
