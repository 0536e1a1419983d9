package certmanager_test

import (
	"context"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage/storagetest"
)

const week = 7 * 24 * time.Hour

// A limitedCA counts what the world's CA refuses for a limit.
type limitedCA struct {
	*front

	mu      sync.Mutex
	refused []string
}

// limited gives the CA limits, and the configuration the same, and returns what refuses are counted by.
func (w *world) limited(config certmanager.Config, limits certmanager.Limits) *limitedCA {
	w.ca.RateLimits = acmetest.RateLimits{
		NewOrders: acmetest.Limit(limits.NewOrders), Certificates: acmetest.Limit(limits.CertificatesPerDomain),
		SameCertificates: acmetest.Limit(limits.CertificatesPerSet), FailedAuthorizations: acmetest.Limit(limits.Failures),
	}
	l := &limitedCA{front: w.front()}
	acmeOf(config).Limits, acmeOf(config).HTTPClient = limits, &http.Client{Transport: l}
	return l
}

func (l *limitedCA) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.front.RoundTrip(r)
	if err == nil && response.StatusCode == http.StatusTooManyRequests {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused = append(l.refused, resource(r))
	}
	return response, err
}

// wantNone fails the test if anything was refused.
func (l *limitedCA) wantNone(t *testing.T) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.refused) > 0 {
		t.Errorf("the CA has refused %d requests for its limits: %v", len(l.refused), l.refused)
	}
}

// Of more new names than the CA grants, some wait: each is told when it is due, in words and in time, spaced as tokens come
// back; meanwhile the storage is not asked, and the CA refuses none.
func TestNewNamesWaitForTheirTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := new(storagetest.Faulty)
		config := w.config(manyNames("site%d.example.com", 30)...)
		config.Storage, config.OnEvent, config.Preflight = store, nil, certmanager.PreflightOff
		config.SweepInterval = -1
		limits := certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 20, Per: 20 * time.Hour}}
		ca := w.limited(config, limits)
		m, stop := w.start(config)
		defer stop()
		awaitValid(t, m, 18) // a tenth is left to renewals
		time.Sleep(time.Minute)
		synctest.Wait()
		var due []time.Time
		for _, s := range statuses(m) {
			if s.State == certmanager.StateValid {
				continue
			}
			due = append(due, s.Next)
			want := "ca.example.com grants 20 certificates in 20 hours for names of example.com; the next one is due at " + s.Next.UTC().Format(time.RFC3339)
			want = strings.Replace(want, "ca.example.com", "acmetest.invalid", 1)
			if s.Reason != certmanager.ReasonBudget || !strings.Contains(s.Deferred, want) || s.Attempts != 0 || s.Failure != nil {
				t.Errorf("%s: %s, %q, want %q; %d attempts, %v", s.Names[0], s.Reason, s.Deferred, want, s.Attempts, s.Failure)
			}
		}
		slices.SortFunc(due, time.Time.Compare)
		for i, at := range due {
			if !at.After(time.Now()) || i > 0 && at.Sub(due[i-1]) < time.Hour {
				t.Errorf("the slots are %v", due)
				break
			}
		}
		calls := store.Calls(storagetest.Load | storagetest.Writes)
		time.Sleep(50 * time.Minute)
		if n := store.Calls(storagetest.Load|storagetest.Writes) - calls; len(due) != 12 || n != 0 {
			t.Errorf("%d names wait, and the storage was called %d times in 50 minutes", len(due), n)
		}
		time.Sleep(15 * time.Hour)
		if n := valid(m); n != 30 {
			t.Errorf("15 hours later there are %d certificates, want all", n)
		}
		ca.wantNone(t)
	})
}

// One domain that is exhausted holds up no other, and callers of Renew may take what is left to the urgent.
func TestOtherDomainsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config(manyNames("site%d.example.com", 30)...)
		config.OnEvent = nil
		ca := w.limited(config, certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 20, Per: week}})
		m, stop := w.start(config)
		defer stop()
		awaitValid(t, m, 18)
		if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
			t.Fatal(err)
		}
		if took := awaitValid(t, m, 19); took > time.Minute {
			t.Errorf("a name of another domain has its certificate after %v", took)
		}
		renewed := 0
		for _, s := range statuses(m) {
			if s.State == certmanager.StateValid || renewed == 3 {
				continue
			}
			err := m.Renew(t.Context(), s.Names[0])
			if renewed++; (err == nil) != (renewed <= 2) || err != nil && !strings.Contains(err.Error(), "grants 20 certificates a week for names of example.com") {
				t.Errorf("Renew number %d: %v", renewed, err)
			}
		}
		ca.wantNone(t)
	})
}

// room returns how many tokens the urgent find in the budget of the record.
func (w *world) room(key string, limit certmanager.Limit) int {
	w.t.Helper()
	item, err := w.store.Load(w.t.Context(), key)
	if err != nil {
		return limit.Count
	}
	b, err := record.DecodeBudget(item.Value)
	if err != nil {
		w.t.Fatal(err)
	}
	return budget.Limit(limit).Room(budget.Bucket(b), budget.Urgent, time.Now())
}

// budgetKey returns the key of a budget of the configuration's issuer.
func budgetKey(config certmanager.Config, which, what string) string {
	return record.BudgetKey(record.AccountKey(acmeOf(config).ID(), ""), which, what)
}

// What an order that fails has taken is given back, unless the CA has counted it, and a failed validation is counted.
func TestFailedOrderGivesBack(t *testing.T) {
	limits := certmanager.Limits{
		NewOrders: certmanager.Limit{Count: 300, Per: 3 * time.Hour}, CertificatesPerDomain: certmanager.Limit{Count: 50, Per: week},
		CertificatesPerSet: certmanager.Limit{Count: 5, Per: week}, Failures: certmanager.Limit{Count: 5, Per: time.Hour},
	}
	for name, test := range map[string]struct {
		fail                          func(*world, *limitedCA)
		orders, domain, set, failures int // taken
	}{
		"validation": {func(w *world, _ *limitedCA) { w.ca.FailValidations("www.example.com", 1) }, 1, 0, 0, 1},
		"refusal":    {func(w *world, _ *limitedCA) { w.ca.Refuse("www.example.com") }, 0, 0, 0, 0},
		"outage": {func(w *world, l *limitedCA) {
			l.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
				return reply(r, http.StatusBadGateway, "text/html", ""), nil
			}))
		}, 1, 0, 0, 0},
		"limit": {func(w *world, l *limitedCA) {
			l.answerWith(only("newOrder", limitedFor("too many certificates (50) already issued for \"example.com\" in the last 168h0m0s")))
		}, 0, 50, 0, 0},
		"issuance": {func(w *world, l *limitedCA) { w.ca.SetFaults(w.ca.FailIssuance("serverInternal", "no")) }, 1, 1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				config := w.config("www.example.com")
				ca := w.limited(config, limits)
				test.fail(w, ca)
				_, stop := w.start(config)
				defer stop()
				w.await(certmanager.EventFailed, "www.example.com", 1)
				synctest.Wait()
				for _, want := range []struct {
					key   string
					limit certmanager.Limit
					taken int
				}{
					{budgetKey(config, "orders", ""), limits.NewOrders, test.orders}, {budgetKey(config, "domain", "example.com"), limits.CertificatesPerDomain, test.domain},
					{budgetKey(config, "set", record.SetName(config.Names)), limits.CertificatesPerSet, test.set},
					{budgetKey(config, "failures", "www.example.com"), limits.Failures, test.failures},
				} {
					got := want.limit.Count - w.room(want.key, want.limit)
					if strings.HasSuffix(want.key, "/orders") {
						got = min(got, test.orders) // a fast one is kept for whoever asks next
					}
					if got != want.taken {
						t.Errorf("%s: %d taken, want %d", want.key, got, want.taken)
					}
				}
			})
		})
	}
}

// However slow the storage is, a token is known to have been taken when it was, and is given back.
func TestSlowStorageGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: time.Second, Prefix: "budgets"})
		config := w.config("www.example.com")
		config.Storage = store
		limits := certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 50, Per: week}, CertificatesPerSet: certmanager.Limit{Count: 5, Per: week}}
		w.limited(config, limits)
		w.ca.Refuse("www.example.com")
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "www.example.com", 1)
		synctest.Wait()
		for key, limit := range map[string]certmanager.Limit{
			budgetKey(config, "domain", "example.com"):             limits.CertificatesPerDomain,
			budgetKey(config, "set", record.SetName(config.Names)): limits.CertificatesPerSet,
		} {
			if n := w.room(key, limit); n != limit.Count {
				t.Errorf("%s: %d are left of %d", key, n, limit.Count)
			}
		}
	})
}

// A storage whose answer is lost when a token is given back does not get it twice.
func TestGivenBackOnce(t *testing.T) {
	for _, kind := range []storagetest.Kind{storagetest.Fail, storagetest.Lost, storagetest.Twice} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			store := &storagetest.Faulty{Store: w.store}
			config := w.config("www.example.com")
			config.Storage = store
			limit := certmanager.Limit{Count: 50, Per: week}
			w.limited(config, certmanager.Limits{CertificatesPerDomain: limit})
			w.ca.Refuse("refused.example.com")
			m, stop := w.start(config)
			defer stop()
			w.await(certmanager.EventObtained, "www.example.com", 1)
			store.SetFaults(storagetest.Fault{Kind: kind, On: storagetest.Save, Prefix: "budgets", After: 1, Times: 1})
			if err := m.Manage(certmanager.Subject{Names: []string{"refused.example.com"}}); err != nil {
				t.Fatal(err)
			}
			w.await(certmanager.EventFailed, "refused.example.com", 1)
			synctest.Wait()
			if n := w.room(budgetKey(config, "domain", "example.com"), limit); n != 49 {
				t.Errorf("%v: %d are left of 50 after one certificate", kind, n)
			}
		})
	}
}

// A record of failed validations that a later release has written keeps no name from being asked for again.
func TestBudgetOfALaterRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("www.example.com")
		acmeOf(config).NoDryRun = true
		w.limited(config, certmanager.Limits{Failures: certmanager.Limit{Count: 5, Per: time.Hour}})
		w.ca.FailValidations("www.example.com", 1)
		if _, err := w.store.Save(t.Context(), budgetKey(config, "failures", "www.example.com"), []byte(`{"version":2}`), ""); err != nil {
			t.Fatal(err)
		}
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "www.example.com", 1)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := w.count(certmanager.EventObtained); n != 1 {
			t.Errorf("an hour after a failure %d certificates are obtained", n)
		}
	})
}

// However many validations have failed, a storage that hangs holds up the end of an attempt no longer than one call.
func TestFailuresThatCannotBeCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &storagetest.Faulty{Store: w.store}
		defer store.Release()
		store.SetFaults(storagetest.Fault{Kind: storagetest.Hang, Prefix: "budgets"})
		config := w.config()
		config.Storage, config.Names = store, nil
		config.Subjects = []certmanager.Subject{{Names: manyNames("site%d.example.com", 20)}}
		w.limited(config, certmanager.Limits{Failures: certmanager.Limit{Count: 5, Per: time.Hour}})
		for _, name := range config.Subjects[0].Names {
			w.ca.FailValidations(name, 1)
		}
		begun := time.Now()
		_, stop := w.start(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "site0.example.com", 1)
		if took := failed.Time.Sub(begun); took > time.Minute {
			t.Errorf("it has failed after %v", took)
		}
	})
}

// limitedFor refuses for a limit of which the next comes in ten hours.
func limitedFor(detail string) func(r *http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		response := reply(r, http.StatusTooManyRequests, "application/problem+json", fmt.Sprintf(`{"type":"urn:ietf:params:acme:error:rateLimited","detail":%q}`, detail))
		response.Header.Set("Retry-After", "36000")
		return response, nil
	}
}

// A limit that one member runs into is known to the other, which does not ask.
func TestLimitIsKnownToAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("first.example")
		ca := w.limited(config, certmanager.Limits{NewOrders: certmanager.Limit{Count: 300, Per: 3 * time.Hour}})
		ca.answerWith(only("newOrder", limitedFor("too many new orders (300) from this account in the last 3h0m0s: see https://letsencrypt.org/docs/rate-limits/#new-orders-per-account")))
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "first.example", 1)
		ca.answerWith(nil)
		asked, at := w.newOrders(), time.Now()

		config.Names = []string{"second.example"}
		m, stopOther := w.running(config)
		defer stopOther()
		s := statusOf(t, m, "second.example")
		if s.Reason != certmanager.ReasonBudget || s.Next.Sub(at) < 10*time.Hour {
			t.Errorf("the other member: %s until %v, %q", s.Reason, s.Next.Sub(at), s.Deferred)
		}
		if n := w.newOrders(); n != asked {
			t.Errorf("it has asked the CA %d times", n-asked)
		}
		w.await(certmanager.EventObtained, "second.example", 1)
	})
}

// An aliased transport has the directory of the world's CA at another URL.
type aliased struct {
	http.RoundTripper
	url string
}

func (a aliased) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != a.url {
		return a.RoundTripper.RoundTrip(r)
	}
	directory := r.Clone(r.Context())
	directory.URL.Host, directory.Host, directory.URL.Path = "acmetest.invalid", "", "/directory"
	return a.RoundTripper.RoundTrip(directory)
}

// asLetsEncrypt gives the world's CA the directory, and so the limits, of Let's Encrypt.
func (w *world) asLetsEncrypt(config certmanager.Config) {
	a := acmeOf(config)
	a.DirectoryURL, a.NoDryRun = acme.LetsEncrypt, true
	a.HTTPClient = &http.Client{Transport: aliased{w.ca.Client().Transport, acme.LetsEncrypt}}
}

// letsEncrypt starts a manager of a name whose CA has Let's Encrypt's directory and limits. Calls returns which budgets were asked
// for or written since it was called last.
func (w *world) letsEncrypt(name string) (m *certmanager.Manager, ca *limitedCA, calls func() []string, stop func()) {
	w.t.Helper()
	log := &callLog{Store: w.store}
	config := w.asking(name)
	config.Storage, config.SweepInterval = log, -1
	ca = w.limited(config, certmanager.Limits{
		NewOrders: certmanager.Limit{Count: 300, Per: 3 * time.Hour}, CertificatesPerDomain: certmanager.Limit{Count: 50, Per: week},
		CertificatesPerSet: certmanager.Limit{Count: 5, Per: week}, Failures: certmanager.Limit{Count: 5, Per: time.Hour},
	})
	w.asLetsEncrypt(config)
	acmeOf(config).HTTPClient = &http.Client{Transport: aliased{ca, acme.LetsEncrypt}}
	m, stop = w.serving(config)
	calls = func() (all []string) {
		for _, call := range log.take() {
			if strings.HasSuffix(call, " budgets") {
				all = append(all, call)
			}
		}
		return all
	}
	if n := len(calls()); n != 4 { // account, orders, domain, set
		w.t.Errorf("the first certificate costs %d calls for budgets, want 4", n)
	}
	return m, ca, calls, stop
}

// A renewal in the window that Let's Encrypt suggests for it, which says what it replaces, costs none of the limits, and no call
// of the storage.
func TestRenewalInItsWindowIsExempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ca, calls, stop := w.letsEncrypt("example.com")
		defer stop()
		serial, ok := new(big.Int).SetString(statusOf(t, m, "example.com").Serial, 16)
		if !ok {
			t.Fatal("the serial number is no number")
		}
		w.ca.SetRenewalInfo(serial, acmetest.RenewalInfo{Start: time.Now().Add(20 * day), End: time.Now().Add(40 * day)})
		after(41 * day)
		if n := w.count(certmanager.EventObtained); n != 2 {
			t.Errorf("%d certificates, want 2", n)
		}
		if c := calls(); len(c) != 0 {
			t.Errorf("the renewal costs %v", c)
		}
		ca.wantNone(t)
	})
}

// A renewal before the window, or whose window is not known, counts as one more certificate for exactly its names, and for
// nothing else.
func TestRenewalBeforeItsWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, ca, calls, stop := w.letsEncrypt("example.com")
		defer stop()
		for range 4 {
			time.Sleep(time.Second)
			if err := m.Renew(t.Context(), "example.com"); err != nil {
				t.Fatal(err)
			}
		}
		if c := calls(); len(c) != 4 {
			t.Errorf("four renewals cost %v, want a call each", c)
		}
		const want = "grants 5 certificates a week for exactly these names"
		if err := m.Renew(t.Context(), "example.com"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the sixth certificate: %v, want %q", err, want)
		}
		if n := w.keys("budgets"); n != 4 {
			t.Errorf("there are %d budgets, want 4", n)
		}
		ca.wantNone(t)
	})
}

// A name that the CA has paused stops for a week, says where to go, and is tried at once by Renew.
func TestPausedName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
			return reply(r, http.StatusTooManyRequests, "application/problem+json", `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"Your account `+
				`is temporarily prevented from requesting certificates for example.com and possibly others. Please visit: https://portal.example/unpause?jwt=abc"}`), nil
		}))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.start(config)
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		synctest.Wait()
		s := statusOf(t, m, "example.com")
		const visit = "visit https://portal.example/unpause?jwt=abc"
		if wait := failed.Next.Sub(failed.Time); wait != week || s.Reason != certmanager.ReasonPaused || !s.Next.Equal(failed.Next) {
			t.Errorf("the next attempt is due after %v, %s", wait, s.Reason)
		}
		if !strings.Contains(failed.Err.Error(), visit) || !strings.Contains(s.Failure.Err.Error(), visit) {
			t.Errorf("the error is %v", failed.Err)
		}
		stop()
		m, stop = w.start(config)
		defer stop()
		synctest.Wait()
		if s := statusOf(t, m, "example.com"); s.Reason != certmanager.ReasonPaused || !s.Next.Equal(failed.Next) || !strings.Contains(s.Failure.Err.Error(), visit) {
			t.Errorf("after a restart the next attempt is due at %v, %s: %v", s.Next, s.Reason, s.Failure)
		}
		time.Sleep(6 * 24 * time.Hour)
		if n := front.count("newOrder"); n != 1 {
			t.Errorf("the CA was asked %d times in six days", n)
		}
		front.answerWith(nil)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
	})
}

// A storage that does not take what is counted gets no order.
func TestUncountableOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := new(storagetest.Faulty)
		store.SetFaults(storagetest.Fault{On: storagetest.Writes, Prefix: "budgets"})
		config := w.config("example.com")
		config.Storage = store
		w.limited(config, certmanager.Limits{NewOrders: certmanager.Limit{Count: 300, Per: 3 * time.Hour}})
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 3)
		if s := statusOf(t, m, "example.com"); s.Reason != certmanager.ReasonStorage || w.newOrders() != 0 {
			t.Errorf("%s, and %d orders", s.Reason, w.newOrders())
		}
		store.SetFaults()
		w.await(certmanager.EventObtained, "example.com", 1)
	})
}

// runAndKill runs a manager on the store for some seconds, and kills it: nothing that it does from then on is seen.
func (w *world) runAndKill(config certmanager.Config, store *storagetest.Faulty) {
	w.t.Helper()
	m, err := certmanager.New(config)
	if err != nil {
		w.t.Fatal(err)
	}
	dead := make(chan struct{})
	wait := w.runUntil(m, dead)
	time.Sleep(5 * time.Second)
	store.SetFaults(storagetest.Fault{})
	close(dead)
	wait()
}

// A process that dies while the CA makes its orders has taken one token for each, of a week's allowance no more.
func TestKilledMemberLosesNoAllowance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &storagetest.Faulty{Store: w.store}
		config := w.config(manyNames("site%d.example.com", 5)...)
		config.Storage = store
		limit := certmanager.Limit{Count: 50, Per: week}
		ca := w.limited(config, certmanager.Limits{CertificatesPerDomain: limit})
		ca.answerWith(only("newOrder", hang))
		w.runAndKill(config, store)
		if n := w.room(budgetKey(config, "domain", "example.com"), limit); n != 45 {
			t.Errorf("%d of 50 are left, want all but those that were being ordered", n)
		}
	})
}

// An order that a killed process has paid for is resumed, though others wait for the budget.
func TestOrderIsResumedWithoutBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		store := &storagetest.Faulty{Store: w.store}
		config := w.config("begun.example.com")
		config.Storage, config.OnEvent = store, nil
		ca := w.limited(config, certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 3, Per: 365 * 24 * time.Hour}})
		ca.answerWith(only("finalize", hang))
		w.runAndKill(config, store)
		ca.answerWith(nil)

		config.Storage, config.Names = w.store, manyNames("site%d.example.com", 5)
		m, stop := w.start(config)
		defer stop()
		awaitValid(t, m, 2)
		time.Sleep(time.Minute)
		if err := m.Manage(certmanager.Subject{Names: []string{"begun.example.com"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := statusOf(t, m, "begun.example.com"); s.State != certmanager.StateValid {
			t.Errorf("it is %s: %s", s.State, s.Deferred)
		}
		ca.wantNone(t)
	})
}

// For a limit of the first issuer, the second is asked for what can't wait: a client that wants a name, or a certificate that
// is about to end. New names in good time wait.
func TestNextIssuerOnlyIfPressing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, second := newWorld(t), newLocalCA(t, "second")
		config := w.config(manyNames("site%d.example.com", 5)...)
		ca := w.limited(config, certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 3, Per: 365 * 24 * time.Hour}})
		config.Issuers = append(config.Issuers, second)
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := w.start(config)
		defer stop()
		awaitValid(t, m, 3)
		time.Sleep(time.Hour)
		if n := second.count(); n != 0 || valid(m) != 3 {
			t.Errorf("the second issuer signed %d, and there are %d certificates", n, valid(m))
		}
		if issuer := served(t, m, "wanted.example.com"); issuer != "second" {
			t.Errorf("a client is served a certificate of %q", issuer)
		}
		// Those of the first can't be renewed: when a tenth of their lifetime is left, the second has its turn.
		time.Sleep(80 * 24 * time.Hour)
		if n := second.count(); n != 1 && n != 2 {
			t.Errorf("the second issuer signed %d before the ends came near", n)
		}
		for _, s := range statuses(m) {
			if s.State == certmanager.StateWaiting && s.Reason != certmanager.ReasonBudget {
				t.Errorf("%s: %s, %s", s.Names[0], s.Reason, s.Deferred)
			}
		}
		time.Sleep(11 * 24 * time.Hour)
		if n := second.count(); n < 4 {
			t.Errorf("the second issuer signed %d when they did", n)
		}
		for _, s := range statuses(m) {
			if s.State == certmanager.StateExpired {
				t.Errorf("%v has expired", s.Names)
			}
		}
		ca.wantNone(t)
	})
}

// A client that wants a name for which the CA grants no more is told so.
func TestOnDemandWithoutBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config(manyNames("site%d.example.com", 2)...)
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		ca := w.limited(config, certmanager.Limits{CertificatesPerDomain: certmanager.Limit{Count: 3, Per: week}})
		m, stop := w.serving(config)
		defer stop()
		if _, err := ask(t, m, "third.example.com"); err != nil {
			t.Error(err)
		}
		begun := time.Now()
		_, err := ask(t, m, "fourth.example.com")
		if err == nil || !strings.Contains(err.Error(), "grants 3 certificates a week for names of example.com") || time.Since(begun) > time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		time.Sleep(3 * 24 * time.Hour)
		if _, err := ask(t, m, "fourth.example.com"); err != nil {
			t.Error(err)
		}
		ca.wantNone(t)
	})
}

// A name that has failed as often as the CA lets it is not ordered before it may fail again.
func TestFailuresAreSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("www.example.com")
		acmeOf(config).NoDryRun = true
		ca := w.limited(config, certmanager.Limits{Failures: certmanager.Limit{Count: 2, Per: 10 * time.Hour}})
		w.ca.FailValidations("www.example.com", 2)
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "www.example.com", 2)
		second := time.Now()
		time.Sleep(3 * time.Hour)
		if s := statusOf(t, m, "www.example.com"); s.Reason != certmanager.ReasonBudget || !strings.Contains(s.Deferred, "grants 2 failed validations in 10 hours of www.example.com") {
			t.Errorf("%s: %q", s.Reason, s.Deferred)
		}
		obtained := w.await(certmanager.EventObtained, "www.example.com", 1)
		if wait := obtained.Time.Sub(second); wait < 4*time.Hour || wait > 6*time.Hour {
			t.Errorf("it is obtained %v after the last failure", wait)
		}
		ca.wantNone(t)
	})
}
