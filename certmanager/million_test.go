package certmanager_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/budget"
)

// TestMillionPulledForward has a CA want a twentieth of a million certificates replaced within one hour. It counts as Let's
// Encrypt does and is so busy that an order takes up to forty minutes, while thousands of new names want their first certificates.
// All that are pulled forward are replaced within a day, and nothing that is about to expire is late, whether or not its order
// counts.
func TestMillionPulledForward(t *testing.T) {
	n := 1_000_000
	if raceDetector || testing.Short() {
		n /= 50
	}
	synctest.Test(t, func(t *testing.T) {
		const expiring, newcomers = 2400, 3000
		m, began, hearing := newBareManager(t, budget.Limit{Count: 300, Per: 3 * time.Hour}), time.Now(), 6*time.Hour
		defer m.stop()
		m.ca.work, m.ca.pulled = 40*time.Minute, acme.Window{Start: began, End: began.Add(time.Hour)}
		all := bareNames(n)
		old, rest := all[:expiring], all[expiring+newcomers:]
		for i, n := range old { // is due within the day, with less than a tenth left
			due := began.Add(rand.N(day - time.Hour))
			n.serve(due.Add(-yearLifetime * 92 / 100))
			n.state.Move(due)
			if i%2 == 0 {
				n.kind = imported
			}
		}
		for i, n := range rest {
			n.serve(began.Add(-rand.N(24 * day)))
			n.state.PollAt(began.Add(rand.N(hearing)))
			if i%20 == 0 {
				n.kind = pulled
			}
		}
		m.dispatcher.Update(all...)
		time.Sleep(day)
		m.stop()
		for _, n := range rest {
			if n.kind == pulled && n.renewed != 1 {
				t.Fatalf("a certificate that was pulled forward is replaced %d times within a day", n.renewed)
			}
		}
		latest := time.Duration(0)
		for _, n := range old {
			latest = max(latest, n.late)
			if n.renewed != 1 {
				t.Fatalf("one that was about to expire is renewed %d times", n.renewed)
			}
		}
		if latest > time.Minute {
			t.Errorf("one that was about to expire is renewed %v after it was due", latest)
		}
		granted := 0
		for _, n := range all[expiring : expiring+newcomers] {
			if !n.last.End.IsZero() {
				granted++
			}
		}
		// The bucket grants 300 at once, of which new names leave a tenth, and one each 36 seconds.
		if most := 270 + 2400 - expiring/2; granted > most || granted < most*9/10 || m.ca.excesses > 0 {
			t.Errorf("%d new names have a certificate, want about %d; the CA counts %d orders beyond its limit", granted, most, m.ca.excesses)
		}
		if m.ca.issued.peak > 200 {
			t.Errorf("%d orders in one second, and Let's Encrypt takes 200", m.ca.issued.peak)
		}
		orders, most := m.ca.issued.from(0)
		t.Logf("%d orders, %d in the fullest hour; about to expire, the latest was renewed %v after it was due", orders, most, latest)
	})
}
