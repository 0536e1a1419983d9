package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// issuedBy returns a configuration for certificates of the issuers.
func (w *world) issuedBy(issuers []certmanager.Issuer, names ...string) certmanager.Config {
	config := w.config(names...)
	config.Issuers = issuers
	return config
}

// served returns the ID of the issuer whose certificate a client is shown.
func served(t *testing.T, m *certmanager.Manager, name string) string {
	t.Helper()
	certificate, err := ask(t, m, name)
	if err != nil {
		t.Fatal(err)
	}
	return leafOf(t, certificate).Issuer.CommonName
}

// TestIssuerOfOnesOwn has certificates signed by what is no ACME CA: names, wildcards and addresses,
// without any proof, renewed, and found again after a restart.
func TestIssuerOfOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		names := []string{"example.com", "*.example.net", "192.0.2.1", "2001:db8::1"}
		config := w.issuedBy([]certmanager.Issuer{ca}, names...)
		m, stop := w.start(config)
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 1)
			w.await(certmanager.EventObtained, name, 2)
		}
		for _, name := range []string{"example.com", "www.example.net"} {
			if issuer := served(t, m, name); issuer != "local" {
				t.Errorf("%s is served a certificate of %q", name, issuer)
			}
		}
		stop()
		issued := ca.count()
		m, stop = w.running(config)
		defer stop()
		for _, status := range statuses(m) {
			if status.State != certmanager.StateValid || status.Issuer != "local" {
				t.Errorf("status after a restart: %+v", status)
			}
		}
		if ca.count() != issued || issued != 8 {
			t.Errorf("%d certificates, and %d after a restart; want 8 both times", issued, ca.count())
		}
	})
}

// TestIssuersInTurn has the first of two issuers fail, each with its own back-off, and come back.
func TestIssuersInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, first, second := newWorld(t), newLocalCA(t, "first"), newLocalCA(t, "second")
		first.err, second.err = &acme.Problem{Type: acme.ErrRejectedIdentifier, Detail: "first says no", Status: 400}, errClosed
		m, stop := w.start(w.issuedBy([]certmanager.Issuer{first, second}, "example.com"))
		defer stop()
		for n, issuer := range []string{"first", "second"} {
			failed := w.await(certmanager.EventFailed, "example.com", n+1)
			wait := failed.Next.Sub(failed.Time)
			if failed.Issuer != issuer || (wait >= time.Minute) != (issuer == "first") {
				t.Errorf("failure %d: %s, to try again after %v; want that of %s", n, failed.Issuer, wait, issuer)
			}
		}
		synctest.Wait()
		_, err := ask(t, m, "example.com")
		if !errors.Is(err, errClosed) || !strings.Contains(err.Error(), "first says no") {
			t.Errorf("the error does not tell of both issuers: %v", err)
		}
		second.change(func(ca *localCA) { ca.err = nil })
		if event := w.await(certmanager.EventObtained, "example.com", 1); event.Issuer != "second" {
			t.Errorf("obtained from %q", event.Issuer)
		}
		if n := failuresOf(w, "first"); n != 1 {
			t.Errorf("the first issuer was asked %d times within a minute of its refusal", n)
		}
		first.change(func(ca *localCA) { ca.err = nil })
		time.Sleep(30 * 24 * time.Hour)
		if issuer := served(t, m, "example.com"); issuer != "second" || first.count() != 0 {
			t.Errorf("a certificate of %q is served before one is due; the first issuer signed %d", issuer, first.count())
		}
		if event := w.await(certmanager.EventObtained, "example.com", 2); event.Issuer != "first" {
			t.Errorf("renewed by %q, want the first issuer", event.Issuer)
		}
		synctest.Wait()
		if issuer := served(t, m, "example.com"); issuer != "first" {
			t.Errorf("a certificate of %q is served after the renewal", issuer)
		}
	})
}

// failuresOf returns how many failures of the issuer were reported.
func failuresOf(w *world, issuer string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Kind == certmanager.EventFailed && e.Issuer == issuer {
			n++
		}
	}
	return n
}

// TestIssuerReturnsRubbish has an issuer return what can't be served: an error each time, and never a
// panic or a certificate. When it comes to its senses the certificate comes.
func TestIssuerReturnsRubbish(t *testing.T) {
	stranger := newLocalCA(t, "stranger")
	for _, test := range []struct {
		name  string
		spoil func(c *acme.Certificate)
	}{
		{"empty", func(c *acme.Certificate) { *c = acme.Certificate{} }},
		{"leaf without chain", func(c *acme.Certificate) { c.Chain = nil }},
		{"chain without leaf", func(c *acme.Certificate) { c.Leaf = nil }},
		{"empty link", func(c *acme.Certificate) { c.Chain[0] = nil }},
		{"another leaf in the chain", func(c *acme.Certificate) { c.Chain[0] = stranger.root.Raw }},
		{"garbage further up the chain", func(c *acme.Certificate) { c.Chain[1] = []byte("garbage") }},
		{"key of another", func(c *acme.Certificate) { c.Leaf = stranger.root; c.Chain = [][]byte{stranger.root.Raw} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				ca.spoil = test.spoil
				rubbish(t, w, ca)
			})
		})
	}
	t.Run("expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, ca := newWorld(t), newLocalCA(t, "local")
			ca.lifetime = -time.Hour
			rubbish(t, w, ca)
		})
	})
	t.Run("other names", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w, ca := newWorld(t), newLocalCA(t, "local")
			ca.names = []acme.Identifier{{Type: acme.TypeDNS, Value: "example.net"}}
			rubbish(t, w, ca)
		})
	})
}

// rubbish checks that what the CA issues is refused, and then makes it issue well.
func rubbish(t *testing.T, w *world, ca *localCA) {
	t.Helper()
	m, stop := w.start(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
	defer stop()
	failed := w.await(certmanager.EventFailed, "example.com", 1)
	if !strings.Contains(failed.Err.Error(), "example.com") {
		t.Errorf("the error does not name the name: %v", failed.Err)
	}
	synctest.Wait()
	if certificate, err := ask(t, m, "example.com"); certificate != nil || err == nil {
		t.Errorf("rubbish is served, or no error: %v", err)
	}
	if n := w.keys("certificates"); n != 0 {
		t.Errorf("%d records of rubbish", n)
	}
	ca.change(func(ca *localCA) { ca.spoil, ca.names, ca.lifetime = nil, nil, 90*24*time.Hour })
	w.await(certmanager.EventObtained, "example.com", 1)
	synctest.Wait()
	if issuer := served(t, m, "example.com"); issuer != "local" {
		t.Errorf("the certificate of %q is served", issuer)
	}
}

// TestIssuerChangesItsRequest has an issuer write into what it was given.
func TestIssuerChangesItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.names = []acme.Identifier{{Type: acme.TypeDNS, Value: "example.com"}}
		ca.work = func(r certmanager.Request) error {
			r.Identifiers[0].Value = "example.net"
			return nil
		}
		m, stop := w.running(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		defer stop()
		if status := statuses(m); status[0].Names[0] != "example.com" || status[0].State != certmanager.StateValid {
			t.Errorf("status: %+v", status)
		}
	})
}

// nothing is an issuer that returns neither a certificate nor an error.
type nothing struct{ *localCA }

func (n nothing) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	if n.count() > 0 {
		return n.localCA.Issue(ctx, r)
	}
	n.change(func(ca *localCA) { ca.issued++ })
	return nil, nil
}

func TestIssuerReturnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start(w.issuedBy([]certmanager.Issuer{nothing{newLocalCA(t, "nothing")}}, "example.com"))
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// TestIssuerJournal shows what an issuer gets back of its notes: those of the last attempt with the same
// key; and a new key without notes after an error that says the order is beyond help.
func TestIssuerJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		var requests []certmanager.Request
		ca.work = func(r certmanager.Request) error {
			requests = append(requests, r)
			switch len(requests) {
			case 1:
				if err := r.Record(t.Context(), []byte("ticket 1")); err != nil {
					return err
				}
				return errClosed
			case 2:
				return &acme.OrderError{Err: errClosed}
			}
			return nil
		}
		_, stop := w.start(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		w.await(certmanager.EventFailed, "example.com", 1)
		stop()
		_, stop = w.start(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if len(requests) != 3 {
			t.Fatalf("%d requests, want 3", len(requests))
		}
		public := func(i int) *ecdsa.PublicKey { return requests[i].Key.Public().(*ecdsa.PublicKey) }
		if string(requests[1].Journal) != "ticket 1" || !public(1).Equal(public(0)) {
			t.Errorf("after a failure and a restart: journal %q, the same key is %t", requests[1].Journal, public(1).Equal(public(0)))
		}
		if len(requests[2].Journal) != 0 || public(2).Equal(public(0)) {
			t.Errorf("after an OrderError: journal %q, the same key is %t", requests[2].Journal, public(2).Equal(public(0)))
		}
	})
}

// TestShorterLifetime has a CA go over from certificates of ninety days to such of six: what Renew obtains
// is served and stored though it ends earlier than what it replaces.
func TestShorterLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
		m, stop := w.start(config)
		first := w.await(certmanager.EventObtained, "example.com", 1)
		ca.change(func(ca *localCA) {
			ca.lifetime = 6 * 24 * time.Hour
			ca.work = func(certmanager.Request) error {
				if ca.count() == 20 {
					return errors.New("that is enough for today")
				}
				return nil
			}
		})
		time.Sleep(24 * time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := m.Renew(ctx, "example.com"); err != nil {
			t.Errorf("Renew: %v", err)
		}
		synctest.Wait()
		if n := ca.count(); n != 2 {
			t.Errorf("%d certificates were issued, want 2", n)
		}
		status := statusOf(t, m, "example.com")
		if status.Serial == first.Serial {
			t.Error("the certificate before is still served")
		}
		stop()
		m, stop = w.running(config)
		defer stop()
		if again := statusOf(t, m, "example.com"); again.Serial != status.Serial {
			t.Errorf("after a restart %s is served, want %s", again.Serial, status.Serial)
		}
	})
}

// A wrapper is an issuer around another, as one would write to count or to choose.
type wrapper struct {
	certmanager.Issuer
	requests func(r certmanager.Request) certmanager.Request
}

func (w wrapper) ID() string { return "wrapper" }

func (w wrapper) Unwrap() certmanager.Issuer { return w.Issuer }

func (w wrapper) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	return w.Issuer.Issue(ctx, w.requests(r))
}

// TestACMEWithinAnotherIssuer has an issuer of one's own leave the work to ACME, with all of the request
// or with what that can't do without.
func TestACMEWithinAnotherIssuer(t *testing.T) {
	for name, requests := range map[string]func(certmanager.Request) certmanager.Request{
		"whole request": func(r certmanager.Request) certmanager.Request { return r },
		"bare request": func(r certmanager.Request) certmanager.Request {
			return certmanager.Request{Identifiers: r.Identifiers, Key: r.Key, Solvers: r.Solvers, Bound: r.Bound}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made accounts
				w := newWorld(t, made.watch)
				inner := &certmanager.ACME{DirectoryURL: w.ca.URL, AgreeToTerms: true, HTTPClient: w.ca.Client()}
				issuer := wrapper{inner, requests}
				m, stop := w.serving(w.issuedBy([]certmanager.Issuer{issuer}, "example.com", "example.net"))
				defer stop()
				if status := statusOf(t, m, "example.com"); status.Issuer != "wrapper" {
					t.Errorf("status: %+v", status)
				}
				if _, err := w.handshake(t.Context(), "example.net"); err != nil {
					t.Error(err)
				}
				made.one(t)
				if _, err := m.Account("wrapper"); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
