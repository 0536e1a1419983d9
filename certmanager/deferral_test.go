package certmanager_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

// A member of a fleet whose own account is refused serves what another member obtains.
func TestRefusedMemberServesWhatAnotherObtains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		refused := newLocalCA(t, "local")
		refused.err = &certmanager.UnavailableError{Err: &acme.Problem{Type: acme.ErrUnauthorized, Status: 403}, RetryAfter: 24 * time.Hour}
		m, stop := w.start(w.issuedBy([]certmanager.Issuer{refused}, "example.com"))
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 1)
		_, stopOther := w.start(w.issuedBy([]certmanager.Issuer{ca}, "example.com"))
		defer stopOther()
		w.await(certmanager.EventObtained, "example.com", 1)
		time.Sleep(15 * time.Minute)
		if _, err := ask(t, m, "example.com"); err != nil {
			t.Errorf("the member that is refused does not serve what the other obtained: %v", err)
		}
		time.Sleep(12 * time.Hour)
		if n := w.count(certmanager.EventFailed); n != 1 {
			t.Errorf("%d failures in a day in which the issuer is not to be asked, want the first alone", n)
		}
	})
}
