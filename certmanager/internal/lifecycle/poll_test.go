package lifecycle_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// pollAt has a poll due after a time.
func pollAt(after time.Duration) step {
	return func(s *lifecycle.State, now time.Time) { s.PollAt(now.Add(after)) }
}

// move has the renewal due after a time.
func move(after time.Duration) step {
	return func(s *lifecycle.State, now time.Time) { s.Move(now.Add(after)) }
}

func polled(s *lifecycle.State, now time.Time) {
	finish(lifecycle.Result{Kind: lifecycle.Polled})(s, now)
}

func TestPolls(t *testing.T) {
	for _, test := range []struct {
		name    string
		state   *lifecycle.State
		action  lifecycle.Action
		due     time.Duration
		urgency lifecycle.Urgency
	}{
		{"none is planned", in(stored), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"in an hour", in(stored, pollAt(time.Hour)), lifecycle.Poll, time.Hour, lifecycle.Polling},
		{"overdue", in(stored, pollAt(-time.Hour)), lifecycle.Poll, -time.Hour, lifecycle.Polling},
		{"after the renewal", in(stored, pollAt(61*day)), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"with the renewal", in(stored, pollAt(60*day)), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"the renewal is moved before it", in(stored, pollAt(2*day), move(day)), lifecycle.Renew, day, lifecycle.Early},
		{"the renewal is moved behind it", in(stored, pollAt(61*day), move(80*day)), lifecycle.Poll, 61 * day, lifecycle.Polling},
		{"the renewal is moved into the past", in(stored, pollAt(time.Hour), move(-day)), lifecycle.Renew, -day, lifecycle.Early},
		{"both are in the past", in(stored, pollAt(-2*day), move(-day)), lifecycle.Renew, -day, lifecycle.Early},
		{"commanded", in(stored, pollAt(0), command), lifecycle.Renew, 0, lifecycle.Commanded},
		{"queued", in(stored, pollAt(0), func(s *lifecycle.State, _ time.Time) { s.Queue() }), lifecycle.Renew, 0, lifecycle.Early},
		{"awaited", in(stored, pollAt(0), await(1)), lifecycle.Renew, 60 * day, lifecycle.Handshake},
		{"after a failure", in(stored, pollAt(0), failed(time.Hour)), lifecycle.Retry, time.Hour, lifecycle.Early},
		{"after a deferral", in(stored, pollAt(0), deferred(time.Hour)), lifecycle.Renew, time.Hour, lifecycle.Early},
		{"to be loaded again", in(stored, pollAt(0), unload), lifecycle.Load, 0, lifecycle.Loading},
		{"nothing is served", in(loaded, pollAt(0)), lifecycle.Obtain, 0, lifecycle.New},
		{"another is served", in(stored, pollAt(time.Hour), stored), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"given up", in(stored, pollAt(time.Hour), func(s *lifecycle.State, _ time.Time) { s.PollAt(time.Time{}) }), lifecycle.Renew, 60 * day, lifecycle.Early},
		{"polled, and nobody said when again", in(stored, pollAt(0), polled), lifecycle.Poll, time.Second, lifecycle.Polling},
		{"polled, and again in an hour", in(stored, pollAt(time.Hour), polled), lifecycle.Poll, time.Hour, lifecycle.Polling},
		{"polled, and no more", in(stored, polled), lifecycle.Renew, 60 * day, lifecycle.Early},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := test.state.Plan(begun)
			if p.Action != test.action || p.Urgency != test.urgency || !p.Due.Equal(begun.Add(test.due)) {
				t.Errorf("action %d in %v, urgency %d; want %d in %v, %d", p.Action, p.Due.Sub(begun), p.Urgency, test.action, test.due, test.urgency)
			}
			if task := test.state.Begin(begun); task.Action != test.action {
				t.Errorf("the task's action is %d, want %d", task.Action, test.action)
			}
		})
	}
}

// TestPollThatComesLate has its turn come when the renewal is due: that is done.
func TestPollThatComesLate(t *testing.T) {
	s := in(stored, pollAt(59*day))
	if task := s.Begin(begun.Add(60 * day)); task.Action != lifecycle.Renew {
		t.Errorf("%+v", task)
	}
}

// TestCommandDuringPoll has a caller come: the poll does not answer it.
func TestCommandDuringPoll(t *testing.T) {
	s := in(stored, pollAt(0))
	s.Begin(begun)
	s.Command()
	if report := s.Finish(lifecycle.Result{Kind: lifecycle.Polled}, begun, 0.5); report != (lifecycle.Report{}) {
		t.Errorf("%+v", report)
	}
	if p := s.Plan(begun); p.Action != lifecycle.Renew || p.Urgency != lifecycle.Commanded || !p.Due.Equal(begun) {
		t.Errorf("%+v", p)
	}
	if task := s.Begin(begun); !task.Forced {
		t.Errorf("%+v", task)
	}
}

// TestNextPoll has it be the zero time when none is planned, whatever is.
func TestNextPoll(t *testing.T) {
	s := in(stored)
	if next := s.NextPoll(); !next.IsZero() {
		t.Errorf("the next poll is at %v, and none is planned", next)
	}
	for _, at := range []time.Time{begun.Add(time.Hour), begun.Add(-time.Hour), time.Unix(0, 0)} {
		s.PollAt(at)
		if next := s.NextPoll(); next.Sub(at).Abs() > time.Nanosecond {
			t.Errorf("the next poll is at %v, want %v", next, at)
		}
	}
	s.PollAt(time.Time{})
	if next := s.NextPoll(); !next.IsZero() {
		t.Errorf("the next poll is at %v, though it was given up", next)
	}
}
