package certmanager_test

import (
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// asked returns how many requests the CA has had.
func (w *world) asked() (n int) {
	for _, count := range w.ca.Requests() {
		n += count
	}
	return n
}

// TestRefusedRegistration has the CA refuse the account of fifty names, for several reasons. One asks, all are told, and
// all have their certificate soon after it is made.
func TestRefusedRegistration(t *testing.T) {
	for _, test := range []struct {
		name  string
		spoil func(*world, *certmanager.Config)
		most  int // requests in 20 s
		says  error
	}{
		{"external account", func(w *world, _ *certmanager.Config) {
			w.ca.SetFaults(acmetest.On("newAccount", w.ca.Problem(403, "externalAccountRequired", "who are you?")))
		}, 3, acme.ErrExternalAccountRequired},
		{"contact", func(w *world, _ *certmanager.Config) {
			w.ca.SetFaults(acmetest.On("newAccount", w.ca.Problem(400, "invalidContact", "no such domain")))
		}, 3, acme.ErrInvalidContact},
		{"terms", func(_ *world, c *certmanager.Config) { c.AgreeToTerms = false }, 1, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				names := siteNames(50)
				config := w.config(names...)
				test.spoil(w, &config)
				_, stop := w.running(config)
				defer stop()
				time.Sleep(20 * time.Second)
				if n := w.asked(); n > test.most {
					t.Errorf("%d requests in 20 s, want %d: %v", n, test.most, w.ca.Requests())
				}
				failed := w.firstFailure()
				var unavailable *certmanager.UnavailableError
				if !errors.As(failed.Err, &unavailable) || test.says != nil && !errors.Is(failed.Err, test.says) || !strings.Contains(failed.Err.Error(), "(account at "+w.ca.URL) {
					t.Errorf("the error is %v", failed.Err)
				}
				if wait := failed.Next.Sub(failed.Time); wait < time.Minute || wait > 75*time.Second {
					t.Errorf("the next attempt is due after %v, want 60 to 75 s", wait)
				}
				time.Sleep(10 * time.Hour)
				if n := w.asked(); n > test.most+10 {
					t.Errorf("%d requests in ten hours: %v", n, w.ca.Requests())
				}
				if test.says == nil {
					return
				}
				w.ca.SetFaults()
				for _, name := range names {
					w.await(certmanager.EventObtained, name, 1)
				}
				if n := w.ca.Requests()["newAccount"]; n > 10 {
					t.Errorf("%d requests for an account", n)
				}
			})
		})
	}
}

// TestThousandNamesWhileTheCAIsDown counts the requests of the first minute, and of ten.
func TestThousandNamesWhileTheCAIsDown(t *testing.T) {
	for _, registered := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			if registered {
				w.obtainOnce("first.example.com")
			}
			names := siteNames(1000)
			switch {
			case raceDetector:
				names = names[:50] // an attempt of each in each minute would be as much beyond all bounds
			case registered:
				names = names[:200] // the same, and a start that has the account
			}
			before := w.asked()
			w.ca.SetFaults(acmetest.Answer(http.StatusServiceUnavailable, "text/html", "<h1>we are sorry</h1>"))
			m, stop := w.running(w.config(names...))
			defer stop()
			time.Sleep(59 * time.Second)
			if n := w.asked() - before; n > 8+1 {
				t.Errorf("registered %v: %d requests in the first minute, want 9 at most", registered, n)
			}
			time.Sleep(9 * time.Minute)
			if n := w.asked() - before; n > 8+1+10 {
				t.Errorf("registered %v: %d requests in ten minutes, want 19 at most", registered, n)
			}
			if n := w.count(certmanager.EventObtaining); n > 100 {
				t.Errorf("registered %v: %d attempts were announced, though one a minute is made", registered, n)
			}
			w.ca.SetFaults()
			repaired := time.Now()
			if err := m.Wait(t.Context()); err != nil || time.Since(repaired) > 5*time.Minute {
				t.Errorf("registered %v: all were obtained %v after the outage: %v", registered, time.Since(repaired), err)
			}
		})
	}
}

// TestLimitOfTheAccount has the CA take five orders at once and one more every 36 minutes. Each name has its turn, and is
// not put off for a day for what is the account's.
func TestLimitOfTheAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) { ca.RateLimits.NewOrders = acmetest.Limit{Count: 5, Per: 3 * time.Hour} })
		names := siteNames(40)
		began := time.Now()
		_, stop := w.running(w.config(names...))
		defer stop()
		time.Sleep(35 * time.Minute)
		if n := w.newOrders(); n > len(names) {
			t.Errorf("%d orders were asked for before there was room for one more", n)
		}
		for _, name := range names {
			if took := w.await(certmanager.EventObtained, name, 1).Time.Sub(began); took > 24*time.Hour {
				t.Errorf("%s was obtained after %v", name, took)
			}
		}
	})
}

// TestLimitOfAName has the CA refuse one name for days, in words that do not tell it.
func TestLimitOfAName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
			front.answerWith(nil)
			response := reply(r, http.StatusTooManyRequests, "application/problem+json",
				`{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many certificates (5) already issued for this exact set of identifiers in the last 168h0m0s"}`)
			response.Header.Set("Retry-After", "200000")
			return response, nil
		}))
		config := w.config(siteNames(20)...)
		acmeOf(config).HTTPClient = front.client()
		_, stop := w.running(config)
		defer stop()
		time.Sleep(10 * time.Second)
		if obtained, failed := w.count(certmanager.EventObtained), w.count(certmanager.EventFailed); obtained != 19 || failed != 1 {
			t.Errorf("%d were obtained, %d failed; want 19 and 1", obtained, failed)
		}
	})
}

// TestChangedTerms has the CA want its account to agree anew, in the middle of its work.
func TestChangedTerms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("first.example.com")
		w.ca.SetFaults(acmetest.On("newOrder", w.ca.Problem(403, "userActionRequired", "the terms have changed")))
		names := siteNames(50)
		_, stop := w.running(w.config(names...))
		defer stop()
		time.Sleep(50 * time.Second)
		if n := w.newOrders(); n > 1+8 {
			t.Errorf("%d orders were asked for, want 8 at most", n-1)
		}
		w.ca.SetFaults()
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 1)
		}
	})
}

// deactivateAccount ends the account that is stored, as from another machine, and returns its storage key.
func (w *world) deactivateAccount() (key string, item storage.Item) {
	w.t.Helper()
	key, item = w.record("accounts")
	var rec struct{ Key, URL string }
	if err := json.Unmarshal(item.Value, &rec); err != nil {
		w.t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(rec.Key))
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		w.t.Fatal(err)
	}
	client := &acme.Client{DirectoryURL: w.ca.URL, HTTPClient: w.ca.Client(), Key: parsed.(crypto.Signer), AccountURL: rec.URL}
	if err := client.DeactivateAccount(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return key, item
}

// keys returns the keys of the accounts that the CA has seen.
func (a *accounts) keys() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	keys := make(map[string]bool)
	for _, account := range a.all {
		keys[string(account.Key)] = true
	}
	return keys
}

// firstFailure returns the first failure that was reported, of whichever name.
func (w *world) firstFailure() certmanager.Event {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.Kind == certmanager.EventFailed {
			return e
		}
	}
	w.t.Fatal("no failure was reported")
	return certmanager.Event{}
}

// TestDeactivatedAccount has the account deactivated while fifty names are to be obtained: the error says what to do,
// and doing it helps, without a restart.
func TestDeactivatedAccount(t *testing.T) {
	for _, running := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var made accounts
			w := newWorld(t, made.watch)
			names := siteNames(50)
			m, stop := w.serving(w.config("first.example.com"))
			if !running {
				stop()
			}
			key, item := w.deactivateAccount()
			before := w.newOrders()
			if running {
				for _, name := range names {
					if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
						t.Fatal(err)
					}
				}
			} else {
				_, stop = w.running(w.config(append(names, "first.example.com")...))
			}
			defer stop()
			time.Sleep(50 * time.Second)
			most := 8
			if running {
				most = len(names) // the CA has answered before: nobody is kept back
			}
			if n := w.newOrders() - before; n > most {
				t.Errorf("running %v: %d orders were asked for, want %d at most", running, n, most)
			}
			failed := w.firstFailure()
			if !strings.Contains(failed.Err.Error(), "delete the stored record "+key) {
				t.Fatalf("the error does not say which record to delete: %v", failed.Err)
			}
			if text := failed.Err.Error(); strings.Count(text, "deactivated") > 2 || strings.Contains(text, "register a new key") {
				t.Errorf("the error says two cures, or one twice: %v", failed.Err)
			}
			if err := w.store.Delete(t.Context(), key, item.Revision); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if took := w.await(certmanager.EventObtained, name, 1).Time.Sub(failed.Time); took > 5*time.Minute {
					t.Fatalf("running %v: %s was obtained %v after the record was deleted", running, name, took)
				}
			}
			if n := len(made.keys()); n != 2 {
				t.Errorf("running %v: %d accounts were made, want 2", running, n)
			}
		})
	}
}

// TestOrderForADomainThatTheAccountMayNotHave is unauthorized, too, and the name's alone.
func TestOrderForADomainThatTheAccountMayNotHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("first.example.com")
		w.ca.SetFaults(acmetest.On("newOrder", acmetest.Next(1, w.ca.Problem(403, "unauthorized", "not a domain of yours"))))
		_, stop := w.running(w.config(siteNames(8)...))
		defer stop()
		time.Sleep(10 * time.Second)
		if obtained, failed := w.count(certmanager.EventObtained), w.count(certmanager.EventFailed); obtained != 8 || failed != 1 {
			t.Errorf("%d were obtained, %d failed; want 8, one of them before, and 1", obtained, failed)
		}
	})
}
