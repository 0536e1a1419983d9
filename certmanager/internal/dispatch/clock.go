package dispatch

import (
	"math"
	"time"
)

// A clock notices that the wall clock was set back.
type clock struct {
	looked time.Time // when it was looked at last
	wall   time.Time // what the wall clock said then
}

// look returns the time, and how far the wall clock was set back since the last look.
func (c *clock) look() (now time.Time, back time.Duration) {
	now = time.Now()
	wall := now.Round(0)
	if !c.looked.IsZero() {
		back = setBack(wall.Sub(c.wall), now.Sub(c.looked))
	}
	c.looked, c.wall = now, wall
	return now, back
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
