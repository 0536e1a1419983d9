package dispatch

import (
	"math"
	"time"
)

// longestSleep bounds how late Run notices that the wall clock moved on without the monotonic one.
const longestSleep = 10 * time.Minute

// look returns the time, and makes good for a wall clock that was set back since the last look.
func (d *Dispatcher[T]) look() time.Time {
	now := time.Now()
	wall := now.Round(0)
	if !d.looked.IsZero() {
		d.bringForward(setBack(wall.Sub(d.wall), now.Sub(d.looked)))
	}
	d.looked, d.wall = now, wall
	return now
}

// setBack returns how far the wall clock was set back, given by how much each clock moved on. Small
// corrections do not count.
func setBack(wall, monotonic time.Duration) time.Duration {
	const small = time.Minute
	if back := monotonic - wall; back > small {
		return back
	}
	return 0
}

// bringForward makes all that waits due that much earlier, which leaves its order as it is: what was planned by a clock
// that was ahead would come late by as much.
func (d *Dispatcher[T]) bringForward(by time.Duration) {
	if by == 0 {
		return
	}
	for _, t := range d.waiting {
		p := t.place()
		p.due = max(p.due, math.MinInt64+int64(by)) - int64(by)
	}
}

// nanoseconds returns an instant in nanoseconds since 1970, or the first or last one there is.
func nanoseconds(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, math.MinInt64)):
		return math.MinInt64
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}
