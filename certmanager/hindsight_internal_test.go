package certmanager

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
)

// TestSightings has each hourly sweep see a lease that somebody holds, as there is one in a fleet with members of other
// configurations: what was never seen again leaves room for a copy, which fades.
func TestSightings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		h := hindsight{lately: 2 * day}
		held := 0
		sweep := func() (fades bool) {
			time.Sleep(time.Hour)
			h.see(time.Now())
			for range 4 {
				held++
				h.hasStood(storage.Record{Key: "work/other/busy.example.com/ecdsa-p256", Item: storage.Item{Revision: storage.Revision(fmt.Sprint(held))}}, quietAge)
			}
			if held > 24*4*30 {
				fades = h.hasStood(storage.Record{Key: "corrupt/x", Item: storage.Item{Revision: "1"}}, copyAge)
			}
			h.fade()
			if len(h.Seen) > maxSightings {
				t.Fatalf("%d are known", len(h.Seen))
			}
			return fades
		}
		began := time.Now()
		for !sweep() {
			if since := time.Since(began); since > 30*day+copyAge+10*day {
				t.Fatalf("the copy has not faded after %v", since)
			}
		}
		if since := time.Since(began); since < 30*day+copyAge {
			t.Errorf("it has faded after %v", since)
		}
	})
}
