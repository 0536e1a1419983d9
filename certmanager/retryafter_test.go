package certmanager_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver"
)

// TestRetryAfterBesideACertificate has an issuer fail once when a certificate is to be renewed, and ask to wait for longer
// than that has left.
func TestRetryAfterBesideACertificate(t *testing.T) {
	const week = 7 * day
	busy := &acme.Problem{Status: 503, RetryAfter: week}
	refusal := &acme.Problem{Type: acme.ErrUnauthorized, Status: 403, RetryAfter: week}
	limit := &acme.Problem{Type: acme.ErrRateLimited, Status: 429, RetryAfter: week}
	for _, test := range []struct {
		name     string
		err      error
		lifetime time.Duration
		whole    bool // the wait is obeyed whole
	}{
		{"an outage", busy, time.Hour, false},
		{"an outage of a day, for which there is time", busy, 4 * day, false},
		{"an outage for all", &certmanager.UnavailableError{Err: busy}, time.Hour, false},
		{"an outage for all without a word", &certmanager.UnavailableError{RetryAfter: week}, time.Hour, false},
		{"a refusal", refusal, 4 * day, false},
		{"a refusal for all", &certmanager.UnavailableError{Err: refusal}, 4 * day, false},
		{"a refusal for all, by the issuer's own word", &certmanager.UnavailableError{Err: &acme.TermsError{}, RetryAfter: 8 * day}, 4 * day, false},
		{"an order that takes long", &acme.RetryAfterError{RetryAfter: week}, 4 * day, false},
		{"a limit", limit, 4 * day, true},
		{"a limit for all", &certmanager.UnavailableError{Err: limit}, 4 * day, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				ca.lifetime = test.lifetime
				m, stop := w.serving(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
				defer stop()
				end := statusOf(t, m, "example.com").NotAfter
				ca.change(func(ca *localCA) { ca.err = test.err })
				failed := w.await(certmanager.EventFailed, "example.com", 1)
				ca.change(func(ca *localCA) { ca.err = nil })
				waited := w.await(certmanager.EventObtained, "example.com", 2).Time.Sub(failed.Time)
				half := end.Sub(failed.Time) / 2
				const turn = 5 * time.Second // names that have failed let others go first when an issuer may be asked again
				if test.whole && (waited < week || waited > week+turn) || !test.whole && waited > half+turn {
					t.Errorf("asked again after %v, half of what was left is %v", waited, half)
				}
				if late := waited - failed.Next.Sub(failed.Time); late < 0 || late > turn {
					t.Errorf("the event says %v, asked again after %v", failed.Next.Sub(failed.Time), waited)
				}
			})
		})
	}
}

// TestRetryAfterOfManyNames has an account be refused for a week while a hundred certificates end in two days: they
// probe one at a time.
func TestRetryAfterOfManyNames(t *testing.T) {
	n := 100
	if raceDetector {
		n = 20 // one probe of each would be too many still
	}
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.lifetime = 4 * day
		_, stop := w.serving(w.issuedBy([]certmanager.Issuer{ca}, siteNames(n)...))
		defer stop()
		asked := 0
		ca.change(func(ca *localCA) {
			ca.work = func(certmanager.Request) error {
				ca.mu.Lock()
				defer ca.mu.Unlock()
				asked++
				return &certmanager.UnavailableError{Err: &acme.TermsError{}, RetryAfter: 7 * day}
			}
		})
		time.Sleep(4 * day)
		ca.change(func(ca *localCA) {
			if asked < 2 || asked > 6 {
				t.Errorf("asked %d times while the certificates came to their ends", asked)
			}
		})
	})
}

// TestLimitLeadsToTheNextIssuer has the first of two issuers run into a limit of a week, for the name or for all. The other
// issues meanwhile, each day, and the first is asked again when the week is over.
func TestLimitLeadsToTheNextIssuer(t *testing.T) {
	limit := &acme.Problem{Type: acme.ErrRateLimited, Status: 429, RetryAfter: 7 * day}
	for name, err := range map[string]error{"the name": limit, "all": &certmanager.UnavailableError{Err: limit}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, first, second := newWorld(t), newLocalCA(t, "first"), newLocalCA(t, "second")
				var asked []time.Time
				first.work = func(certmanager.Request) error {
					first.mu.Lock()
					defer first.mu.Unlock()
					asked = append(asked, time.Now())
					return err
				}
				seen := func() []time.Time {
					first.mu.Lock()
					defer first.mu.Unlock()
					return slices.Clone(asked)
				}
				second.lifetime = day
				config := w.issuedBy([]certmanager.Issuer{first, second}, "example.com")
				m, stop := w.start(config)
				defer func() { stop() }()
				if took := w.await(certmanager.EventObtained, "example.com", 1).Time.Sub(w.await(certmanager.EventFailed, "example.com", 1).Time); took > 0 {
					t.Errorf("the second issuer was asked %v after the first", took)
				}
				time.Sleep(6 * day)
				synctest.Wait()
				if n, asked := second.count(), seen(); len(asked) != 1 || n < 11 || served(t, m, "example.com") != "second" {
					t.Errorf("the first was asked at %v, the second issued %d certificates in six days", asked, n)
				}
				time.Sleep(2 * day)
				synctest.Wait()
				if asked := seen(); len(asked) != 2 || asked[1].Sub(asked[0]) < 7*day {
					t.Errorf("the first was asked at %v", asked)
				}
			})
		})
	}
}

// TestOutageKeepsTheSolver has attempts fail by the CA's own fault, and for want of a proof of control: only that is a reason
// to try another way.
func TestOutageKeepsTheSolver(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want string // types of challenge that are tried first
	}{
		"an order lost to an outage":   {&acme.OrderError{Problem: &acme.Problem{Type: acme.ErrServerInternal, Status: 500}}, "aaa"},
		"an outage":                    {&acme.Problem{Status: 503}, "aaa"},
		"an outage while it validates": {&acme.AuthorizationError{Problem: &acme.Problem{Type: acme.ErrServerInternal, Status: 500}}, "aaa"},
		"control is not proved":        {&acme.AuthorizationError{Problem: &acme.Problem{Type: acme.ErrUnauthorized, Status: 403}}, "aba"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				var first acme.Solver
				tried := ""
				ca.work = func(r certmanager.Request) error {
					if first == nil {
						first = r.Solvers[0]
					}
					if r.Solvers[0].Type() == first.Type() {
						tried += "a"
					} else {
						tried += "b"
					}
					return test.err
				}
				config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
				config.Solvers = []acme.Solver{&solver.TLSALPN01{Storage: w.store}, &solver.HTTP01{Storage: w.store}}
				began := time.Now()
				_, stop := w.start(config)
				last := w.await(certmanager.EventFailed, "example.com", len(test.want))
				stop()
				if tried != test.want {
					t.Errorf("tried %s, want %s", tried, test.want)
				}
				if took := last.Time.Sub(began); took > 3*time.Hour {
					t.Errorf("the third attempt was after %v", took)
				}
			})
		})
	}
}
