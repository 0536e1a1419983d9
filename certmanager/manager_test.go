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
		status := m.Status()
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
