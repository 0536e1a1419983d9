package certmanager_test

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// servedLeaf returns the certificate that is served for the name, which must be valid.
func servedLeaf(t *testing.T, m *certmanager.Manager, name string) *x509.Certificate {
	t.Helper()
	certificate, err := ask(t, m, name)
	if err != nil || certificate == nil {
		t.Fatalf("%s is not served: %v", name, err)
	}
	leaf, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	if !time.Now().Before(leaf.NotAfter) || leaf.VerifyHostname(name) != nil {
		t.Fatalf("%s is served a certificate for %v that ended %v ago", name, leaf.DNSNames, time.Since(leaf.NotAfter))
	}
	return leaf
}

// TestHeirFailsForWeeks configures a name that was wanted on demand in a certificate with another name, which the CA
// refuses for weeks: that of the name alone is renewed meanwhile, whatever Config.OnDemand says, until the other comes.
func TestHeirFailsForWeeks(t *testing.T) {
	t.Parallel()
	for _, denied := range []bool{false, true} {
		if denied && raceDetector {
			continue
		}
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			local := newLocalCA(t, "local")
			local.change(func(ca *localCA) {
				ca.lifetime = 10 * 24 * time.Hour
				ca.work = func(r certmanager.Request) error {
					if len(r.Identifiers) > 1 {
						return errClosed
					}
					return nil
				}
			})
			var p policy
			config := w.fromLocalCA(local)
			config.OnDemand = p.ask
			m, stop := w.running(config)
			defer stop()
			servedLeaf(t, m, "a.example.com")
			if denied {
				p.set(errForbidden)
			}
			if err := m.Manage(certmanager.Subject{Names: []string{"a.example.com", "b.example.com"}}); err != nil {
				t.Fatal(err)
			}
			for _, other := range [][]string{{"a.example.com"}, {"a.example.com", "c.example.com"}} {
				if err := m.Manage(certmanager.Subject{Names: other}); err == nil {
					t.Errorf("%v is managed beside a certificate with the same name", other)
				}
			}
			for began := time.Now(); time.Since(began) < 42*24*time.Hour; time.Sleep(time.Hour) {
				servedLeaf(t, m, "a.example.com")
			}
			if n := local.count(); n < 6 || n > 8 {
				t.Errorf("%d certificates in six weeks for a lifetime of ten days", n)
			}
			local.change(func(ca *localCA) { ca.work = nil })
			for began := time.Now(); len(servedLeaf(t, m, "a.example.com").DNSNames) == 1; time.Sleep(time.Second) {
				if time.Since(began) > 15*time.Minute {
					t.Fatal("the certificate for both names does not come")
				}
			}
			alone := local.count()
			time.Sleep(30 * 24 * time.Hour)
			servedLeaf(t, m, "b.example.com")
			if all := statuses(m); len(all) != 1 || len(all[0].Names) != 2 || all[0].OnDemand {
				t.Errorf("status: %+v", all)
			}
			if n := local.count() - alone; n > 7 {
				t.Errorf("%d certificates in a month: the name alone is renewed still", n)
			}
		})
	}
}

// TestRenewOfWhatIsInherited has a caller of Renew wait, for a process that has the lease, when the name comes to be configured:
// it is told when that certificate takes over, and does not wait for what nobody does any more.
func TestRenewOfWhatIsInherited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.onDemandFrom(newLocalCA(t, "ca"))
		m, stop := w.running(config)
		defer stop()
		servedLeaf(t, m, "example.com")
		lease, err := (&storage.Claim{Store: w.store, Key: record.WorkKey("ca", "example.com", "ecdsa-p256"), Term: time.Hour}).Try(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer lease.Release(context.Background())
		var caller sync.WaitGroup
		caller.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if err := m.Renew(ctx, "example.com"); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Renew: %v", err)
			}
		})
		time.Sleep(time.Second)
		if err := m.Manage(certmanager.Subject{Names: []string{"example.com", "www.example.com"}}); err != nil {
			t.Fatal(err)
		}
		caller.Wait()
	})
}
