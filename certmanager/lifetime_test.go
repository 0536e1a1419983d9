package certmanager_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme/acmetest"
	"github.com/everseal/everseal/certmanager"
)

// TestNinetyDays lets a quarter of a year pass for 100 names: with handshakes all along, no expired
// certificate may be served, and the CA must see exactly the orders that renewals call for.
func TestNinetyDays(t *testing.T) {
	for _, test := range []struct {
		name           string
		lifetime       time.Duration
		earliest, last time.Duration // age at which a certificate is renewed
	}{
		{"ninety-day certificates", 90 * 24 * time.Hour, 50 * 24 * time.Hour, 62 * 24 * time.Hour},
		{"six-day certificates", 6 * 24 * time.Hour, 71 * time.Hour, 82 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, func(ca *acmetest.Server) { ca.Lifetime = test.lifetime })
				names := make([]string, 100)
				if raceDetector {
					names = names[:10]
				}
				for i := range names {
					names[i] = fmt.Sprintf("site-%02d.example.com", i)
				}
				m, stop := w.start(w.config(names...))
				defer stop()
				for _, name := range names {
					w.await(certmanager.EventObtained, name, 1)
				}
				leaves := make(map[string]*x509.Certificate) // what is served, by name
				for end := time.Now().Add(90 * 24 * time.Hour); time.Now().Before(end); time.Sleep(time.Hour) {
					isNew := false // what a client of the first name gets
					for i, name := range names {
						c, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
						if err != nil || c == nil {
							t.Fatalf("%s: %s is served %v, %v", time.Now(), name, c, err)
						}
						leaf := leaves[name]
						if leaf == nil || !bytes.Equal(leaf.Raw, c.Certificate[0]) { // to parse it each time would be most of the work
							leaf, isNew = leafOf(t, c), isNew || i == 0
							leaves[name] = leaf
						}
						if leaf.VerifyHostname(name) != nil || time.Now().After(leaf.NotAfter) {
							t.Fatalf("%s: %s is served the certificate of %v until %v", time.Now(), name, leaf.DNSNames, leaf.NotAfter)
						}
					}
					if !isNew && time.Now().Hour() > 0 {
						continue // a client that connects sees what was looked at: once a day, and when it is new, is enough
					}
					if _, err := w.handshake(t.Context(), names[0]); err != nil {
						t.Fatalf("%s: %s: %v", time.Now(), names[0], err)
					}
				}
				stop()
				checkRenewals(t, w, names, test.earliest, test.last)
			})
		})
	}
}

// checkRenewals checks that each certificate that came to be due was renewed once, at its time, and
// that the times are spread.
func checkRenewals(t *testing.T, w *world, names []string, earliest, last time.Duration) {
	t.Helper()
	chains := make(map[string][]*x509.Certificate)
	for _, c := range w.ca.Certificates() {
		chains[c.DNSNames[0]] = append(chains[c.DNSNames[0]], c)
	}
	certificates := 0
	hours := make(map[int64]int) // renewals by the hour
	for _, name := range names {
		chain := chains[name]
		certificates += len(chain)
		for i, c := range chain[1:] {
			age := c.NotBefore.Sub(chain[i].NotBefore)
			if age < earliest || age > last {
				t.Errorf("%s was renewed after %v, want %v to %v", name, age, earliest, last)
			}
			hours[c.NotBefore.Unix()/3600]++
		}
		if age := time.Since(chain[len(chain)-1].NotBefore); age > last {
			t.Errorf("%s was due for renewal and has not been renewed for %v", name, age)
		}
	}
	orders := len(w.ca.Orders())
	obtained := w.count(certmanager.EventObtained)
	if orders != certificates || orders != obtained || orders < 2*len(names) {
		t.Errorf("%d orders, %d certificates, %d reported; want the same number of each and at least %d", orders, certificates, obtained, 2*len(names))
	}
	if w.count(certmanager.EventFailed) > 0 {
		t.Errorf("%d attempts failed", w.count(certmanager.EventFailed))
	}
	for hour, n := range hours {
		if len(names) >= 100 && n > len(names)/2 { // of a few names, many may meet by chance
			t.Errorf("%d renewals in the hour of %s: not spread", n, time.Unix(hour*3600, 0).UTC())
		}
	}
	if renewals := certificates - len(names); len(hours) <= 2*renewals/len(names) {
		t.Errorf("%d renewals of %d names in %d different hours: not spread", renewals, len(names), len(hours))
	}
	t.Logf("%d certificates in %d different hours", certificates, len(hours))
}
