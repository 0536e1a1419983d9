package certmanager_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// TestRenew shows that the certificate is replaced by one with a new serial number, and served until then.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front, release := w.front(), make(chan struct{})
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.start(config)
		defer stop()
		before := w.await(certmanager.EventObtained, "example.com", 1)
		synctest.Wait()
		front.answerWith(untilReleased("finalize", release))
		renewed := make(chan error, 1)
		go func() { renewed <- m.Renew(t.Context(), "Example.com") }()
		time.Sleep(time.Minute)
		status := statusOf(t, m, "example.com")
		if status.State != certmanager.StateRenewing || status.Serial != before.Serial {
			t.Errorf("status while it is renewed: %+v", status)
		}
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("a handshake while it is renewed: %v", err)
		}
		close(release)
		if err := <-renewed; err != nil {
			t.Fatal(err)
		}
		after := w.await(certmanager.EventObtained, "example.com", 2)
		status = statusOf(t, m, "example.com")
		if status.Serial == before.Serial || status.Serial != after.Serial || status.State != certmanager.StateValid {
			t.Errorf("status after it was renewed: %+v; the serial number was %s", status, before.Serial)
		}
		if !after.Renewal || before.Renewal {
			t.Error("the events do not tell the renewal from the first certificate")
		}
		if n := w.newOrders(); n != 2 {
			t.Errorf("%d orders, want 2", n)
		}
	})
}

// TestCallsBeforeRun renews and revokes while Run is about to be called, and when nobody calls it, also when it has ended before.
func TestCallsBeforeRun(t *testing.T) {
	for what, call := range map[string]func(*certmanager.Manager, context.Context) error{
		"renew":  func(m *certmanager.Manager, ctx context.Context) error { return m.Renew(ctx, "example.com") },
		"revoke": func(m *certmanager.Manager, ctx context.Context) error { return m.Revoke(ctx, "example.com", 0) },
	} {
		t.Run(what, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				_, stop := w.start(w.config("example.com"))
				first := w.await(certmanager.EventObtained, "example.com", 1)
				stop()
				m, err := certmanager.New(w.config("example.com"))
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				if err := call(m, t.Context()); err == nil || !strings.Contains(err.Error(), "isn't running: call Run or Serve") || time.Since(began) != 10*time.Second {
					t.Errorf("without Run, error %v after %v", err, time.Since(began))
				}
				began = time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				if err := call(m, ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "isn't running") || time.Since(began) != time.Second {
					t.Errorf("without Run, error %v after %v", err, time.Since(began))
				}
				ended := make(chan error, 1)
				go func() { ended <- call(m, t.Context()) }()
				time.Sleep(5 * time.Second)
				stop = w.run(m)
				defer stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				serial := statusOf(t, m, "example.com").Serial
				if serial == first.Serial {
					t.Errorf("the certificate %s is not replaced", serial)
				}
				stop()
				if err := call(m, t.Context()); err == nil || !strings.Contains(err.Error(), "isn't running any more: Run has ended") {
					t.Errorf("after Run: %v", err)
				}
				go func() { ended <- call(m, t.Context()) }()
				time.Sleep(5 * time.Second)
				defer w.run(m)() // once more
				if err := <-ended; err != nil || statusOf(t, m, "example.com").Serial == serial {
					t.Errorf("with a second Run: %v", err)
				}
			})
		})
	}
}

// TestRenewErrors asks for what can't be.
func TestRenewErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, err := certmanager.New(w.config("example.com"))
		if err != nil {
			t.Fatal(err)
		}
		check := func(name, says string) {
			t.Helper()
			if err := m.Renew(t.Context(), name); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("Renew(%.40q): %v; want an error that says %q", name, err, says)
			}
		}
		check("example.com", "Run")
		stop := w.run(m)
		w.await(certmanager.EventObtained, "example.com", 1)
		synctest.Wait()
		check("example.net", "not managed")
		check("www.example.com", "not managed")
		check("", "empty")
		check("exa mple.com", `"exa mple.com"`)
		check("\x1b[31m.example.com", `\x1b`)
		check("https://example.com", "neither a domain name")
		w.ca.Refuse("example.com")
		check("example.com", "this CA issues no certificates for")
		stop()
		check("example.com", "Run")
		if n := len(w.ca.Certificates()); n != 1 {
			t.Errorf("%d certificates, want 1", n)
		}
	})
}

// TestRenewTwiceAtOnce shows that several callers cost one order, whether they come before it begins or
// while it is under way.
func TestRenewTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front, release := w.front(), make(chan struct{})
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		synctest.Wait()
		front.answerWith(untilReleased("newOrder", release))
		var callers sync.WaitGroup
		call := func() {
			callers.Go(func() {
				if err := m.Renew(t.Context(), "example.com"); err != nil {
					t.Errorf("Renew: %v", err)
				}
			})
		}
		call()
		call()
		synctest.Wait()
		call()
		synctest.Wait()
		close(release)
		callers.Wait()
		synctest.Wait()
		if n := w.newOrders(); n != 2 {
			t.Errorf("%d orders, want the first and one for all callers", n)
		}
	})
}

// TestRenewWhileObtaining calls Renew while the first certificate is under way: that one is as new as one
// can want it.
func TestRenewWhileObtaining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front, release := w.front(), make(chan struct{})
		front.answerWith(untilReleased("newOrder", release))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.running(config)
		defer stop()
		renewed := make(chan error, 1)
		go func() { renewed <- m.Renew(t.Context(), "example.com") }()
		synctest.Wait()
		close(release)
		if err := <-renewed; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

// TestRenewGoesBeforeBackOff shows that Renew does not wait for the next attempt, and that its caller may
// go: with its context, and with Run.
func TestRenewGoesBeforeBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("newOrder", refuse))
		config := w.config("example.com")
		acmeOf(config).HTTPClient = front.client()
		m, stop := w.start(config)
		w.await(certmanager.EventFailed, "example.com", 1)
		synctest.Wait()
		front.answerWith(nil)
		began := time.Now()
		if err := m.Renew(t.Context(), "example.com"); err != nil || time.Since(began) > 10*time.Second {
			t.Errorf("Renew after a failure: %v, after %v", err, time.Since(began))
		}
		front.answerWith(hang)
		ctx, cancel := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan error, 1)
		go func() { left <- m.Renew(ctx, "example.com") }()
		go func() { stayed <- m.Renew(t.Context(), "example.com") }()
		synctest.Wait()
		cancel()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the caller that left: %v", err)
		}
		stop()
		if err := <-stayed; err == nil {
			t.Error("the caller that stayed until Run ended: no error")
		}
		if _, err := ask(t, m, "example.com"); err != nil {
			t.Error(err)
		}
	})
}

// refuse answers as a CA that refuses an order.
func refuse(r *http.Request) (*http.Response, error) {
	return reply(r, http.StatusForbidden, "application/problem+json",
		`{"type":"`+string(acme.ErrUnauthorized)+`","detail":"not today"}`), nil
}

// TestRenewAtTheEndOfAnother has several callers renew again and again, so that some come in the very
// moment in which the work for others ends: none may be forgotten.
func TestRenewAtTheEndOfAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		m, stop := w.serving(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		defer stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		var callers sync.WaitGroup
		for range 4 {
			callers.Go(func() {
				for n := range 100 {
					if err := m.Renew(ctx, "example.com"); err != nil {
						t.Errorf("Renew %d: %v", n, err)
						return
					}
				}
			})
		}
		callers.Wait()
		if n := ca.count(); n > 401 {
			t.Errorf("%d certificates for 400 calls", n-1)
		}
	})
}
