package gate_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/gate"
)

func Example() {
	var g gate.Gate // before the issuer of a thousand names
	now := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	asked, probes := 0, 0
	ask := func() {
		pass, err := g.Enter(now, time.Time{})
		if err != nil {
			return
		}
		asked++
		pass.Done(now, gate.Result{Outcome: gate.Outage, Err: errors.New("the CA is down")})
	}
	for range 1000 {
		ask()
	}
	fmt.Println(g.Closed(now, time.Time{}))
	for range 10 {
		now = now.Add(time.Minute)
		before := asked
		for range 1000 {
			ask()
		}
		probes += asked - before
	}
	fmt.Println(probes, "probes in ten minutes")
	// Output:
	// the issuer is not asked before 2026-11-01T12:00:10Z: the CA is down
	// 10 probes in ten minutes
}
