package certmanager_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
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
		time.Sleep(time.Hour + 30*time.Second)
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

// A manager that only serves writes nothing and asks no CA: neither for a revocation that another has left, nor for what it is
// told to do, nor for a record that is broken, which it reports once.
func TestRoleServeWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f, config := w.fronted("example.com")
		config.OnDemand = new(policy).ask
		m, stop := w.serving(config)
		old, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		f.answerWith(only("revokeCert", func(*http.Request) (*http.Response, error) { return nil, errClosed }))
		if err := m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded); err == nil {
			t.Fatal("it is revoked")
		}
		stop()
		f.answerWith(nil)
		if _, err := w.store.Save(t.Context(), record.CertificateKey(config.Issuers[0].ID(), "broken.example.com", "ecdsa-p256"), []byte("broken"), ""); err != nil {
			t.Fatal(err)
		}
		corrupt := w.count(certmanager.EventCorrupt)
		readOnly := &storagetest.Faulty{Store: w.store}
		readOnly.SetFaults(storagetest.Fault{On: storagetest.Writes, Hit: func(key string) { t.Errorf("%s is written", key) }})
		config.Storage, config.Role, config.Names = readOnly, certmanager.RoleServe, []string{"example.com", "broken.example.com"}
		m, stop = w.running(config)
		for name, err := range map[string]error{
			"Revoke": m.Revoke(t.Context(), "example.com", acme.ReasonSuperseded),
			"Delete": m.Delete(t.Context(), "example.com"),
			"Renew":  m.Renew(t.Context(), "example.com"),
			"Import": m.Import(t.Context(), nil, nil),
		} {
			if err == nil || !strings.Contains(err.Error(), "only serves") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := m.RenewAll(func(certmanager.Status) bool { return true }); n != 0 {
			t.Errorf("%d are to be renewed", n)
		}
		time.Sleep(time.Hour + 30*time.Second) // between two tries
		if issuer := served(t, m, "example.com"); issuer == "" {
			t.Error("it serves nothing")
		}
		if s := statusOf(t, m, "broken.example.com"); s.Reason != certmanager.ReasonRole {
			t.Errorf("the broken one is %+v", s)
		}
		stop()
		if w.revoked(old.SerialNumber) >= 0 {
			t.Error("it has revoked what another was to")
		}
		if n := w.count(certmanager.EventCorrupt) - corrupt; n != 1 {
			t.Errorf("the broken record is reported %d times", n)
		}
	})
}
