package schedule

import (
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

// TestBringForward has a key set by a clock that is a year ahead come when the clock is right.
func TestBringForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue[string]
		year := 365 * 24 * time.Hour
		begun := time.Now()
		q.Set("later", begun.Add(year+2*time.Hour))
		q.Set("sooner", begun.Add(year+time.Hour))
		q.bringForward(year)
		for _, want := range []struct {
			key   string
			after time.Duration
		}{{"sooner", time.Hour}, {"later", 2 * time.Hour}} {
			key, _, err := q.Next(t.Context())
			if key != want.key || err != nil || time.Since(begun) != want.after {
				t.Errorf("%s came after %v, %v; want %s after %v", key, time.Since(begun), err, want.key, want.after)
			}
		}
	})
}
