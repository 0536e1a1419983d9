package certmanager

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/ca"
)

// TestYearUnderLimits has three members keep certificates of 45 days for a year under Let's Encrypt's limits, with more names
// of each domain than it grants a week: by its rule that replacements do not count, and by that of a CA that counts them. The
// CA refuses none, new names come about as fast as the limits let them, and none is renewed late or expires.
func TestYearUnderLimits(t *testing.T) {
	domains, days := 2, 360
	if underRace {
		domains, days = 1, 120 // of certificates that are renewed each month
	}
	const each, lifetime, day = 60, 45 * 24 * time.Hour, 24 * time.Hour
	known := ca.At(acme.LetsEncrypt).Limits
	limits := Limits{
		NewOrders: Limit(known.Orders), CertificatesPerDomain: Limit(known.CertificatesPerDomain), CertificatesPerSet: Limit(known.CertificatesPerSet),
	}
	for _, exempts := range []bool{true, false} {
		t.Run(fmt.Sprintf("replacements exempt %t", exempts), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := startPacedFleet(t, &countingCA{limits: limits, exempts: exempts, lifetime: lifetime}, 3)
				defer f.stop()
				names := each * domains
				f.manage(t, "www%d.domain%d.example", names, domains)
				time.Sleep(time.Hour)
				if once, _ := f.count(); once != 45*domains { // a tenth of fifty is left to renewals
					t.Errorf("%d names have a certificate after an hour, want 45 of each domain", once)
				}
				time.Sleep(5 * day) // fifteen tokens come back in two, and members come in vain now and then
				if once, _ := f.count(); once != names {
					t.Errorf("%d of %d names have a certificate after five days", once, names)
				}
				for range days {
					time.Sleep(day)
					for _, m := range f.managers {
						if stats := m.Stats(); stats.States[StateExpired] > 0 {
							t.Fatalf("%+v", stats)
						}
					}
				}
				synctest.Wait()
				f.remote.mu.Lock()
				defer f.remote.mu.Unlock()
				if f.remote.excesses > 0 {
					t.Errorf("the CA counts %d orders beyond its limits", f.remote.excesses)
				}
				f.checkRenewals(t, lifetime)
			})
		})
	}
}

// checkRenewals checks that each certificate was renewed when nine sixteenths of its lifetime were over, or two thirds, or by a tenth of it later.
func (f *pacedFleet) checkRenewals(t *testing.T, lifetime time.Duration) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	renewals := 0
	for name, times := range f.obtained {
		renewals += len(times) - 1
		for i, at := range append(times[1:len(times):len(times)], time.Now()) {
			age := at.Sub(times[i])
			if age > lifetime*77/100 || i+2 <= len(times) && age < lifetime*56/100 {
				t.Errorf("%s has a certificate that is %v old, and %d before it", name, age, i)
			}
		}
	}
	t.Logf("%d renewals of %d names", renewals, len(f.obtained))
}
