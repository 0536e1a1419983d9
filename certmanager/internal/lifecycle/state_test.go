package lifecycle_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

const day = 24 * time.Hour

// begun is when the tests begin. Their certificates are of 90 days, to be renewed after 60.
var begun = time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)

// A step changes a state at a time.
type step func(s *lifecycle.State, now time.Time)

// in returns the state that the steps lead to, all of them taken at the beginning.
func in(steps ...step) *lifecycle.State {
	s := new(lifecycle.State)
	for _, step := range steps {
		step(s, begun)
	}
	return s
}

// finish is a whole task.
func finish(r lifecycle.Result) step {
	return func(s *lifecycle.State, now time.Time) {
		s.Begin(now)
		s.Finish(r, now, 0.5)
	}
}

func loaded(s *lifecycle.State, now time.Time) {
	finish(lifecycle.Result{Kind: lifecycle.Loaded})(s, now)
}

func serve(s *lifecycle.State, now time.Time) { s.Serve(now, now.Add(90*day), now.Add(60*day)) }

// stored is a load that finds a certificate.
func stored(s *lifecycle.State, now time.Time) {
	s.Begin(now)
	serve(s, now)
	s.Finish(lifecycle.Result{Kind: lifecycle.Loaded}, now, 0.5)
}

func command(s *lifecycle.State, _ time.Time) { s.Command() }

func await(n int32) step { return func(s *lifecycle.State, _ time.Time) { s.Await(n) } }

func unload(s *lifecycle.State, _ time.Time) { s.Unload() }

func failed(wait time.Duration) step {
	return func(s *lifecycle.State, now time.Time) {
		finish(lifecycle.Result{Kind: lifecycle.Failed, Until: now.Add(wait)})(s, now)
	}
}

func deferred(wait time.Duration) step {
	return func(s *lifecycle.State, now time.Time) {
		finish(lifecycle.Result{Kind: lifecycle.Deferred, Until: now.Add(wait)})(s, now)
	}
}

func TestPlan(t *testing.T) {
	at := func(after time.Duration) step {
		return func(s *lifecycle.State, now time.Time) {
			s.Serve(now.Add(-90*day+after), now.Add(after), now.Add(-30*day+after))
		}
	}
	for _, test := range []struct {
		name    string
		state   *lifecycle.State
		action  lifecycle.Action
		due     time.Duration
		urgency lifecycle.Urgency
	}{
		{"not loaded", in(), lifecycle.Load, 0, lifecycle.Loading},
		{"not loaded, awaited", in(await(1)), lifecycle.Load, 0, lifecycle.Handshake},
		{"not loaded, commanded", in(command), lifecycle.Load, 0, lifecycle.Commanded},
		{"not loaded, commanded and awaited", in(command, await(1)), lifecycle.Load, 0, lifecycle.Handshake},
		{"not loaded, no longer awaited", in(await(1), await(1), await(-1), await(-1)), lifecycle.Load, 0, lifecycle.Loading},
		{"the storage failed", in(failed(time.Hour)), lifecycle.Load, time.Hour, lifecycle.Loading},
		{"the storage failed, commanded", in(failed(time.Hour), command), lifecycle.Load, time.Hour, lifecycle.Commanded},
		{"loaded, nothing stored", in(loaded), lifecycle.Obtain, 0, lifecycle.New},
		{"loaded, nothing stored, awaited", in(loaded, await(1)), lifecycle.Obtain, 0, lifecycle.Handshake},
		{"refused", in(loaded, failed(time.Hour)), lifecycle.Retry, time.Hour, lifecycle.New},
		{"refused, awaited", in(loaded, failed(time.Hour), await(1)), lifecycle.Retry, time.Hour, lifecycle.Handshake},
		{"refused, commanded", in(loaded, failed(time.Hour), command), lifecycle.Retry, 0, lifecycle.Commanded},
		{"deferred", in(loaded, deferred(time.Hour)), lifecycle.Obtain, time.Hour, lifecycle.New},
		{"deferred, then commanded", in(loaded, deferred(time.Hour), command), lifecycle.Obtain, 0, lifecycle.Commanded},
		{"commanded, then deferred", in(loaded, command, deferred(time.Hour)), lifecycle.Obtain, time.Hour, lifecycle.Commanded},
		{"commanded, deferred, commanded", in(loaded, command, deferred(time.Hour), command), lifecycle.Obtain, 0, lifecycle.Commanded},
		{"deferred after a failure", in(loaded, failed(time.Minute), deferred(time.Hour)), lifecycle.Retry, time.Hour, lifecycle.New},
		{"deferred into the past", in(loaded, deferred(-time.Hour)), lifecycle.Obtain, -time.Hour, lifecycle.New},
		{"a certificate", in(stored), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"a certificate, commanded", in(stored, command), lifecycle.Renew, 0, lifecycle.Commanded},
		{"a certificate, renewal refused", in(stored, failed(time.Hour)), lifecycle.Retry, time.Hour, lifecycle.Early},
		{"refused until its last days", in(stored, failed(85*day)), lifecycle.Retry, 85 * day, lifecycle.Expiring},
		{"refused until it has ended", in(stored, failed(90*day)), lifecycle.Retry, 90 * day, lifecycle.Expired},
		{"a tenth of the lifetime left", in(loaded, at(9*day)), lifecycle.Renew, -21 * day, lifecycle.Expiring},
		{"a little more than a tenth left", in(loaded, at(9*day+time.Second)), lifecycle.Renew, -21*day + time.Second, lifecycle.Early},
		{"a second left", in(loaded, at(time.Second)), lifecycle.Renew, -30*day + time.Second, lifecycle.Expiring},
		{"ended", in(loaded, at(0)), lifecycle.Renew, -30 * day, lifecycle.Expired},
		{"ended, renewal refused", in(loaded, at(-day), failed(time.Hour)), lifecycle.Retry, time.Hour, lifecycle.Expired},
		{"ended, deferred", in(loaded, at(-day), deferred(time.Hour)), lifecycle.Renew, time.Hour, lifecycle.Expired},
		{"to be loaded again", in(stored, unload), lifecycle.Load, 0, lifecycle.Loading},
		{"to be loaded again after a failure", in(stored, failed(day), unload), lifecycle.Load, 0, lifecycle.Loading},
		{"to be loaded again after a deferral", in(stored, deferred(day), unload), lifecycle.Load, 0, lifecycle.Loading},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.state.Plan(begun)
			if p.Action != test.action || p.Urgency != test.urgency || !p.Due.Equal(begun.Add(test.due)) {
				t.Errorf("action %d in %v, urgency %d; want %d in %v, %d",
					p.Action, p.Due.Sub(begun), p.Urgency, test.action, test.due, test.urgency)
			}
		})
	}
}

// TestWhatSucceedsEndsWhatFailed takes each of the results by which a failure is over.
func TestWhatSucceedsEndsWhatFailed(t *testing.T) {
	for _, kind := range []lifecycle.Kind{lifecycle.Loaded, lifecycle.Obtained, lifecycle.Current} {
		s := in(stored, failed(time.Hour), failed(2*time.Hour))
		if n, since := s.Failures(); n != 2 || !since.Equal(begun) {
			t.Errorf("%d failures since %v", n, since)
		}
		finish(lifecycle.Result{Kind: kind})(s, begun.Add(time.Hour))
		n, since := s.Failures()
		if p := s.Plan(begun); n != 0 || !since.IsZero() || p.Action != lifecycle.Renew || !p.Due.Equal(begun.Add(60*day)) {
			t.Errorf("after result %d: %d failures since %v, plan %+v", kind, n, since, p)
		}
		if !s.Loaded() || !s.Renewal().Equal(begun.Add(60*day)) {
			t.Errorf("after result %d: loaded %v, renewal %v", kind, s.Loaded(), s.Renewal())
		}
	}
}

// TestDeferralIsNoFailure has some come between two failures.
func TestDeferralIsNoFailure(t *testing.T) {
	s := in(loaded, failed(time.Hour))
	later := begun.Add(time.Hour)
	s.Begin(later)
	if report := s.Finish(lifecycle.Result{Kind: lifecycle.Deferred, Until: later}, later, 0.5); report != (lifecycle.Report{}) {
		t.Errorf("a deferral reports %+v", report)
	}
	if n, since := s.Failures(); n != 1 || !since.Equal(begun) {
		t.Errorf("%d failures since %v, want 1 since the beginning", n, since)
	}
	failed(time.Hour)(s, later)
	if n, since := s.Failures(); n != 2 || !since.Equal(begun) {
		t.Errorf("%d failures since %v, want 2 since the beginning", n, since)
	}
}

// TestPauses has failures come without a time of the next attempt.
func TestPauses(t *testing.T) {
	s, now := in(loaded), begun
	want := []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second,
		64 * time.Second, 128 * time.Second, 256 * time.Second, 512 * time.Second, 10 * time.Minute, 10 * time.Minute}
	for n, limit := range want {
		for _, r := range []float64{0, 0.5, 1} {
			trial := *s
			trial.Begin(now)
			trial.Finish(lifecycle.Result{Kind: lifecycle.Failed}, now, r)
			if pause := trial.Plan(now).Due.Sub(now); pause != limit/2+time.Duration(r*float64(limit/2)) {
				t.Errorf("pause %d with %v: %v, the limit is %v", n+1, r, pause, limit)
			}
		}
		finish(lifecycle.Result{Kind: lifecycle.Failed})(s, now)
		now = s.Plan(now).Due
	}
	finish(lifecycle.Result{Kind: lifecycle.Loaded})(s, now)
	finish(lifecycle.Result{Kind: lifecycle.Failed})(s, now)
	if pause := s.Plan(now).Due.Sub(now); pause > time.Second {
		t.Errorf("the first pause after a success is %v", pause)
	}
}

// TestDistantTimes has certificates and pauses that reach beyond what fits into 64 bits of nanoseconds.
func TestDistantTimes(t *testing.T) {
	year := func(y int) time.Time { return time.Date(y, time.June, 1, 0, 0, 0, 0, time.UTC) }
	endless := func(s *lifecycle.State, now time.Time) { s.Serve(now, year(9999), year(7000)) }
	ancient := func(s *lifecycle.State, _ time.Time) { s.Serve(year(1), year(1000), year(700)) }
	zero := func(s *lifecycle.State, _ time.Time) { s.Serve(time.Time{}, time.Time{}, time.Time{}) }
	until := func(kind lifecycle.Kind, at time.Time) step { return finish(lifecycle.Result{Kind: kind, Until: at}) }
	for _, test := range []struct {
		name    string
		state   *lifecycle.State
		year    int // of the plan
		urgency lifecycle.Urgency
		atOnce  bool
	}{
		{"until 9999", in(loaded, endless), 2262, lifecycle.Early, false},
		{"until the year 1000", in(loaded, ancient), 1677, lifecycle.Expired, true},
		{"zero times", in(loaded, zero), 1677, lifecycle.Expired, true},
		{"failed until 9000", in(stored, until(lifecycle.Failed, year(9000))), 2262, lifecycle.Expired, false},
		{"deferred until 9000", in(stored, until(lifecycle.Deferred, year(9000))), 2262, lifecycle.Expired, false},
		{"deferred until the year 9", in(loaded, until(lifecycle.Deferred, year(9))), 1677, lifecycle.New, true},
		{"deferred without a time", in(loaded, until(lifecycle.Deferred, time.Time{})), 1677, lifecycle.New, true},
		{"deferred until 1970", in(loaded, until(lifecycle.Deferred, time.Unix(0, 0))), 1970, lifecycle.New, true},
	} {
		p := test.state.Plan(begun)
		if p.Due.Year() != test.year || p.Urgency != test.urgency || !p.Due.After(begun) != test.atOnce {
			t.Errorf("%s: due %v, urgency %d", test.name, p.Due, p.Urgency)
		}
	}
	s := in(loaded, endless)
	for _, now := range []time.Time{year(1), year(1700), begun, year(2262), year(9998)} {
		if p := s.Plan(now); p.Due.Year() != 2262 {
			t.Errorf("in %v: plan %+v", now, p)
		}
	}
	if p := s.Plan(year(9998)); p.Urgency != lifecycle.Expiring {
		t.Errorf("at the end of time: plan %+v", p)
	}
}
