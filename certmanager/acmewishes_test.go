package certmanager_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
)

// A countedSolver counts how often it answers.
type countedSolver struct {
	acme.Solver
	presented atomic.Int32
}

func (s *countedSolver) Unwrap() acme.Solver { return s.Solver }

func (s *countedSolver) Present(ctx context.Context, p acme.Proof) error {
	s.presented.Add(1)
	return s.Solver.Present(ctx, p)
}

// chainOf returns the certificates in PEM.
func chainOf(t *testing.T, text []byte) (chain []*x509.Certificate) {
	t.Helper()
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		parsed, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, parsed)
	}
	return chain
}

// What is wished of a CA reaches it, through an issuer around it, too, and what the Config says for all.
func TestWishesOfACME(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch, func(ca *acmetest.Server) {
			ca.Profiles = map[string]acmetest.Profile{"short": {Lifetime: 160 * time.Hour}, "shorter": {Lifetime: 100 * time.Hour}}
			ca.AlternateChains = 1
		})
		roots := w.ca.RootPEM()
		preferred := chainOf(t, roots)[1].Subject.CommonName
		own := &countedSolver{Solver: &solver.TLSALPN01{Storage: w.store}}
		config := w.issuedBy([]certmanager.Issuer{wrapper{&certmanager.ACME{
			DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client(), Profile: "short", PreferredChain: preferred, Solvers: []acme.Solver{own},
		}, same}}, "example.com")
		config.Email = "admin@example.com"
		config.Subjects = []certmanager.Subject{{Names: []string{"example.net"}, Profile: "shorter"}}
		m, stop := w.serving(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.net", 1)
		synctest.Wait()
		for name, life := range map[string]time.Duration{"example.com": 160 * time.Hour, "example.net": 100 * time.Hour} {
			served, err := ask(t, m, name)
			if err != nil {
				t.Fatal(err)
			}
			chain := chainOf(t, (&acme.Certificate{Chain: served.Certificate}).PEM())
			if got := chain[0].NotAfter.Sub(chain[0].NotBefore).Round(time.Minute); got != life {
				t.Errorf("%s: it lives %v, want %v", name, got, life)
			}
			if root := chain[len(chain)-1].Issuer.CommonName; root != preferred {
				t.Errorf("%s: the chain leads to %q, want %q", name, root, preferred)
			}
		}
		if n := own.presented.Load(); n != 2 {
			t.Errorf("the issuer's own solver has answered %d times, want 2", n)
		}
		if made.one(t); len(made.all[0].Contact) != 1 {
			t.Errorf("the account's contact is %q", made.all[0].Contact)
		}
	})
}

// A shorter life than the usual is asked for with each order.
func TestLifetimeOfACME(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		acmeOf(config).Lifetime = 7 * day
		_, stop := w.serving(config)
		defer stop()
		time.Sleep(10 * day)
		for _, leaf := range w.ca.Certificates() {
			if life := leaf.NotAfter.Sub(leaf.NotBefore); life > 7*day+time.Minute || life < 7*day-time.Minute {
				t.Errorf("it lives %v", life)
			}
		}
		if n := len(w.ca.Certificates()); n < 2 {
			t.Errorf("%d certificates in ten days", n)
		}
	})
}

// takesOnly is a CA that takes account keys for the algorithm alone.
func takesOnly(algorithm string) acmetest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var jws struct{ Protected string }
			_ = json.Unmarshal(body, &jws)
			header, _ := base64.RawURLEncoding.DecodeString(jws.Protected)
			if !strings.Contains(string(header), `"alg":"`+algorithm+`"`) {
				acmetest.Answer(400, "application/problem+json", `{"type":"urn:ietf:params:acme:error:badSignatureAlgorithm","algorithms":["EdDSA","`+algorithm+`"]}`)(next).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A CA that takes other account keys gets one, the same for all who start at once.
func TestAccountKeyThatTheCATakes(t *testing.T) {
	for _, algorithm := range []string{"RS256", "ES384"} {
		synctest.Test(t, func(t *testing.T) {
			var made accounts
			w := newWorld(t, made.watch)
			w.ca.SetFaults(acmetest.On("newAccount", takesOnly(algorithm)))
			for _, name := range siteNames(3) {
				_, stop := w.start(w.config(name))
				defer stop()
			}
			for _, name := range siteNames(3) {
				w.await(certmanager.EventObtained, name, 1)
			}
			made.one(t)
			if n := w.count(certmanager.EventFailed); n != 0 {
				t.Errorf("%s: %d attempts failed", algorithm, n)
			}
			_, item := w.record("accounts")
			if isRSA := len(item.Value) > 1500; isRSA != (algorithm == "RS256") {
				t.Errorf("%s: the record has %d bytes", algorithm, len(item.Value))
			}
		})
	}
	synctest.Test(t, func(t *testing.T) { // the account that is made is counted
		w := newWorld(t)
		w.ca.SetFaults(acmetest.On("newAccount", takesOnly("RS256")))
		config := w.config("example.com")
		limits := certmanager.Limits{NewAccounts: certmanager.Limit{Count: 10, Per: 3 * time.Hour}}
		acmeOf(config).Limits = limits
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if n := w.room(budgetKey(config, "accounts", ""), limits.NewAccounts); n != 9 {
			t.Errorf("%d new accounts are left of 10", n)
		}
	})
	synctest.Test(t, func(t *testing.T) { // of a kind that is not known here
		w := newWorld(t)
		w.ca.SetFaults(acmetest.On("newAccount", takesOnly("ML-DSA-65")))
		_, stop := w.start(w.config("example.com"))
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if !strings.Contains(failed.Err.Error(), "ML-DSA-65") {
			t.Errorf("the error is %v", failed.Err)
		}
	})
	synctest.Test(t, func(t *testing.T) { // of the kind that was refused
		w := newWorld(t)
		w.ca.SetFaults(acmetest.On("newAccount", acmetest.Answer(400, "application/problem+json", `{"type":"urn:ietf:params:acme:error:badSignatureAlgorithm","algorithms":["ES256"]}`)))
		_, stop := w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		_, before := w.record("accounts")
		time.Sleep(48 * time.Hour)
		if _, after := w.record("accounts"); !bytes.Equal(before.Value, after.Value) {
			t.Error("the account's key is replaced by another of its kind")
		}
	})
}

// The next issuer is asked when the one before it has failed so often; at once if that fails for all.
func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t)
		c.fail("first", refusal("not for you"))
		config := c.config(new(storage.Memory), "example.com")
		config.Failover = 3
		m, stop := runQuietly(t, config)
		defer stop()
		time.Sleep(time.Minute - time.Second)
		c.wantAsked(t, "at first", "first")
		time.Sleep(2 * time.Minute)
		c.wantAsked(t, "after a minute", "first first")
		time.Sleep(15 * time.Minute)
		c.wantAsked(t, "after ten minutes more", "first first first second")
		if s := statusOf(t, m, "example.com"); s.Issuer != "second" {
			t.Errorf("a certificate of %q", s.Issuer)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t)
		c.fail("first", &certmanager.UnavailableError{Err: refusal("nobody at all")})
		config := c.config(new(storage.Memory), "example.com")
		config.Failover = 3
		_, stop := runQuietly(t, config)
		defer stop()
		time.Sleep(time.Second)
		c.wantAsked(t, "at once", "first second")
	})
	synctest.Test(t, func(t *testing.T) {
		c := newChain(t)
		c.fail("first", &acme.Problem{Type: acme.ErrRateLimited, Status: http.StatusTooManyRequests, RetryAfter: 7 * day})
		c.fail("second", refusal("not for you"))
		config := c.config(new(storage.Memory), "example.com")
		config.Failover = 3
		_, stop := runQuietly(t, config)
		time.Sleep(30 * time.Second)
		stop()
		c.wantAsked(t, "at a limit of a week", "first second")
		_, stop = runQuietly(t, config)
		defer stop()
		time.Sleep(2 * time.Minute)
		c.wantAsked(t, "after a restart", "first second second")
	})
}

// A CA whose limit is reached is left alone for as long as it says, and the next one issues meanwhile.
func TestFirstCAIsRateLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := siteNames(20)
		config := w.config(names...)
		second := w.addStaging(config)
		config.Issuers = append(config.Issuers, acmeOf(config).Staging)
		acmeOf(config).Staging = nil
		w.ca.SetFaults(acmetest.On("newOrder", w.ca.RateLimited("86400")))
		_, stop := w.serving(config)
		defer stop()
		if n := len(second.Certificates()); n != len(names) {
			t.Errorf("the second CA has issued %d certificates, want %d", n, len(names))
		}
		if n := w.newOrders(); n > 8 {
			t.Errorf("the first was asked for %d orders", n)
		}
		asked := w.newOrders()
		time.Sleep(23 * time.Hour)
		if n := w.newOrders(); n != asked {
			t.Errorf("the first was asked for %d orders before its time", n-asked)
		}
	})
}

// A CA takes other account keys, and fails to make the account then. The key, which is kept elsewhere, is used when it can, and
// by others that begin meanwhile; the next one is of its kind.
func TestAccountKeyElsewhereThatTheCATakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made accounts
		w := newWorld(t, made.watch)
		takes := takesOnly("ES384")
		w.ca.SetFaults(acmetest.On("newAccount", func(next http.Handler) http.Handler {
			return takes(acmetest.Answer(http.StatusServiceUnavailable, "text/plain", "busy")(next))
		}))
		config, keys := w.withKeys("example.com")
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		w.ca.SetFaults(acmetest.On("newAccount", takes))
		second := config
		second.Names = []string{"example.net"}
		_, stopSecond := w.start(second)
		defer stopSecond()
		time.Sleep(time.Hour)
		if n := w.count(certmanager.EventObtained); n != 2 {
			t.Fatalf("%d certificates were obtained, want 2: %v", n, w.await(certmanager.EventFailed, "example.com", 2).Err)
		}
		made.one(t)
		if err := accountOf(t, m).ChangeKey(t.Context()); err != nil {
			t.Fatal(err)
		}
		if key := string(made.latest(t).Key); !strings.Contains(key, "P-384") {
			t.Errorf("the key is changed to one of another kind: %s", key)
		}
		if n := checkNoLeak(t, w.store, keys.references(), "after ChangeKey"); n != 3 {
			t.Errorf("%d keys are left, want those of two certificates and the account", n)
		}
	})
}
