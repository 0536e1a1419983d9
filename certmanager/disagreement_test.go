package certmanager_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
)

const day = 24 * time.Hour

// A datedCA is a localCA whose certificates begin and end as it is told. It has no lock: it is changed between issuances.
type datedCA struct {
	*localCA
	begins, ends time.Duration     // from now
	latest       time.Time         // no certificate ends later; zero: any may
	intermediate *x509.Certificate // above the leaf, in the root's place; nil: none
	asked        int
}

func newDatedCA(t testing.TB, begins, ends time.Duration) *datedCA {
	return &datedCA{localCA: newLocalCA(t, "dated"), begins: begins, ends: ends}
}

func (ca *datedCA) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	ca.change(func(*localCA) { ca.asked++ })
	c, err := ca.localCA.Issue(ctx, r)
	if err != nil {
		return nil, err
	}
	template := *c.Leaf
	template.NotBefore, template.NotAfter = time.Now().Add(ca.begins), time.Now().Add(ca.ends)
	if !ca.latest.IsZero() && template.NotAfter.After(ca.latest) {
		template.NotAfter = ca.latest
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.root, r.Key.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c = &acme.Certificate{Chain: [][]byte{der, ca.root.Raw}, Leaf: leaf}
	if ca.intermediate != nil {
		c.Chain[1] = ca.intermediate.Raw
	}
	return c, nil
}

// requests returns how often the CA was asked.
func (ca *datedCA) requests() (n int) {
	ca.change(func(*localCA) { n = ca.asked })
	return n
}

// addIntermediate puts an intermediate into the chains that ends in a while.
func (ca *datedCA) addIntermediate(t *testing.T, name string, ends time.Duration) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-1000 * day), NotAfter: time.Now().Add(ends), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.root, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.intermediate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
}

// from returns a configuration for certificates of the CA, and what is logged.
func (ca *datedCA) from(w *world) (certmanager.Config, *logs) {
	config, l := w.issuedBy([]certmanager.Issuer{ca}, "example.com"), new(logs)
	config.Logger = l.logger()
	return config, l
}

// warnings returns how many lines there are at WARN.
func (l *logs) warnings() int { return strings.Count(l.String(), "level=WARN") }

// lasting has an hour pass after the other, or a part of one, and requires that the certificate that is served is valid.
func lasting(t *testing.T, m *certmanager.Manager, whole, step time.Duration) {
	t.Helper()
	for end := time.Now().Add(whole); time.Now().Before(end); time.Sleep(step) {
		c, err := ask(t, m, "example.com")
		if err != nil || c == nil || !time.Now().Before(leafOf(t, c).NotAfter) {
			t.Fatalf("at %v no valid certificate is served: %v", time.Now(), err)
		}
	}
}

// TestBackdatedCertificates has a CA date back 13 of 24 hours: at half of the lifetime each certificate would be due when
// it comes.
func TestBackdatedCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newDatedCA(t, -13*time.Hour, 11*time.Hour)
		config, l := ca.from(w)
		m, stop := w.start(config)
		first := w.await(certmanager.EventObtained, "example.com", 1)
		if wait := first.Next.Sub(first.Time); wait < 5*time.Hour+30*time.Minute || wait > 6*time.Hour+12*time.Minute {
			t.Errorf("the renewal is due after %v, want half of eleven hours", wait)
		}
		warning := w.await(certmanager.EventWarning, "example.com", 1)
		for _, says := range []string{"example.com", "13h0m0s ago", "ends in 11h0m0s", "clock"} {
			if !strings.Contains(warning.Err.Error(), says) {
				t.Errorf("the warning %q does not say %q", warning.Err, says)
			}
		}
		if warning.Serial != first.Serial || !warning.Next.Equal(first.Next) || !warning.NotAfter.Equal(first.NotAfter) || warning.Issuer != "dated" {
			t.Errorf("warning %+v of %+v", warning, first)
		}
		lasting(t, m, time.Hour, time.Minute)
		for range 3 {
			stop()
			m, stop = w.running(config)
			lasting(t, m, time.Hour, time.Minute)
		}
		if n, warned := ca.count(), w.count(certmanager.EventWarning); n != 1 || warned != 1 || l.warnings() != 1 {
			t.Errorf("after four hours and three restarts: %d certificates, %d warnings, logged is %s", n, warned, l)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil || ca.count() != 2 {
			t.Errorf("Renew: %v, %d certificates", err, ca.count())
		}
		lasting(t, m, 11*day, time.Hour)
		stop()
		n := ca.count()
		if n < 40 || n > 2+11*24*2/11 {
			t.Errorf("%d certificates in eleven days", n)
		}
		if warned := w.count(certmanager.EventWarning); warned != n || l.warnings() != n {
			t.Errorf("%d certificates, %d warnings, %d of them logged", n, warned, l.warnings())
		}
	})
}

// TestClocksDisagree has the clock of the CA, or of the machine, be wrong by much or little, for a week.
func TestClocksDisagree(t *testing.T) {
	const year = 365 * day
	for _, test := range []struct {
		name           string
		begins, ends   time.Duration
		issued         int // 0: none that can be used
		says           string
		least, longest time.Duration // until the first renewal
	}{
		{"as usual", -time.Hour, 90 * day, 1, "", 50 * day, 65 * day},
		{"the CA is seconds ahead", 30 * time.Second, 90 * day, 1, "", 50 * day, 65 * day},
		{"the CA is minutes ahead", 3 * time.Minute, 90 * day, 1, "3m0s in the future", 50 * day, 65 * day},
		{"the CA is hours ahead", 3 * time.Hour, 90 * day, 0, "in the future", 0, 0},
		{"the CA is years ahead", 2 * year, 2*year + 90*day, 0, "in the future", 0, 0},
		{"the CA is hours behind", -5 * time.Hour, 90*day - 5*time.Hour, 1, "", 50 * day, 65 * day},
		{"the CA is weeks behind", -50 * day, 40 * day, 1, "1200h0m0s ago", 20 * day, 23 * day},
		{"the CA is years behind", -2 * year, -2*year + 90*day, 0, "in the past", 0, 0},
		{"hours ahead, of a day", -20 * time.Hour, 4 * time.Hour, 85, "20h0m0s ago", 2 * time.Hour, 2*time.Hour + 20*time.Minute},
		{"an old certificate", -89 * day, day, 15, "2136h0m0s ago", 12 * time.Hour, 14 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newDatedCA(t, test.begins, test.ends)
				config, l := ca.from(w)
				m, stop := w.running(config)
				defer func() { stop() }()
				if test.issued == 0 {
					failed := w.await(certmanager.EventFailed, "example.com", 1)
					time.Sleep(7 * day)
					if !strings.Contains(failed.Err.Error(), test.says) || !strings.Contains(failed.Err.Error(), "clock") || ca.requests() > 11 {
						t.Errorf("asked for %d certificates in a week, the error is %v", ca.requests(), failed.Err)
					}
					return
				}
				first := w.await(certmanager.EventObtained, "example.com", 1)
				if wait := first.Next.Sub(first.Time); wait < test.least || wait > test.longest {
					t.Errorf("the renewal is due after %v, want %v to %v", wait, test.least, test.longest)
				}
				for range 7 {
					lasting(t, m, day, time.Hour)
					stop()
					m, stop = w.running(config)
				}
				n := ca.count()
				if n > test.issued || n < test.issued*8/10 {
					t.Errorf("%d certificates in a week, want %d", n, test.issued)
				}
				want := n
				if test.says == "" {
					want = 0
				} else if warning := w.await(certmanager.EventWarning, "example.com", 1); !strings.Contains(warning.Err.Error(), test.says) {
					t.Errorf("the warning is %v", warning.Err)
				}
				if warned := w.count(certmanager.EventWarning); warned != want || l.warnings() != want {
					t.Errorf("%d warnings for %d certificates, %d of them logged", warned, n, l.warnings())
				}
			})
		})
	}
}

// TestShortLived has certificates of seconds and minutes renewed all along, with a restart now and then.
func TestShortLived(t *testing.T) {
	for _, lifetime := range []time.Duration{30 * time.Second, 5 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w, ca := newWorld(t), newDatedCA(t, 0, lifetime)
			config, l := ca.from(w)
			const restarts, perRun = 6, 10
			for range restarts {
				m, stop := w.running(config)
				lasting(t, m, perRun*lifetime, lifetime/30)
				stop()
			}
			// Each is renewed at half its age, or up to a sixteenth of its lifetime later.
			if n := ca.count(); n < restarts*perRun*17/10 || n > restarts*perRun*21/10+1 {
				t.Errorf("%d certificates in %d lifetimes", n, restarts*perRun)
			}
			if n := w.count(certmanager.EventFailed) + w.count(certmanager.EventWarning) + l.warnings(); n > 0 {
				t.Errorf("%d failures and warnings", n)
			}
		})
	}
}

// TestIntermediateEnds has an intermediate end before the leaf, and the CA have no other for as long as it lasts, and
// longer. The certificate is replaced before that, some more times in vain, and then kept as long as it is good itself.
func TestIntermediateEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newDatedCA(t, 0, 90*day)
		ca.addIntermediate(t, "Waning", 30*day)
		ends := ca.intermediate.NotAfter
		config, l := ca.from(w)
		m, stop := w.start(config)
		first := w.await(certmanager.EventObtained, "example.com", 1)
		if wait := first.Next.Sub(first.Time); wait < 15*day || wait > 22*day || !first.NotAfter.Equal(ends) {
			t.Errorf("the renewal is due after %v, the end is %v", wait, first.NotAfter)
		}
		warning := w.await(certmanager.EventWarning, "example.com", 1)
		if says := warning.Err.Error(); !strings.Contains(says, "CN=Waning") || !strings.Contains(says, ends.UTC().Format(time.RFC3339)) {
			t.Errorf("the warning is %v", says)
		}
		synctest.Wait()
		if s := statusOf(t, m, "example.com"); !s.NotAfter.Equal(ends) || s.EndOf != "CN=Waning" {
			t.Errorf("status %+v", s)
		}
		lasting(t, m, 29*day, time.Hour)
		stop()
		m, stop = w.running(config)
		lasting(t, m, 2*day, 10*time.Minute)
		n := ca.count()
		if n < 4 || n > 12 || w.count(certmanager.EventWarning) != n || l.warnings() != n {
			t.Errorf("%d certificates, %d warnings until the intermediate had ended", n, w.count(certmanager.EventWarning))
		}
		last := w.await(certmanager.EventWarning, "example.com", n)
		if s := statusOf(t, m, "example.com"); !strings.Contains(last.Err.Error(), "CN=Waning of its chain had ended") || s.EndOf != "" || time.Until(s.NotAfter) < 80*day {
			t.Errorf("the last warning is %v, status %+v", last.Err, s)
		}
		for range 5 {
			lasting(t, m, 9*day, time.Hour)
			stop()
			m, stop = w.running(config)
		}
		if again := ca.count(); again != n {
			t.Errorf("%d certificates more in 45 days with an intermediate that has ended", again-n)
		}
		ca.addIntermediate(t, "New", 3000*day)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		if warned := w.count(certmanager.EventWarning); warned != n {
			t.Errorf("%d warnings of a new chain", warned-n)
		}
		stop()
	})
}

// What is odd about all certificates of a CA is told for each by an event, and in the log once in a while.
func TestOddTimesOfManyNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newDatedCA(t, 0, 90*day)
		ca.addIntermediate(t, "Waning", 30*day)
		config, l := ca.from(w)
		config.Names = siteNames(100)
		m, stop := w.start(config)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.count(certmanager.EventWarning); n != 100 {
			t.Errorf("%d warnings, want one for each certificate", n)
		}
		if n := l.warnings(); n != 1 {
			t.Errorf("%d lines of warning", n)
		}
	})
}

// TestCAEnds has a CA sign for no longer than it lasts itself: each certificate is shorter than the one before.
func TestCAEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newDatedCA(t, 0, 90*day)
		ca.latest = time.Now().Add(20 * day)
		config, _ := ca.from(w)
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		lasting(t, m, 19*day, time.Hour)
		time.Sleep(time.Until(ca.latest.Add(-time.Minute)))
		lasting(t, m, 59*time.Second, time.Second)
		if n := ca.count(); n > 22 {
			t.Errorf("%d certificates until the last minute", n)
		}
		time.Sleep(time.Minute)
		n := ca.requests()
		if n > 40 {
			t.Errorf("%d certificates until the end", n)
		}
		time.Sleep(day)
		if again := ca.requests(); again > n+5 {
			t.Errorf("asked for %d certificates in a day after its end", again-n)
		}
	})
}
