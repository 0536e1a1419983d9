package lifecycle

import (
	"math"
	"testing"
	"time"
)

// TestCountEnds has one more attempt fail than can be counted.
func TestCountEnds(t *testing.T) {
	s := State{command: command{loaded: true}, failures: failures{n: math.MaxInt32}}
	now := time.Unix(1_800_000_000, 0)
	s.Finish(Result{Kind: Failed}, now, 0)
	if n, _ := s.Failures(); n != math.MaxInt32 || s.Plan(now).Action != Retry {
		t.Errorf("%d failures, plan %+v", n, s.Plan(now))
	}
}

func TestInstant(t *testing.T) {
	for _, test := range []struct {
		time time.Time
		want int64
	}{
		{time.Unix(0, 0), 1},
		{time.Unix(0, -1), -1},
		{time.Unix(0, 5), 5},
		{time.Unix(0, math.MaxInt64-1e9), math.MaxInt64 - 1e9},
		{time.Unix(0, math.MaxInt64), math.MaxInt64},
		{time.Unix(0, math.MaxInt64).Add(1), math.MaxInt64},
		{time.Unix(0, math.MinInt64+2e9), math.MinInt64 + 2e9},
		{time.Unix(0, math.MinInt64), math.MinInt64},
		{time.Unix(0, math.MinInt64).Add(-1), math.MinInt64},
		{time.Time{}, math.MinInt64},
		{time.Date(9999, time.December, 31, 0, 0, 0, 0, time.UTC), math.MaxInt64},
	} {
		if got := instant(test.time); got != test.want {
			t.Errorf("%v: %d, want %d", test.time, got, test.want)
		}
	}
}
