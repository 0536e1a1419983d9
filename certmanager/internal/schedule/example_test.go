package schedule_test

import (
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

func ExampleRenewal() {
	notBefore := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	notAfter := notBefore.AddDate(0, 0, 90)
	for _, r := range []float64{0, 0.5, 0.999} { // in earnest: rand.Float64()
		fmt.Println(schedule.Renewal(notBefore, notAfter, r).Format(time.DateTime))
	}
	// Output:
	// 2026-12-21 15:00:00
	// 2026-12-27 06:00:00
	// 2027-01-01 20:43:48
}

func ExampleRefusalBackoff() {
	for failures := range 5 {
		fmt.Println(schedule.RefusalBackoff(failures+1, 0))
	}
	// Output:
	// 1m0s
	// 10m0s
	// 1h40m0s
	// 24h0m0s
	// 24h0m0s
}
