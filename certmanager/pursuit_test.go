package certmanager_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// busy answers as a CA that can't at the moment.
func busy(r *http.Request) (*http.Response, error) {
	return reply(r, http.StatusServiceUnavailable, "text/plain", "busy"), nil
}

// revokeInVain has a certificate revoked by a CA that is busy.
func (w *world) revokeInVain(m *certmanager.Manager, reason acme.RevocationReason) {
	w.t.Helper()
	if m.Revoke(w.t.Context(), "example.com", reason) == nil {
		w.t.Error("no error from a CA that is busy")
	}
}

// checkRevokedOnce checks that the CA was asked for it once more than before, that one event says so, and that nothing is left.
func (w *world) checkRevokedOnce(f *front, before int) {
	w.t.Helper()
	synctest.Wait()
	if n := f.count("revokeCert") - before; n != 1 {
		w.t.Errorf("the CA was asked %d times, want once", n)
	}
	if n := w.count(certmanager.EventRevoked); n != 1 || w.keys("revocations") != 0 {
		w.t.Errorf("%d events say that it is revoked, %d revocations are left", n, w.keys("revocations"))
	}
}

// TestRevokeTwiceAtOnce has several callers want the same.
func TestRevokeTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		defer stop()
		release := make(chan struct{})
		f.answerWith(untilReleased("newOrder", release))
		var callers sync.WaitGroup
		for range 3 {
			callers.Go(func() {
				if err := m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		close(release)
		callers.Wait()
		w.checkRevokedOnce(f, 0)
		if n := w.newOrders(); n != 2 {
			t.Errorf("%d orders, want the first and one for all callers", n)
		}
	})
}

// TestRevokeAgainAfterFailures has a caller try again and again while the CA is busy, which does not multiply what is done later.
func TestRevokeAgainAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		defer stop()
		f.answerWith(only("newOrder", busy))
		for range 5 {
			time.Sleep(time.Minute)
			if err := m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded); err == nil || !strings.Contains(err.Error(), "its successor comes first") {
				t.Errorf("error %v", err)
			}
		}
		f.answerWith(nil)
		time.Sleep(time.Hour)
		w.checkRevokedOnce(f, 0)
	})
}

// TestRevokeAtOnceAfterFailures has what was tried for an hour tried at once for a caller, with the reason that this one gives.
func TestRevokeAtOnceAfterFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		defer stop()
		old, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Forget("example.com"); err != nil {
			t.Fatal(err)
		}
		f.answerWith(only("revokeCert", busy))
		w.revokeInVain(m, acme.ReasonUnspecified)
		time.Sleep(time.Hour)
		f.answerWith(nil)
		began, asked := time.Now(), f.count("revokeCert")
		if err := m.Revoke(t.Context(), "example.com", acme.ReasonCessationOfOperation); err != nil || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		time.Sleep(time.Hour)
		w.checkRevokedOnce(f, asked)
		if got := w.revoked(old.SerialNumber); got != int(acme.ReasonCessationOfOperation) {
			t.Errorf("the CA says %d", got)
		}
	})
}

// TestRevokeWhileTakenUp has a caller want what Run takes up from the storage at the same time, before or after it has.
func TestRevokeWhileTakenUp(t *testing.T) {
	for name, delay := range map[string]time.Duration{"before": 0, "meanwhile": time.Second, "after": time.Hour} {
		t.Run(name, func(t *testing.T) {
			inBubbleWorld(t, func(t *testing.T, w *world) {
				store := &storagetest.Faulty{Store: w.store}
				f, config := w.fronted("example.com")
				config.Storage = store
				m, stop := w.serving(config)
				f.answerWith(only("newOrder", busy))
				w.revokeInVain(m, acme.ReasonSuperseded)
				stop()
				time.Sleep(time.Minute) // for longer than the CA is left alone
				f.answerWith(only("newOrder", func(*http.Request) (*http.Response, error) {
					time.Sleep(10 * time.Second)
					return nil, nil
				}))
				store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.List, Prefix: "revocations", Delay: delay})
				defer w.run(m)()
				if err := m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded); err != nil {
					t.Error(err)
				}
				time.Sleep(2 * time.Hour)
				w.checkRevokedOnce(f, 0)
			})
		})
	}
}

// TestRevokeTakenUp starts a process anew that has been told to revoke what is replaced: it waits until it knows that, and has
// nothing to warn of.
func TestRevokeTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		f.answerWith(only("revokeCert", busy))
		w.revokeInVain(m, acme.ReasonSuperseded)
		stop()
		f.answerWith(nil)
		asked, warned := f.count("revokeCert"), w.count(certmanager.EventWarning)
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", Delay: time.Second})
		config.Storage = store
		_, stop = w.start(config)
		defer stop()
		time.Sleep(time.Minute)
		w.checkRevokedOnce(f, asked)
		if n := w.count(certmanager.EventWarning) - warned; n > 0 {
			t.Errorf("%d warnings", n)
		}
	})
}

// TestRevokedByAnother has another process revoke what this one could not: this one asks no more.
func TestRevokedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		defer stop()
		f.answerWith(only("revokeCert", busy))
		w.revokeInVain(m, acme.ReasonSuperseded)
		time.Sleep(time.Hour)
		_, stopOther := w.running(w.config("example.com"))
		defer stopOther()
		time.Sleep(time.Second)
		f.answerWith(nil)
		asked := f.count("revokeCert")
		time.Sleep(time.Hour)
		w.checkRevokedOnce(f, asked-1)
	})
}

// TestRevokeWhileRunEnds has Run end while a caller waits.
func TestRevokeWhileRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		m, stop := w.serving(config)
		f.answerWith(only("newOrder", hang))
		ended := make(chan error, 1)
		go func() { ended <- m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded) }()
		synctest.Wait()
		stop()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "Run has ended") || w.keys("revocations") != 1 {
			t.Errorf("error %v", err)
		}
		f.answerWith(nil)
		defer w.run(m)()
		time.Sleep(time.Hour)
		w.checkRevokedOnce(f, 0)
	})
}

// TestManyRevocationsTakenUp starts with many of them stored, which can't be used: they are not all read at once.
func TestManyRevocationsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, store := newWorld(t), new(storagetest.Faulty)
		for n := range 300 {
			if _, err := store.Save(t.Context(), fmt.Sprintf("revocations/ca/%d", n), []byte("{}"), ""); err != nil {
				t.Fatal(err)
			}
		}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "revocations", Delay: time.Second})
		config := w.config()
		config.Storage = store
		_, stop := w.running(config)
		defer stop()
		const most = 64
		for read := most; read <= 300; read += most {
			if n := store.Hits(); n != read {
				t.Fatalf("%d are read, want %d", n, read)
			}
			time.Sleep(time.Second)
			synctest.Wait()
		}
	})
}
