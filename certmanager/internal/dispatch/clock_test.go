package dispatch

import (
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func TestSetBack(t *testing.T) {
	for _, test := range []struct{ wall, monotonic, want time.Duration }{
		{time.Hour, time.Hour, 0},
		{time.Hour - time.Second, time.Hour, 0}, // a small correction
		{10 * time.Hour, time.Minute, 0},        // the machine was suspended, or the clock set forward
		{-time.Hour, time.Minute, 61 * time.Minute},
		{-24 * 365 * time.Hour, 0, 24 * 365 * time.Hour},
	} {
		if got := setBack(test.wall, test.monotonic); got != test.want {
			t.Errorf("setBack(%v, %v) is %v, want %v", test.wall, test.monotonic, got, test.want)
		}
	}
}

func TestNanoseconds(t *testing.T) {
	for _, test := range []struct {
		instant time.Time
		want    int64
	}{
		{time.Time{}, math.MinInt64},
		{time.Unix(0, math.MinInt64), math.MinInt64},
		{time.Unix(1, 2), 1_000_000_002},
		{time.Unix(0, math.MaxInt64), math.MaxInt64},
		{time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), math.MaxInt64},
	} {
		if got := nanoseconds(test.instant); got != test.want {
			t.Errorf("nanoseconds(%v) is %d, want %d", test.instant, got, test.want)
		}
	}
}

// TestClockSetBack has tasks planned by a clock that is a year ahead come when the clock is right; fake time cannot be set
// back, but it can be said to have been ahead. Run notices it when it looks next, or when anything is updated.
func TestClockSetBack(t *testing.T) {
	const year = 365 * day
	for _, update := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			d.Workers = 1
			d.run(t)
			synctest.Wait()
			start := time.Now()
			d.Update(
				(&job{name: "sooner"}).at(start.Add(year+5*time.Minute), 0),
				(&job{name: "later"}).at(start.Add(year+time.Hour), 0),
				(&job{name: "overdue"}).at(start.Add(year-time.Hour), 0),
				(&job{name: "never"}).at(time.Unix(1<<60, 0), 0),
			)
			synctest.Wait()
			d.Dispatcher.mu.Lock()
			d.clock.wall = d.clock.wall.Add(year)
			d.Dispatcher.mu.Unlock()
			if update {
				d.Update((&job{name: "planned by the right clock"}).at(start.Add(7*time.Minute), 0))
				d.expect(t, "overdue")
				time.Sleep(5 * time.Minute)
				d.expect(t, "overdue", "sooner")
				time.Sleep(2 * time.Minute)
				d.expect(t, "overdue", "sooner", "planned by the right clock")
				return
			}
			time.Sleep(10*time.Minute - time.Microsecond)
			d.expect(t)
			time.Sleep(time.Microsecond)
			d.expect(t, "overdue", "sooner")
			time.Sleep(50 * time.Minute)
			d.expect(t, "overdue", "sooner", "later")
		})
	}
}

// TestLook checks that the clocks are looked at apart: fake time cannot make them differ.
func TestLook(t *testing.T) {
	var c clock
	c.look()
	if c.wall != c.wall.Round(0) || c.looked == c.looked.Round(0) || !c.looked.Equal(c.wall) {
		t.Errorf("%v and %v, want one instant, the former with a monotonic reading", c.looked, c.wall)
	}
}

// TestClockSetForward has due times pass without the monotonic clock moving on, as while the machine is
// suspended. What the dispatcher knows of an instant is how it compares to the wall clock, so it is the instants that
// are moved.
func TestClockSetForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.run(t)
		synctest.Wait()
		start := time.Now()
		d.Update((&job{name: "a"}).at(start.Add(90*day), 0))
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		d.Dispatcher.mu.Lock()
		d.agenda.waiting.bringForward(90 * day)
		d.Dispatcher.mu.Unlock()
		time.Sleep(7*time.Minute - time.Microsecond)
		d.expect(t)
		time.Sleep(time.Microsecond)
		d.expect(t, "a")
	})
}
