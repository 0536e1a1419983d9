package certmanager_test

import (
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// TestStoredWindowWithoutInstant is defect 9 of a peer: there a stored window without the instant that was chosen from it has a
// fresh certificate renewed at once. Here an instant is chosen from it, whether or not the CA answers, and kept. A window that was
// stored is not believed to be in the past for want of one.
func TestStoredWindowWithoutInstant(t *testing.T) {
	for _, window := range [][2]time.Duration{{20 * day, 22 * day}, {75 * day, 77 * day}, {-2 * day, -day}} { // since it was obtained
		for _, next := range []time.Duration{-day, 10 * time.Hour} { // when it is to be asked for again
			for _, answers := range []bool{true, false} {
				t.Run(fmt.Sprintf("%v, to be asked in %v, answered %t", window, next, answers), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := newWorld(t)
						ca := newInformingCA(t, "ca")
						config := w.from(ca, "example.com")
						config.SweepInterval = -1
						m, stop := w.serving(config)
						first := statusOf(t, m, "example.com")
						stop()
						after(time.Hour)
						ca.suggests(func(leaf *x509.Certificate) *acme.RenewalInfo {
							if leaf.NotBefore.After(first.NotBefore) {
								return usualInfo(leaf)
							}
							return windowAt(leaf, window[0], window[1]-window[0])
						})
						if !answers {
							ca.informs(outOfOrder)
						}
						storePlan(t, w.store, workKey("ca"), record.Plan{Issuer: "ca", Serial: first.Serial, Start: first.NotBefore.Add(window[0]),
							End: first.NotBefore.Add(window[1]), Polled: time.Now().Add(-time.Minute), Next: time.Now().Add(next)})
						began := time.Now()
						_, stop = w.running(config)
						defer func() { stop() }()
						if n := ca.count(); n != 1 {
							t.Fatalf("%d certificates at the start", n)
						}
						after(12 * time.Hour)
						if n := len(ca.asked("")); n < 1 || n > 15 {
							t.Errorf("%d questions in %v", n, time.Since(began))
						}
						if window[0] < 0 {
							if ca.count() != 2 {
								t.Errorf("%d certificates, though the CA wants the first replaced", ca.count())
							}
							return
						}
						chosen := planOf(t, w.store).Renewal
						if age := chosen.Sub(first.NotBefore); age < window[0] || age > window[1] {
							t.Fatalf("%v after it was obtained it is to be renewed, by a window of %v", age, window)
						}
						stop()
						m, stop = w.running(config)
						after(2 * day)
						if s := statusOf(t, m, "example.com"); s.Next.Sub(chosen) < 0 || s.Next.Sub(chosen) > memberDelay || s.Window.Start.IsZero() || !planOf(t, w.store).Renewal.Equal(chosen) {
							t.Errorf("after a restart: %+v, chosen was %v", s, chosen)
						}
						if renewed := w.await(certmanager.EventObtained, "example.com", 2).Time; renewed.Sub(chosen) < 0 || renewed.Sub(chosen) > memberDelay {
							t.Errorf("it is renewed at %v, chosen was %v", renewed, chosen)
						}
					})
				})
			}
		}
	}
}

// planOf returns what is stored of when to renew.
func planOf(t *testing.T, s storage.Store) record.Plan {
	t.Helper()
	value, _, err := storage.LeaseValue(load(t, s, workKey("ca")).Value)
	if err != nil {
		t.Fatal(err)
	}
	work, err := record.DecodeWork(value, "ca")
	if err != nil {
		t.Fatal(err)
	}
	return work.Plan
}
