package certmanager_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// A slowStart is a log whose first line of Run takes a second, as if the process were busy in between.
type slowStart struct{ slog.Handler }

func (slowStart) Enabled(context.Context, slog.Level) bool { return true }

func (slowStart) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "the manager runs" {
		time.Sleep(time.Second)
	}
	return nil
}

// callWhileRunBegins calls while a Run is waited for that takes a while to begin.
func (w *world) callWhileRunBegins(m *certmanager.Manager, call func(*certmanager.Manager, context.Context) error) {
	w.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- call(m, w.t.Context()) }()
	time.Sleep(5 * time.Second)
	defer w.run(m)()
	if err := <-ended; err != nil {
		w.t.Error(err)
	}
	if s := statusOf(w.t, m, "example.com"); s.State != certmanager.StateValid {
		w.t.Errorf("status %+v", s)
	}
}

// TestCallsWhileRunBegins has callers wait for a second Run, and for the first one some time after Load: that memory has the
// certificate loaded from before counts no more.
func TestCallsWhileRunBegins(t *testing.T) {
	for name, call := range map[string]func(*certmanager.Manager, context.Context) error{
		"renew":  func(m *certmanager.Manager, ctx context.Context) error { return m.Renew(ctx, "example.com") },
		"revoke": func(m *certmanager.Manager, ctx context.Context) error { return m.Revoke(ctx, "example.com", 0) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				config, store := w.config("example.com"), &storagetest.Faulty{Store: w.store}
				config.Logger, config.Storage = slog.New(slowStart{}), store
				m, stop := w.serving(config)
				stop()
				store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", Delay: time.Second})
				w.callWhileRunBegins(m, call)
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				if err := m.Load(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				w.callWhileRunBegins(m, call)
				if n := len(w.ca.Certificates()); n != 3 {
					t.Errorf("%d certificates, want the first and one for each call", n)
				}
			})
		})
	}
}

// TestRevokeWhileRunBegins has another process replace the certificate between two Runs: it is the new one that is revoked.
func TestRevokeWhileRunBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.com")
		config.Logger = slog.New(slowStart{})
		m, stop := w.serving(config)
		stop()
		other, stop := w.start(w.config("example.com"))
		if err := other.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		stop()
		w.callWhileRunBegins(m, func(m *certmanager.Manager, ctx context.Context) error { return m.Revoke(ctx, "example.com", 0) })
		for i, leaf := range w.ca.Certificates() {
			if isRevoked := w.revoked(leaf.SerialNumber) >= 0; isRevoked != (i == 1) {
				t.Errorf("of those issued, in order, number %d is revoked: %t", i+1, isRevoked)
			}
		}
	})
}

// TestSettleWhileRunBegins has another process obtain, between two Runs, what the first one could not: that this has failed
// counts no more.
func TestSettleWhileRunBegins(t *testing.T) {
	inBubbleWorld(t, func(t *testing.T, w *world) {
		ca := newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		config.Logger = slog.New(slowStart{})
		ca.change((*localCA).refusing)
		m, stop := w.start(config)
		w.await(certmanager.EventFailed, "example.com", 1)
		stop()
		ca.stock(t, w.store, "example.com")
		w.callWhileRunBegins(m, func(m *certmanager.Manager, ctx context.Context) error { return m.Settle(ctx) })
	})
}
