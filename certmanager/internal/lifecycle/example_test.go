package lifecycle_test

import (
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

func Example() {
	var state lifecycle.State
	now := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	actions := []string{lifecycle.Load: "load", lifecycle.Obtain: "obtain", lifecycle.Renew: "renew", lifecycle.Retry: "retry", lifecycle.Poll: "poll"}
	show := func() lifecycle.Plan {
		plan := state.Plan(now)
		fmt.Println(plan.Due.Format(time.DateTime), actions[plan.Action])
		return plan
	}

	show()
	state.Begin(now) // the storage has nothing
	state.Finish(lifecycle.Result{Kind: lifecycle.Loaded}, now, 0.5)

	show()
	state.Begin(now) // the issuer refuses
	report := state.Finish(lifecycle.Result{Kind: lifecycle.Failed, Until: now.Add(time.Minute)}, now, 0.5)
	fmt.Println("failed; tell:", report.Tell)

	now = show().Due
	state.Begin(now) // it issues
	state.Serve(now, now.AddDate(0, 0, 90), now.AddDate(0, 0, 60))
	state.Finish(lifecycle.Result{Kind: lifecycle.Obtained}, now, 0.5)

	show()
	state.PollAt(now.Add(6 * time.Hour))

	now = show().Due
	state.Begin(now) // the issuer wants it renewed sooner
	state.Move(now.Add(time.Hour))
	state.PollAt(now.Add(6 * time.Hour))
	state.Finish(lifecycle.Result{Kind: lifecycle.Polled}, now, 0.5)

	show()
	// Output:
	// 2026-11-01 12:00:00 load
	// 2026-11-01 12:00:00 obtain
	// failed; tell: true
	// 2026-11-01 12:01:00 retry
	// 2026-12-31 12:01:00 renew
	// 2026-11-01 18:01:00 poll
	// 2026-11-01 19:01:00 renew
}
