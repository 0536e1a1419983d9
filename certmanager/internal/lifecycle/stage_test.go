package lifecycle

import (
	"testing"
	"time"
)

// TestStagesAreToldOnce has attempts fail, or be hindered, each hour from the renewal's time on until after the end.
func TestStagesAreToldOnce(t *testing.T) {
	const lifetime = 90 * 24 * time.Hour
	begin := time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	end, renewal := begin.Add(lifetime), begin.Add(lifetime/3*2+time.Hour)
	for _, test := range []struct {
		name   string
		result Result
		want   map[Stage]time.Duration // left of the lifetime
	}{
		{"failed", Result{Kind: Failed}, map[Stage]time.Duration{StageThird: lifetime/3 - 4*time.Hour, StageTenth: lifetime / 10, StageExpired: 0}},
		{"hindered", Result{Kind: Deferred, Hindered: true}, map[Stage]time.Duration{StageThird: lifetime/3 - time.Hour - 44*time.Hour, StageTenth: lifetime / 10, StageExpired: 0}},
		{"deferred", Result{Kind: Deferred}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var s State
			s.Serve(begin, end, renewal)
			s.Finish(Result{Kind: Loaded}, begin, 0)
			told := make(map[Stage]time.Duration)
			for now := renewal; now.Before(end.Add(10 * 24 * time.Hour)); now = now.Add(time.Hour) {
				s.Begin(now)
				result := test.result
				result.Until = now.Add(time.Hour)
				if stage := s.Finish(result, now, 0).Stage; stage != 0 {
					if _, twice := told[stage]; twice {
						t.Errorf("stage %d is told twice", stage)
					}
					told[stage] = end.Sub(now)
				}
			}
			if len(told) != len(test.want) {
				t.Errorf("told %v", told)
			}
			for stage, left := range test.want {
				if told[stage] != left {
					t.Errorf("stage %d is told with %v left, want %v", stage, told[stage], left)
				}
			}
		})
	}
}
