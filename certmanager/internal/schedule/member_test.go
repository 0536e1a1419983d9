package schedule

import (
	"testing"
	"time"
)

func TestMember(t *testing.T) {
	for _, test := range []struct {
		lifetime time.Duration
		r        float64
		want     time.Duration
	}{
		{90 * day, 1, 10 * time.Minute},
		{90 * day, 0.5, 5 * time.Minute},
		{90 * day, 0, 0},
		{6 * day, 1, 10 * time.Minute},
		{time.Hour, 0.5, 18 * time.Second},
		{5 * time.Minute, 1, 3 * time.Second},
		{0, 1, 0},
		{-day, 1, 0},
		{90 * day, 7, 10 * time.Minute},
	} {
		if got := Member(test.lifetime, test.r); got != test.want {
			t.Errorf("%v, %v: %v, want %v", test.lifetime, test.r, got, test.want)
		}
	}
}
