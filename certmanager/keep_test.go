package certmanager_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A lateIssuer signs at once and answers late, whatever becomes of the context, as for a process that was
// stopped in between.
type lateIssuer struct {
	*localCA
	delay time.Duration
}

func (l lateIssuer) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	certificate, err := l.localCA.Issue(ctx, r)
	time.Sleep(l.delay)
	return certificate, err
}

// TestLateHolder has a manager come back with a certificate hours after it has lost its lease, when
// another has obtained and stored one: the rightful holder's stays.
func TestLateHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		issuedBy := func(issuer certmanager.Issuer) certmanager.Config {
			config := w.config("example.com")
			config.Issuers = []certmanager.Issuer{issuer}
			return config
		}
		late, stopLate := w.start(issuedBy(lateIssuer{local, 3 * time.Hour}))
		defer stopLate()
		synctest.Wait()
		rightful, stopRightful := w.start(issuedBy(local))
		defer stopRightful()
		obtained := w.await(certmanager.EventObtained, "example.com", 1)
		_, before := w.record("certificates")

		time.Sleep(4 * time.Hour)
		if _, after := w.record("certificates"); after.Revision != before.Revision && string(after.Value) != string(before.Value) {
			t.Error("the certificate of the lease's rightful holder was replaced")
		}
		for name, m := range map[string]*certmanager.Manager{"late": late, "rightful": rightful} {
			if s := statuses(m)[0]; s.Serial != obtained.Serial {
				t.Errorf("the %s manager serves %s, want %s", name, s.Serial, obtained.Serial)
			}
		}
	})
}

// TestCertificateComesAsRunEnds ends Run while the issuer is about to answer: what it issued is stored.
func TestCertificateComesAsRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		config := w.config("example.com")
		config.Issuers = []certmanager.Issuer{lateIssuer{local, time.Minute}}
		_, stop := w.start(config)
		time.Sleep(30 * time.Second)
		stop()
		w.record("certificates") // fails the test if there is none

		_, stop = w.start(config)
		defer stop()
		w.await(certmanager.EventLoaded, "example.com", 1)
		if n := local.count(); n != 1 {
			t.Errorf("%d certificates were issued, want 1", n)
		}
	})
}

// TestNothingOfTheProbeStays starts and ends a manager: the record that shows whether the storage can be
// written is gone.
func TestNothingOfTheProbeStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventObtained, "example.com", 1)
		stop()
		if n := w.keys("probe"); n != 0 {
			t.Errorf("%d records of the probe were left", n)
		}
	})
}
