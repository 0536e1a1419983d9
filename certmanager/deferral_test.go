package certmanager_test

import (
	"errors"
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

// What an issuer fails at for all names is told once, and once that it is over.
func TestUnavailableIssuerIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.err = &acme.Problem{Type: acme.ErrServerInternal, Status: 503}
		names := siteNames(50)
		_, stop := w.start(w.issuedBy([]certmanager.Issuer{ca}, names...))
		defer stop()
		began := time.Now()
		time.Sleep(3 * time.Hour)
		ca.change(func(ca *localCA) { ca.err = nil })
		for _, name := range names {
			w.await(certmanager.EventObtained, name, 1)
		}
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		told := make(map[certmanager.EventKind][]certmanager.Event)
		for _, e := range w.events {
			if len(e.Names) == 0 {
				told[e.Kind] = append(told[e.Kind], e)
			}
		}
		down, up := told[certmanager.EventUnavailable], told[certmanager.EventAvailable]
		if len(down) != 1 || len(up) != 1 || len(told) != 2 {
			t.Fatalf("told of the issuer: %v", told)
		}
		if !errors.Is(down[0].Err, acme.ErrServerInternal) || down[0].Issuer != "local" || !down[0].Next.After(down[0].Time) || !up[0].Since.Equal(began) {
			t.Errorf("told of the issuer: %+v, then %+v", down[0], up[0])
		}
	})
}
