package certmanager_test

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/solver/diagnose"
)

// In a network without DNS nothing of the preflight is ever done. An order is a second later for it at most, and a fault
// that it found late would still be told.
func TestPreflightWithoutDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		names := siteNames(100)
		took := func(preflight certmanager.Preflight) time.Duration {
			config := w.config("first.example.com")
			config.Preflight = preflight
			config.Vantage = diagnose.Vantage{DNS: w.zones.vantage(nil).DNS, Dial: silent}
			config.Vantage.DNS.Dial = silent
			m, stop := w.start(config)
			defer stop()
			if err := m.Wait(t.Context()); err != nil { // from here on the CA has answered, and no name waits for that
				t.Fatal(err)
			}
			began := time.Now()
			if err := m.Manage(subjectsOf(names)...); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				for status, _ := m.Status(name); status.State != certmanager.StateValid; status, _ = m.Status(name) {
					time.Sleep(10 * time.Millisecond)
				}
			}
			return time.Since(began)
		}
		off := took(certmanager.PreflightOff)
		w.store = newWorld(t).store
		if warn := took(certmanager.PreflightWarn); warn > off+1100*time.Millisecond {
			t.Errorf("100 certificates took %v, and %v with the checks of a network without DNS", off, warn)
		}
	})
}
