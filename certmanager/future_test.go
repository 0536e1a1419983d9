package certmanager_test

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

const year9000 = "9000-01-02T03:04:05Z"

// alter replaces what a pattern matches, which it must, in the one record below the prefix.
func (w *world) alter(prefix, pattern, replacement string) {
	w.t.Helper()
	key, item := w.record(prefix)
	expression := regexp.MustCompile(pattern)
	if !expression.Match(item.Value) {
		w.t.Fatalf("%q is not in %q", pattern, item.Value)
	}
	if _, err := w.store.Save(w.t.Context(), key, expression.ReplaceAll(item.Value, []byte(replacement)), item.Revision); err != nil {
		w.t.Fatal(err)
	}
}

// TestWorkInTheYear9000 has the work's record name instants that no attempt can have led to.
func TestWorkInTheYear9000(t *testing.T) {
	for _, member := range []string{"next", "failed", "next|failed"} { // the first attempt fails for a minute
		synctest.Test(t, func(t *testing.T) {
			w, ca := newWorld(t), newLocalCA(t, "local")
			ca.err = &acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400}
			config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
			_, stop := w.start(config)
			w.await(certmanager.EventFailed, "example.com", 1)
			stop()
			ca.err = nil
			w.alter("work", `"(`+member+`)":"[^"]*"`, `"$1":"`+year9000+`"`)
			_, stop = w.running(config)
			defer stop()
			time.Sleep(50 * time.Second)
			if n := w.count(certmanager.EventObtained); n != 1 {
				t.Errorf("%s: %d certificates within a minute", member, n)
			}
		})
	}
}

// TestLeaseOfAThousandYears has another process have taken the lease for that long, and be killed.
func TestLeaseOfAThousandYears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
		ctx, die := context.WithCancel(t.Context())
		if _, err := storage.Acquire(ctx, w.store, "work/local/example.com/ecdsa-p256", time.Minute); err != nil {
			t.Fatal(err)
		}
		die()
		w.alter("work", `"owner":"[^"]*"`, `"owner":"another-machine"`)
		w.alter("work", `"term":"[^"]*"`, `"term":"2562047h"`)
		_, stop := w.running(config)
		defer stop()
		time.Sleep(2 * time.Hour)
		if n := w.count(certmanager.EventObtained); n != 1 {
			t.Errorf("%d certificates after two hours", n)
		}
	})
}

// TestObtainedInTheYear9000 has a stored certificate say that it was obtained then. What comes later is newer, whoever
// issued it, here and in other processes; and it is renewed as any other.
func TestObtainedInTheYear9000(t *testing.T) {
	for _, year := range []string{"9000", "2200", "2001", "0001"} {
		synctest.Test(t, func(t *testing.T) {
			w, first, second := newWorld(t), newLocalCA(t, "first"), newLocalCA(t, "second")
			firstAlone, both := w.issuedBy([]certmanager.Issuer{first}, "example.com"), w.issuedBy([]certmanager.Issuer{first, second}, "example.com")
			_, stop := w.serving(firstAlone)
			stop()
			w.alter("certificates", `"obtained":"[^"]*"`, `"obtained":"`+year+`-01-02T03:04:05Z"`)
			first.err = &acme.Problem{Type: acme.ErrRejectedIdentifier, Status: 400}

			m, stop := w.running(both)
			other, stopOther := w.running(both)
			if second.count() > 0 || served(t, m, "example.com") != "first" {
				t.Errorf("%s: renewed at once", year)
			}
			if err := m.Renew(t.Context(), "example.com"); err != nil || served(t, m, "example.com") != "second" {
				t.Errorf("%s: Renew: %v, served is that of the %s", year, err, served(t, m, "example.com"))
			}
			time.Sleep(63 * day) // the renewals of both certificates, which are one
			if by := served(t, other, "example.com"); by != "second" || second.count() != 2 {
				t.Errorf("%s: the other process serves that of the %s, %d were issued", year, by, second.count())
			}
			stop()
			stopOther()
			m, stop = w.running(both)
			if by := served(t, m, "example.com"); by != "second" {
				t.Errorf("%s: after a restart that of the %s is served", year, by)
			}
			time.Sleep(5 * day)
			if n := second.count(); n != 2 || w.count(certmanager.EventWarning) > 0 {
				t.Errorf("%s: %d certificates, %d warnings", year, n, w.count(certmanager.EventWarning))
			}
			stop()
		})
	}
}

// TestBackdatedAndObtainedInTheYear9000 is renewed at once, as nothing better is known, and then as any other.
func TestBackdatedAndObtainedInTheYear9000(t *testing.T) {
	for _, year := range []string{"9000", "2200"} {
		synctest.Test(t, func(t *testing.T) {
			w, ca := newWorld(t), newDatedCA(t, -13*time.Hour, 11*time.Hour)
			config, _ := ca.from(w)
			_, stop := w.serving(config)
			stop()
			w.alter("certificates", `"obtained":"[^"]*"`, `"obtained":"`+year+`-01-02T03:04:05Z"`)
			_, stop = w.start(config)
			defer stop()
			time.Sleep(5 * time.Hour)
			if n := ca.count(); n != 2 {
				t.Errorf("%s: %d certificates, want one more", year, n)
			}
		})
	}
}

// TestFinalizedInTheYear9000 has the notes of an order say so that the CA processes for ever: it is given up nevertheless.
func TestFinalizedInTheYear9000(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(forgetsFirstOrder())
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventFailed, "example.com", 1)
		stop()
		w.alter("work", `"finalizedAt":"[^"]*"`, `"finalizedAt":"`+year9000+`"`)
		_, stop = w.start(w.config("example.com"))
		defer stop()
		time.Sleep(90 * time.Minute)
		if n := w.count(certmanager.EventObtained); n != 1 || len(w.ca.Orders()) != 2 {
			t.Errorf("%d certificates, %d orders", n, len(w.ca.Orders()))
		}
	})
}

// TestAccountHasNoInstants: whatever is found in an account's record beside what it has, no time in it can put off anything.
func TestAccountHasNoInstants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("example.com")
		w.alter("accounts", `^\{`, `{"created":"`+year9000+`","next":"`+year9000+`",`)
		_, stop := w.running(w.config("example.net"))
		defer stop()
		time.Sleep(time.Minute)
		if n := w.count(certmanager.EventObtained); n != 2 {
			t.Errorf("%d certificates", n)
		}
	})
}

// TestBudgetInTheYear9000 has the record of how often the CA was asked say so that nothing is left until then.
func TestBudgetInTheYear9000(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		acmeOf(config).Limits = certmanager.Limits{NewOrders: certmanager.Limit{Count: 10, Per: time.Hour}}
		_, stop := w.serving(config)
		stop()
		w.alter("budgets", `"(full|since)":"[^"]*"`, `"$1":"`+year9000+`"`)
		config.Names = []string{"example.net"}
		_, stop = w.running(config)
		defer stop()
		time.Sleep(time.Minute)
		if n := w.count(certmanager.EventObtained); n != 2 {
			t.Errorf("%d certificates", n)
		}
	})
}

// TestDateInTheFuture has the CA's answers be of the year 9000, with a Retry-After that is a date.
func TestDateInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
			response := reply(r, http.StatusForbidden, "application/problem+json", `{"type":"urn:ietf:params:acme:error:unauthorized","detail":"later"}`)
			response.Header.Set("Retry-After", "Thu, 02 Jan 9000 03:04:05 GMT")
			return response, nil
		}))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if wait := failed.Next.Sub(failed.Time); wait > 8*day || !strings.Contains(failed.Err.Error(), "later") {
			t.Errorf("the next attempt is due after %v: %v", wait, failed.Err)
		}
	})
}
