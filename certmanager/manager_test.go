package certmanager_test

import (
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
)

func TestObtainServeRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, stop := w.start(w.config("example.com"))
		w.await(certmanager.EventObtained, "example.com", 1)
		first, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		status := statuses(m)
		if len(status) != 1 || status[0].State != certmanager.StateValid || status[0].Action != certmanager.ActionRenew {
			t.Errorf("status: %+v", status)
		}
		stop()

		_, stop = w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventLoaded, "example.com", 1)
		second, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		if !first.Equal(second) {
			t.Error("after a restart another certificate is served")
		}
		if n := len(w.ca.Orders()); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

// TestTwoManagersRenewOnce lets two managers on one storage come to a renewal: one orders, and the other
// serves what came, and says so.
func TestTwoManagersRenewOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, stopFirst := w.start(w.config("example.com"))
		defer stopFirst()
		w.await(certmanager.EventObtained, "example.com", 1)
		second, stopSecond := w.start(w.config("example.com"))
		defer stopSecond()
		w.await(certmanager.EventLoaded, "example.com", 1)

		renewed := w.await(certmanager.EventObtained, "example.com", 2)
		taken := w.await(certmanager.EventLoaded, "example.com", 2)
		if taken.Serial != renewed.Serial {
			t.Errorf("one manager obtained %s, the other took %s", renewed.Serial, taken.Serial)
		}
		for _, m := range []*certmanager.Manager{first, second} {
			if s := statuses(m)[0]; s.Serial != renewed.Serial || s.State != certmanager.StateValid {
				t.Errorf("status %+v, want the certificate %s", s, renewed.Serial)
			}
		}
		if n := len(w.ca.Orders()); n != 2 {
			t.Errorf("%d orders, want 2", n)
		}
	})
}
