package certmanager_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// TestNamesOfOneHourSpread has many names get their first certificates in one hour, of a CA that does not say when to renew. They
// are renewed over an eighth of the lifetime, or a sixteenth if it is short, no hour of it much fuller than another, and each time over
// more of it.
func TestNamesOfOneHourSpread(t *testing.T) {
	n := 500
	if raceDetector {
		n = 100
	}
	for lifetime, window := range map[time.Duration]time.Duration{90 * day: 270 * time.Hour, 45 * day: 135 * time.Hour, 6 * day: 9 * time.Hour} {
		t.Run(fmt.Sprint(lifetime), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ca, names := newLocalCA(t, "local"), manyNames("site%d.example", n)
				ca.lifetime = lifetime
				obtained := make(map[string][]time.Time)
				m, stop := runQuietly(t, certmanager.Config{Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, SweepInterval: -1, OnEvent: func(e certmanager.Event) {
					if e.Kind == certmanager.EventObtained {
						obtained[e.Names[0]] = append(obtained[e.Names[0]], e.Time)
					}
				}})
				began := time.Now()
				for i, name := range names {
					if err := m.Manage(certmanager.Subject{Names: []string{name}}); err != nil {
						t.Fatal(err)
					}
					after(time.Until(began.Add(time.Duration(i+1) * time.Hour / time.Duration(n))))
				}
				const generations = 3
				time.Sleep(lifetime*generations*3/4 + time.Hour)
				stop()
				var spans [generations]time.Duration
				for generation := range generations {
					times, perHour, fullest := make([]time.Time, 0, n), make(map[time.Duration]int), 0
					for _, name := range names {
						if len(obtained[name]) <= generation+1 {
							t.Fatalf("%s was renewed %d times", name, len(obtained[name])-1)
						}
						at := obtained[name][generation+1]
						times = append(times, at)
						perHour[at.Sub(began)/time.Hour]++
						fullest = max(fullest, perHour[at.Sub(began)/time.Hour])
					}
					slices.SortFunc(times, time.Time.Compare)
					span := times[n*19/20].Sub(times[n/20]) // of nine in ten
					t.Logf("renewal %d: %v, the fullest hour has %d of %d", generation+1, span, fullest, n)
					if generation == 0 && (span < window*7/10 || span > window+time.Hour) {
						t.Errorf("nine in ten of the first renewals are spread over %v, want most of %v", span, window)
					}
					if even := float64(n) / window.Hours(); float64(fullest) > even*1.5+15 {
						t.Errorf("renewal %d: %d are renewed in one hour, evenly spread they were %.0f", generation+1, fullest, even)
					}
					spans[generation] = span
				}
				if spans[generations-1] < spans[0]*5/4 {
					t.Errorf("the last renewal is spread over %v, the first one over %v", spans[generations-1], spans[0])
				}
			})
		})
	}
}
