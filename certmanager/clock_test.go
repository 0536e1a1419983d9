package certmanager_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// TestObtainedInTheFuture has a certificate come while the clock is four days ahead: it is replaced like
// any other.
func TestObtainedInTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = 6 * 24 * time.Hour })
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventObtained, "example.com", 1)
		stop()
		w.alter("certificates", `"obtained":"[^"]*"`, `"obtained":"`+time.Now().AddDate(0, 0, 4).UTC().Format(time.RFC3339)+`"`)
		m, stop := w.start(w.config("example.com"))
		defer stop()
		first := w.await(certmanager.EventLoaded, "example.com", 1).Serial
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		second := statuses(m)[0].Serial
		if second == first {
			t.Error("Renew replaced nothing")
		}
		w.await(certmanager.EventObtained, "example.com", 3)
		if third := statuses(m)[0].Serial; third == second || time.Now().After(statuses(m)[0].NotAfter) {
			t.Errorf("after the renewal %s is served, before it was %s", third, second)
		}
		if n := len(w.ca.Certificates()); n != 3 {
			t.Errorf("%d certificates, want 3", n)
		}
	})
}

// TestManageWhileRunEnds calls the manager from within its own callback when ctx has ended.
func TestManageWhileRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		ctx, cancel := context.WithCancel(t.Context())
		var m *certmanager.Manager
		config.OnEvent = func(e certmanager.Event) {
			if e.Kind != certmanager.EventObtaining {
				return
			}
			cancel()
			synctest.Wait()
			if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
				t.Errorf("Manage: %v", err)
			}
			if err := m.Renew(t.Context(), "example.net"); err == nil {
				t.Error("Renew has renewed while Run ends")
			}
		}
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- m.Run(ctx) }()
		select {
		case <-done:
		case <-time.After(time.Hour):
			t.Fatal("Run has not returned an hour after ctx ended")
		}
	})
}
