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
			config := w.config(names...)
			config.Preflight = preflight
			config.Vantage = diagnose.Vantage{DNS: w.zones.vantage(nil).DNS, Dial: silent}
			config.Vantage.DNS.Dial = silent
			began := time.Now()
			m, stop := w.start(config)
			defer stop()
			for _, name := range names {
				for status, _ := m.Status(name); status.State != certmanager.StateValid; status, _ = m.Status(name) {
					time.Sleep(10 * time.Millisecond)
				}
			}
			return time.Since(began)
		}
		off := took(certmanager.PreflightOff)
		w.store = newWorld(t).store
		// One more second is the turn of those that wait until the CA has answered the first ones.
		if warn := took(certmanager.PreflightWarn); warn > off+2100*time.Millisecond {
			t.Errorf("100 certificates took %v, and %v with the checks of a network without DNS", off, warn)
		}
	})
}
