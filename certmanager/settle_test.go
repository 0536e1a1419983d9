package certmanager_test

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestSettle has one name obtained and one refused: it is for both, once, and does not wait for what is tried again later.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.Refuse("bad.example.com")
		m, stop := w.start(w.config("example.com", "bad.example.com"))
		defer stop()
		began := time.Now()
		err := m.Settle(t.Context())
		if !errors.Is(err, acme.ErrRejectedIdentifier) || !strings.Contains(err.Error(), "bad.example.com") || strings.Contains(err.Error(), ": example.com") {
			t.Errorf("error %v", err)
		}
		if s := statusOf(t, m, "example.com"); s.State != certmanager.StateValid || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: %+v", time.Since(began), s)
		}
		if err := m.Settle(t.Context(), "EXAMPLE.com"); err != nil {
			t.Error(err)
		}
		if err := m.Settle(t.Context(), "other.example"); err == nil || !strings.Contains(err.Error(), "other.example is not managed") {
			t.Errorf("of a name that is not managed: %v", err)
		}
		if err := m.Forget("bad.example.com"); err != nil {
			t.Fatal(err)
		}
		if err := m.Settle(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestSettleNamesManyNot has all of a hundred names fail: the error has twenty.
func TestSettleNamesManyNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, names := newWorld(t), siteNames(100)
		for _, name := range names {
			w.ca.Refuse(name)
		}
		m, stop := w.start(w.config(names...))
		defer stop()
		err := m.Settle(t.Context())
		if err == nil || strings.Count(err.Error(), "the CA refuses the name") != 20 || !strings.Contains(err.Error(), "and 80 more") {
			t.Errorf("error %v", err)
		}
	})
}

// TestSettleRenews starts anew when the certificate is due, and when its issuer has come to want it replaced, which is not
// known before it is asked.
func TestSettleRenews(t *testing.T) {
	for name, test := range map[string]struct {
		later   time.Duration
		suggest func(*x509.Certificate) *acme.RenewalInfo
	}{
		"due":        {80 * day, usualInfo},
		"wanted now": {20 * day, func(leaf *x509.Certificate) *acme.RenewalInfo { return windowAt(leaf, -day, time.Hour) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newInformingCA(t, "ca")
				config := w.from(ca, "example.com")
				m, stop := w.serving(config)
				first := statusOf(t, m, "example.com").Serial
				stop()
				time.Sleep(test.later)
				ca.suggests(test.suggest)
				m, stop = w.start(config)
				defer stop()
				if err := m.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				if s := statusOf(t, m, "example.com"); s.Serial == first {
					t.Errorf("it is not renewed: %+v", s)
				}
			})
		})
	}
}

// TestSettleTellsOfRenewals has a renewal fail: the error says so, though what is there is served still.
func TestSettleTellsOfRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("example.com")
		time.Sleep(70 * day)
		w.ca.Refuse("example.com")
		m, stop := w.start(w.config("example.com"))
		defer stop()
		if err := m.Settle(t.Context()); !errors.Is(err, acme.ErrRejectedIdentifier) {
			t.Errorf("error %v", err)
		}
		if s := statusOf(t, m, "example.com"); s.State != certmanager.StateValid {
			t.Errorf("status %+v", s)
		}
	})
}

// TestSettleWaitsForOthers has another process at work on the certificate.
func TestSettleWaitsForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, takes := new(storage.Memory), func() time.Duration { return 10 * time.Second }
		first, second := newMember(t, store, takes, "example.com"), newMember(t, store, takes, "example.com")
		defer runAll(t, first)()
		time.Sleep(time.Second)
		defer runAll(t, second)()
		if err := second.Settle(t.Context()); err != nil {
			t.Error(err)
		}
		if s := statusOf(t, second.Manager, "example.com"); s.State != certmanager.StateValid || first.ca.count() != 1 || second.ca.count() != 0 {
			t.Errorf("%d and %d were issued: %+v", first.ca.count(), second.ca.count(), s)
		}
	})
}

// TestSettleIsEnded ends it by its context and by the end of Run, while a certificate is being obtained, and before Run.
func TestSettleIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t, new(storage.Memory), func() time.Duration { return time.Hour }, "example.com")
		if err := m.Settle(t.Context()); err == nil || !strings.Contains(err.Error(), "example.com: the manager isn't running: call Run or Serve") {
			t.Errorf("before Run: %v", err)
		}
		stop := runAll(t, m)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Settle(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "example.com") {
			t.Errorf("when its context ends: %v", err)
		}
		ended := make(chan error, 1)
		go func() { ended <- m.Settle(t.Context()) }()
		time.Sleep(time.Second)
		stopped := make(chan struct{})
		go func() { stop(); close(stopped) }()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "Run has ended") {
			t.Errorf("when Run ends: %v", err)
		}
		<-stopped // the issuer takes its hour
	})
}
