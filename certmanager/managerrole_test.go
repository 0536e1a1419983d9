package certmanager_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// One manager renews, and another one with its storage, which that can't write, serves: also what is obtained after it has
// begun, and what replaces that. It is loud about what nobody renews.
func TestRoles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newLocalCA(t, "ca")
		ca.change(func(ca *localCA) { ca.err, ca.lifetime = errClosed, 9*24*time.Hour })
		config := w.fromLocalCA(ca, "example.com", "www.example.com")
		renewing := config
		renewing.Role, renewing.OnEvent = certmanager.RoleRenew, nil
		r, err := certmanager.New(renewing)
		if err != nil {
			t.Fatal(err)
		}
		stopRenewing := w.run(r)
		config.Role = certmanager.RoleServe
		readOnly := &storagetest.Faulty{Store: w.store}
		readOnly.SetFaults(storagetest.Fault{On: storagetest.Save | storagetest.Delete})
		config.Storage = readOnly
		m, stop := w.running(config)
		defer stop()
		time.Sleep(time.Hour + time.Second)
		s, _ := m.Status("example.com")
		if s.State != certmanager.StateWaiting || s.Reason != certmanager.ReasonRole || s.Failure != nil {
			t.Errorf("before there is anything: %+v", s)
		}
		if err := m.Renew(t.Context(), "example.com"); err == nil {
			t.Error("the one that serves renews")
		}
		ca.change(func(ca *localCA) { ca.err = nil })
		time.Sleep(24 * time.Hour)
		if issuer := served(t, m, "example.com"); issuer != "ca" {
			t.Errorf("served is what %s signed", issuer)
		}
		if issuer := issuerOf(t, r, "example.com"); issuer != "unrecognized_name" {
			t.Errorf("the one that renews serves: %s", issuer)
		}
		if err := r.Serve(t.Context(), new(http.Server)); err == nil {
			t.Error("the one that renews begins to serve")
		}
		for range 3 {
			time.Sleep(9 * 24 * time.Hour)
			if s, _ := m.Status("www.example.com"); s.State != certmanager.StateValid || time.Until(s.NotAfter) < 3*24*time.Hour {
				t.Errorf("after nine days: %+v", s)
			}
		}
		stopRenewing()
		expiring := w.count(certmanager.EventExpiring)
		time.Sleep(9 * 24 * time.Hour)
		if w.count(certmanager.EventExpiring) == expiring {
			t.Error("nobody renews, and nobody is told")
		}
		if failed := w.count(certmanager.EventFailed); failed != 0 {
			t.Errorf("%d failures, though nothing was tried", failed)
		}
	})
}

// A manager that only serves has on demand what is stored, and obtains nothing.
func TestOnDemandWithRoleServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		ca := newLocalCA(t, "ca")
		config := w.onDemandFrom(ca)
		m, stop := w.running(config)
		if issuer := served(t, m, "example.com"); issuer != "ca" {
			t.Fatal(issuer)
		}
		stop()
		config.Role = certmanager.RoleServe
		m, stop = w.running(config)
		defer stop()
		if issuer := served(t, m, "example.com"); issuer != "ca" {
			t.Error(issuer)
		}
		if c, err := ask(t, m, "www.example.com"); c != nil {
			t.Errorf("obtained: %v", err)
		}
		if ca.issued != 1 {
			t.Errorf("%d certificates were issued", ca.issued)
		}
	})
}
