package schedule

import (
	"math"
	"testing"
	"time"
)

type bounds struct {
	failures    int
	least, most time.Duration
}

func TestTransientBackoff(t *testing.T) {
	checkBackoff(t, TransientBackoff, []bounds{
		{math.MinInt, time.Second / 2, time.Second},
		{0, time.Second / 2, time.Second},
		{1, time.Second / 2, time.Second},
		{2, time.Second, 2 * time.Second},
		{3, 2 * time.Second, 4 * time.Second},
		{10, 256 * time.Second, 512 * time.Second},
		{11, 5 * time.Minute, 10 * time.Minute},
		{12, 5 * time.Minute, 10 * time.Minute},
		{math.MaxInt, 5 * time.Minute, 10 * time.Minute},
	})
}

func TestRefusalBackoff(t *testing.T) {
	checkBackoff(t, RefusalBackoff, []bounds{
		{math.MinInt, time.Minute, 75 * time.Second},
		{0, time.Minute, 75 * time.Second},
		{1, time.Minute, 75 * time.Second},
		{2, 10 * time.Minute, 12*time.Minute + 30*time.Second},
		{3, 100 * time.Minute, 125 * time.Minute},
		{4, day, 30 * time.Hour},
		{5, day, 30 * time.Hour},
		{math.MaxInt, day, 30 * time.Hour},
	})
}

// checkBackoff checks that r leads evenly from the least wait to the most, and no further.
func checkBackoff(t *testing.T, backoff func(int, float64) time.Duration, tests []bounds) {
	t.Helper()
	for _, tt := range tests {
		width := tt.most - tt.least
		wants := map[float64]time.Duration{
			0: tt.least, 0.25: tt.least + width/4, 0.5: tt.least + width/2, 1: tt.most,
			-1: tt.least, math.NaN(): tt.least, math.Inf(-1): tt.least, 2: tt.most, math.Inf(1): tt.most,
		}
		for r, want := range wants {
			if got := backoff(tt.failures, r); got != want {
				t.Errorf("%d failures, r = %v: %v, want %v", tt.failures, r, got, want)
			}
		}
	}
}
