package certmanager_test

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// What the CA had of requests, what was obtained, renewed and failed, and what handshakes got, stands in the counts; and what
// they are survives JSON.
func TestCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start(w.config("example.com"))
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Hour)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is counted once it is stored
		c := m.Counts()
		made := make(map[string]int)
		for _, r := range c.Requests {
			if r.Issuer != acmeIssuerID(t, m) {
				t.Errorf("requests of %q", r.Issuer)
			}
			for status, n := range r.Statuses {
				if http.StatusText(status) == "" {
					t.Errorf("%s: status %d", r.Action, status)
				}
				made[r.Action] += int(n)
			}
			var timed int64
			for _, n := range r.Durations.Counts {
				timed += n
			}
			if int(timed) != made[r.Action] || len(r.Durations.Counts) != len(r.Durations.Bounds)+1 {
				t.Errorf("%s: %d durations of %d requests", r.Action, timed, made[r.Action])
			}
		}
		if want := w.ca.Requests(); !reflect.DeepEqual(made, want) {
			t.Errorf("requests %v, the CA had %v", made, want)
		}
		if c.Obtained != 1 || c.Renewed != 1 || len(c.Days) != 30 || c.Days[28].Obtained+c.Days[29].Obtained != 1 || c.Days[29].Renewed != 1 {
			t.Errorf("obtained %d, renewed %d, days %+v", c.Obtained, c.Renewed, c.Days[28:])
		}
		if len(c.Failures) != 9 || c.Since.IsZero() {
			t.Errorf("failures %v, since %v", c.Failures, c.Since)
		}
		for _, op := range []string{"load", "save", "delete"} {
			if calls := c.Storage[op]; calls.Calls == 0 || calls.Errors != 0 {
				t.Errorf("%s: %+v", op, calls)
			}
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var read certmanager.Counts
		if err := json.Unmarshal(text, &read); err != nil || !reflect.DeepEqual(read, c) {
			t.Errorf("%v: %s becomes %+v", err, text, read)
		}
	})
}

// acmeIssuerID returns the ID of the manager's issuer, which has signed its certificate.
func acmeIssuerID(t *testing.T, m *certmanager.Manager) string {
	t.Helper()
	return statusOf(t, m, "example.com").Issuer
}

// Each handshake counts once, whatever it gets.
func TestHandshakesAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.work = func(r certmanager.Request) error {
			if r.Identifiers[0].Value == "bad.example.com" {
				return errClosed
			}
			return nil
		}
		config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
		var m *certmanager.Manager
		other := new(tls.Certificate)
		config.Fallback = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "other.example.com" {
				return other, nil
			}
			return m.GetCertificate(hello) // as a server's own configuration may
		}
		made, stop := w.serving(config)
		defer stop()
		m = made
		if err := m.Manage(certmanager.Subject{Names: []string{"bad.example.com"}}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for range 5 {
			if _, err := ask(t, m, "example.com"); err != nil {
				t.Error(err)
			}
		}
		for range 2 {
			if _, err := ask(t, m, "bad.example.com"); err == nil {
				t.Error("a certificate that there is not was had")
			}
		}
		if c, err := ask(t, m, "unknown.example.com"); c != nil || err != nil {
			t.Error(c, err)
		}
		for range 3 {
			if c, _ := ask(t, m, "other.example.com"); c != other {
				t.Error("no fallback")
			}
		}
		want := map[certmanager.Outcome]int64{certmanager.OutcomeServed: 5, certmanager.OutcomeFailed: 2, certmanager.OutcomeUnknown: 1, certmanager.OutcomeFallback: 3, certmanager.OutcomeChallenge: 0}
		if got := m.Counts().Handshakes; !reflect.DeepEqual(got, want) {
			t.Errorf("handshakes %v, want %v", got, want)
		}
	})
}

// What a failure is for is told of it, in JSON as well, and also by a manager that has it from the storage alone.
func TestFailureSaysItsKind(t *testing.T) {
	for want, err := range map[certmanager.FailureKind]error{
		certmanager.FailureRateLimit:  &acme.Problem{Type: acme.ErrRateLimited, Status: http.StatusTooManyRequests},
		certmanager.FailureRefusal:    refusal("not for you"),
		certmanager.FailureValidation: &acme.AuthorizationError{Identifier: "example.com", ChallengeType: "http-01"},
		certmanager.FailureOther:      errClosed,
	} {
		t.Run(string(want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newChain(t)
				c.fail("first", err)
				c.fail("second", err)
				config := c.config(new(storage.Memory), "example.com")
				for _, when := range []string{"at first", "after a restart"} {
					m, stop := runQuietly(t, config)
					time.Sleep(100 * time.Millisecond)
					s := statusOf(t, m, "example.com")
					if s.Failure == nil || s.Failure.Kind != want {
						t.Fatalf("%s: %+v", when, s.Failure)
					}
					text, err := json.Marshal(s.Failure)
					var read certmanager.Failure
					if err == nil {
						err = json.Unmarshal(text, &read)
					}
					if err != nil || read.Kind != want || !strings.Contains(string(text), `"kind":"`+string(want)) {
						t.Errorf("%s: %s, %v", when, text, err)
					}
					stop()
				}
			})
		})
	}
}

// Attempts that fail count by what they fail for, and again only when they are made again: a restart is no failure.
func TestFailuresAreCounted(t *testing.T) {
	for _, test := range []struct {
		want  certmanager.FailureKind
		spoil func(ca *localCA, s *storagetest.Faulty)
	}{
		{certmanager.FailureOther, func(ca *localCA, _ *storagetest.Faulty) { ca.err = errClosed }},
		{certmanager.FailureIssuer, func(ca *localCA, _ *storagetest.Faulty) { ca.err = &certmanager.UnavailableError{Err: errClosed} }},
		{certmanager.FailureStorage, func(_ *localCA, s *storagetest.Faulty) {
			s.SetFaults(storagetest.Fault{Prefix: "work", Err: errDisk})
		}},
	} {
		t.Run(string(test.want), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				s := &storagetest.Faulty{Store: w.store}
				test.spoil(ca, s)
				config := w.issuedBy([]certmanager.Issuer{ca}, "example.com")
				config.Storage = s
				m, stop := w.running(config)
				time.Sleep(100 * time.Millisecond)
				c := m.Counts()
				for kind, n := range c.Failures {
					if (kind == test.want) != (n > 0) {
						t.Errorf("%d failures of kind %s", n, kind)
					}
				}
				if c.Days[29].Failed != int(c.Failures[test.want]) {
					t.Errorf("today %+v", c.Days[29])
				}
				if failed := c.Storage["load"].Errors + c.Storage["save"].Errors; (test.want == certmanager.FailureStorage) != (failed > 0) {
					t.Errorf("storage %+v", c.Storage)
				}
				stop()
				if test.want != certmanager.FailureOther {
					return
				}
				again, stop := w.running(config)
				time.Sleep(100 * time.Millisecond)
				if n := again.Counts().Failures[test.want]; n != 0 {
					t.Errorf("after a restart there are %d failures", n)
				}
				stop()
			})
		})
	}
}

// Of a wrapped storage all that it is besides is found still, and it is no Scanner that was none.
func TestCountedStorageIsWhatItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, scans := range []bool{true, false} {
			w := newWorld(t)
			var services certmanager.Services
			config := w.issuedBy([]certmanager.Issuer{&bindingIssuer{localCA: newLocalCA(t, "local"), given: &services}}, "example.com")
			config.Storage = new(storagetest.Faulty)
			if !scans {
				config.Storage = struct{ storage.Store }{config.Storage}
			}
			if _, err := certmanager.New(config); err != nil {
				t.Fatal(err)
			}
			if _, can := storage.As[storage.Scanner](services.Storage); can != scans {
				t.Errorf("it is a Scanner: %t, want %t", can, scans)
			}
			if _, can := storage.As[storage.Watcher](services.Storage); can != scans {
				t.Errorf("it is a Watcher: %t, want %t", can, scans)
			}
		}
	})
}

// A bindingIssuer keeps what it is given.
type bindingIssuer struct {
	*localCA
	given *certmanager.Services
}

func (b *bindingIssuer) Bind(s certmanager.Services) (certmanager.Issuer, error) {
	*b.given = s
	return b, nil
}

// What is missing of budgets is told with when it comes back, and a storage that fails is an error.
func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &storagetest.Faulty{Store: w.store}
		config := w.config("www.example.com", "www.example.org")
		config.Storage = s
		w.limited(config, certmanager.Limits{
			NewOrders:             certmanager.Limit{Count: 300, Per: 3 * time.Hour},
			CertificatesPerDomain: certmanager.Limit{Count: 50, Per: week},
		})
		m, stop := w.start(config)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		budgets, err := m.Budgets(t.Context())
		if err != nil || len(budgets) != 3 {
			t.Fatalf("%v, %+v", err, budgets)
		}
		orders, domain := budgets[0], budgets[1]
		if orders.Kind != certmanager.BudgetOrders || orders.Name != "" || orders.Count != 300 || orders.Left < 280 || orders.Left > 298 {
			t.Errorf("orders %+v", orders)
		}
		if domain.Kind != certmanager.BudgetDomain || domain.Name != "example.com" || domain.Left != 49 || domain.Count != 50 || domain.Per != week || domain.CA == "" {
			t.Errorf("domain %+v", domain)
		}
		if wait := time.Until(domain.Next); wait < 3*time.Hour || wait > 4*time.Hour || !domain.Full.Equal(domain.Next) {
			t.Errorf("another in %v, full at %v", wait, domain.Full)
		}
		time.Sleep(time.Until(domain.Next))
		if budgets, err = m.Budgets(t.Context()); err != nil || len(budgets) != 1 || budgets[0].Left != 300 || !budgets[0].Next.IsZero() || !budgets[0].Full.IsZero() {
			t.Errorf("when they have come back: %v, %+v", err, budgets)
		}
		s.SetFaults(storagetest.Fault{On: storagetest.Scan, Kind: storagetest.Hang})
		if budgets, err = m.Budgets(t.Context()); err == nil || !strings.Contains(err.Error(), "the storage did not answer within 30s") || len(budgets) > 0 {
			t.Errorf("of a storage that hangs: %v, %+v", err, budgets)
		}
		s.SetFaults()
		if scans := m.Counts().Storage["scan"]; scans.Calls != 3 || scans.Errors != 1 {
			t.Errorf("scans %+v", scans)
		}
	})
}
