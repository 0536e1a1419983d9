package schedule_test

import (
	"math"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// TestSuggested has a certificate of 100 days, begun at day 0, planned for day 66, and windows in days. A member's turn comes up
// to ten minutes later.
func TestSuggested(t *testing.T) {
	const turn = 10.0 / 24 / 60
	begin := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	at := func(days float64) time.Time { return begin.Add(time.Duration(days * float64(24*time.Hour))) }
	valid := schedule.Span{Start: begin, End: at(100)}
	for _, test := range []struct {
		name                         string
		start, end, planned, r, want float64
	}{
		{"it is kept", 65, 67, 66, 0.5, 66},
		{"it is kept at the beginning", 66, 67, 66, 0.5, 66},
		{"it is kept at the end", 65, 66 + turn, 66, 0.5, 66},
		{"its turn were after the end", 65, 66, 66, 0.5, 65.5 - turn/2},
		{"earlier", 40, 42, 66, 0, 40},
		{"earlier, in the middle", 40, 42, 66, 0.5, 41 - turn/2},
		{"later", 70, 80, 66, 0.5, 75 - turn/2},
		{"until after the last tenth begins", 80, 120, 66, 0.5, 85},
		{"in the last tenth", 95, 99, 66, 0.5, 90},
		{"after the end", 200, 201, 66, 0.5, 90},
		{"before the beginning", -20, -10, 66, 0.5, 0},
		{"from before the beginning", -20, 10, 66, 0.5, 5 - turn/2},
		{"all of time", -100000, 100000, 66, 0.5, 66},
		{"all of time, planned for the last tenth", -100000, 100000, 95, 0.5, 45},
		{"no longer than a turn", 30, 30 + turn, 66, 1, 30 + turn/2},
		{"an instant", 30, 30, 66, 0.5, 30},
		{"its end first", 40, 30, 66, 0.5, 40},
		{"a random number that is none", 40, 42, 66, 7, 42 - turn},
	} {
		got := schedule.Suggested(schedule.Span{Start: at(test.start), End: at(test.end)}, valid, at(test.planned), test.r)
		if got.Sub(at(test.want)).Abs() > time.Millisecond {
			t.Errorf("%s: day %v, want %v", test.name, got.Sub(begin).Hours()/24, test.want)
		}
	}
	distant := schedule.Span{Start: time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), End: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}
	if got := schedule.Suggested(distant, valid, at(95), 0.5); !got.Equal(at(45)) {
		t.Errorf("from the year 1 to 9999: %v", got)
	}
	if got := schedule.Suggested(distant, schedule.Span{Start: begin, End: begin.Add(-time.Hour)}, at(95), 0.5); !got.Equal(begin) {
		t.Errorf("without a lifetime: %v", got)
	}
}

func TestFirstPoll(t *testing.T) {
	for early, least := range map[int]time.Duration{-1: 3, 0: 3, 1: 6, 2: 12, 3: 24, 4: 48, 5: 48, math.MaxInt: 48} {
		for _, r := range []float64{0, 0.5, 1} {
			want := least*time.Hour + time.Duration(r*float64(least*time.Hour))
			if got := schedule.FirstPoll(early, r); got != want {
				t.Errorf("after %d with %v: %v, want %v", early, r, got, want)
			}
		}
	}
}

func TestPollBackoff(t *testing.T) {
	for failures, want := range map[int]time.Duration{-1: 1, 0: 1, 1: 1, 2: 2, 3: 4, 9: 256, 10: 360, 11: 360, math.MaxInt: 360} {
		if got := schedule.PollBackoff(failures, 0); got != want*time.Minute {
			t.Errorf("after %d: %v, want %v minutes", failures, got, want)
		}
		if got := schedule.PollBackoff(failures, 1); got != want*time.Minute*5/4 {
			t.Errorf("after %d at most: %v", failures, got)
		}
	}
}
