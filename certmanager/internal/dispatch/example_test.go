package dispatch_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/certmanager/internal/dispatch"
)

// A visit is a task that is to be done once.
type visit struct {
	dispatch.Place
	name    string
	due     time.Time
	urgency dispatch.Urgency
	done    atomic.Bool
}

func (v *visit) Plan() (time.Time, dispatch.Urgency, bool) { return v.due, v.urgency, !v.done.Load() }

func (v *visit) Group() string { return v.name }

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	d := dispatch.Dispatcher[*visit]{
		Workers: 1,
		Do: func(_ context.Context, v *visit) {
			fmt.Println(v.name)
			v.done.Store(true)
			if v.name == "tomorrow's, brought forward" {
				cancel()
			}
		},
	}
	now := time.Now()
	tomorrow := &visit{name: "tomorrow's, brought forward", due: now.Add(24 * time.Hour), urgency: 3}
	d.Update(
		tomorrow,
		&visit{name: "next year's", due: now.AddDate(1, 0, 0)},
		&visit{name: "last week's", due: now.AddDate(0, 0, -7), urgency: 2},
		&visit{name: "today's urgent one", due: now, urgency: 1},
	)
	tomorrow.due = now
	d.Update(tomorrow)
	d.Run(ctx)
	fmt.Println(d.Stats().Waiting, "waiting")
	// Output:
	// today's urgent one
	// last week's
	// tomorrow's, brought forward
	// 1 waiting
}
