package lifecycle_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// fails has an attempt fail at a time, and returns what is told of it.
func fails(s *lifecycle.State, now time.Time) lifecycle.Report {
	s.Begin(now)
	return s.Finish(lifecycle.Result{Kind: lifecycle.Failed, Until: now.Add(time.Minute)}, now, 0.5)
}

// TestThinning has attempts fail one after the other at times after the beginning, and sees which are told.
func TestThinning(t *testing.T) {
	const year = 365 * day
	for name, attempts := range map[string][]struct {
		at   time.Duration
		tell bool
	}{
		"every hour": {
			{0, true}, {time.Hour, true}, {2 * time.Hour, true}, {3 * time.Hour, false}, {13 * time.Hour, false},
			{14*time.Hour - time.Second, false}, {14 * time.Hour, true}, {15 * time.Hour, false}, {26 * time.Hour, true},
		},
		"every day": {{0, true}, {day, true}, {2 * day, true}, {3 * day, true}, {4 * day, true}},
		"clock set forth by years": {
			{0, true}, {1, true}, {2, true}, {3, false}, {10 * year, true}, {10*year + time.Minute, false},
		},
		"clock set back by years": {
			{0, true}, {1, true}, {2, true}, {3, false}, {-10 * year, true}, {-10*year + time.Minute, false},
			{-10*year + 12*time.Hour, true}, {-10*year + 13*time.Hour, false},
		},
		"clock forth and back again": {
			{0, true}, {1, true}, {2, true}, {10 * year, true}, {time.Hour, true}, {2 * time.Hour, false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := in(loaded)
			for n, attempt := range attempts {
				now := begun.Add(attempt.at)
				task := s.Begin(now)
				report := s.Finish(lifecycle.Result{Kind: lifecycle.Failed, Until: now}, now, 0.5)
				if task.Quiet != (n >= 3) || report.Tell != attempt.tell || report.Stage != 0 {
					t.Errorf("attempt %d, after %v: %+v, %+v", n, attempt.at, task, report)
				}
			}
			loaded(s, begun)
			if task := s.Begin(begun); task.Quiet {
				t.Error("quiet after a success")
			}
			if report := s.Finish(lifecycle.Result{Kind: lifecycle.Failed}, begun, 0.5); !report.Tell {
				t.Error("the first failure after a success is not told")
			}
		})
	}
}

// TestOutageOfYears counts what is told of attempts that fail every ten minutes for two years, beside a certificate of 90 days.
func TestOutageOfYears(t *testing.T) {
	s := in(stored)
	told, stages := 0, make(map[lifecycle.Stage]time.Duration)
	const attempts = 2 * 365 * 24 * 6
	for n := range attempts {
		now := begun.Add(time.Duration(n) * 10 * time.Minute)
		report := fails(s, now)
		if report.Tell {
			told++
		}
		if _, twice := stages[report.Stage]; twice && report.Stage != 0 {
			t.Errorf("stage %d is told twice", report.Stage)
		}
		if report.Stage != 0 {
			stages[report.Stage] = now.Sub(begun)
			if !report.Tell {
				t.Errorf("a stage is told, and the failure is not")
			}
		}
	}
	if most := 3 + 2*2*365 + 3; told > most || told < most-8 {
		t.Errorf("%d failures are told, want %d at most", told, most)
	}
	want := map[lifecycle.Stage]time.Duration{lifecycle.StageThird: 60 * day, lifecycle.StageTenth: 81 * day, lifecycle.StageExpired: 90 * day}
	for stage, after := range want {
		if stages[stage] != after {
			t.Errorf("stage %d is told after %v, want %v", stage, stages[stage], after)
		}
	}
}

// TestStages has attempts fail at ages of the certificate, and sees which stages are told.
func TestStages(t *testing.T) {
	type failure struct {
		age   time.Duration
		stage lifecycle.Stage
	}
	const third, tenth, expired = lifecycle.StageThird, lifecycle.StageTenth, lifecycle.StageExpired
	for name, failures := range map[string][]failure{
		"each": {{59 * day, 0}, {60*day - time.Second, 0}, {60 * day, third}, {80 * day, 0}, {81*day - time.Second, 0}, {81 * day, tenth}, {90*day - time.Second, 0},
			{90 * day, expired}, {91 * day, 0}, {9000 * day, 0}},
		"one alone":            {{91 * day, expired}, {92 * day, 0}},
		"a third, then none":   {{61 * day, third}, {91 * day, expired}},
		"a tenth":              {{82 * day, tenth}, {83 * day, 0}},
		"the clock was ahead":  {{900 * day, expired}, {59 * day, 0}, {60 * day, third}, {81 * day, tenth}, {90 * day, expired}},
		"the clock was behind": {{-900 * day, 0}, {60 * day, third}},
	} {
		t.Run(name, func(t *testing.T) {
			s := in(stored)
			for range 3 {
				fails(s, begun.Add(day))
			}
			for range 2 {
				for _, f := range failures {
					if report := fails(s, begun.Add(f.age)); report.Stage != f.stage {
						t.Errorf("at %v stage %d, want %d", f.age, report.Stage, f.stage)
					}
				}
				serve(s, begun) // another certificate has its own stages
			}
			fails(s, begun.Add(91*day))
			finish(lifecycle.Result{Kind: lifecycle.Current})(s, begun)
			if report := fails(s, begun.Add(91*day)); report.Stage != expired {
				t.Errorf("after a success: %+v", report)
			}
		})
	}
	if report := fails(in(loaded), begun.AddDate(5000, 0, 0)); report.Stage != 0 {
		t.Errorf("without a certificate: %+v", report)
	}
}

// TestThirdIsToldLate has a renewal fail in the last third of the lifetime, as all of them do that fail: that is told as
// something worse only after some failures, or if no attempt was made for long.
func TestThirdIsToldLate(t *testing.T) {
	s := in(stored)
	for n := range 5 {
		want := lifecycle.Stage(0)
		if n == 3 {
			want = lifecycle.StageThird
		}
		if report := fails(s, begun.Add(60*day+time.Duration(n)*time.Hour)); report.Stage != want {
			t.Errorf("failure %d: stage %d, want %d", n+1, report.Stage, want)
		}
	}
	if report := fails(in(stored), begun.Add(70*day)); report.Stage != lifecycle.StageThird {
		t.Errorf("a first failure that is late: %+v", report)
	}
}

// TestBriefOutageIsNoStage has a renewal fail four times in six seconds, and again and again, in the last third of the lifetime: that is
// told as something worse only after a thousandth of the lifetime. What comes later is not spared.
func TestBriefOutageIsNoStage(t *testing.T) {
	const brief = 90 * day / 1000
	for _, attempts := range [][]time.Duration{
		{0, time.Second, 3 * time.Second, 6 * time.Second},
		{0, 1, 2, 3, 4, 5, brief - time.Second},
	} {
		s := in(stored)
		for n, after := range attempts {
			if report := fails(s, begun.Add(60*day+after)); report.Stage != 0 || report.Tell != (n < 3) {
				t.Errorf("failure %d, after %v: %+v", n+1, after, report)
			}
		}
		if report := fails(s, begun.Add(60*day+brief)); report.Stage != lifecycle.StageThird {
			t.Errorf("after %v: %+v", brief, report)
		}
		if report := fails(s, begun.Add(81*day)); report.Stage != lifecycle.StageTenth {
			t.Errorf("with a tenth left: %+v", report)
		}
	}
	for stage, age := range map[lifecycle.Stage]time.Duration{lifecycle.StageTenth: 81 * day, lifecycle.StageExpired: 90 * day} {
		if report := fails(in(stored), begun.Add(age)); report.Stage != stage {
			t.Errorf("a first failure at %v: %+v", age, report)
		}
	}
}

// TestStageOfWhatHasNoLifetime has certificates end when they begin, or sooner, as with an intermediate that has ended.
func TestStageOfWhatHasNoLifetime(t *testing.T) {
	for _, lifetime := range []time.Duration{0, -time.Hour, -90 * day, 1} {
		s := in(loaded)
		s.Serve(begun, begun.Add(lifetime), begun)
		if report := fails(s, begun.Add(time.Second)); report.Stage != lifecycle.StageExpired {
			t.Errorf("lifetime %v: %+v", lifetime, report)
		}
		if p := s.Plan(begun.Add(time.Second)); p.Urgency != lifecycle.Expired {
			t.Errorf("lifetime %v: %+v", lifetime, p)
		}
	}
}
