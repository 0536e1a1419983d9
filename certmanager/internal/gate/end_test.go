package gate

import (
	"errors"
	"testing"
	"time"
)

const day = 24 * time.Hour

// TestEnds has an issuer ask to wait, and sees how long those wait whose certificates end soon.
func TestEnds(t *testing.T) {
	const hour = time.Hour
	for _, test := range []struct {
		name   string
		result Result
		left   time.Duration // of the certificate; 0: there is none
		wait   time.Duration
	}{
		{"an outage", Result{Outcome: Outage}, hour, 10 * time.Second},
		{"an outage, with little left", Result{Outcome: Outage}, time.Minute, 10 * time.Second},
		{"an outage of an hour", Result{Outcome: Outage, RetryAfter: hour}, 90 * day, hour},
		{"an outage of an hour, without a certificate", Result{Outcome: Outage, RetryAfter: hour}, 0, hour},
		{"an outage of an hour, with an hour left", Result{Outcome: Outage, RetryAfter: hour}, hour, hour / 2},
		{"an outage of an hour, with a minute left", Result{Outcome: Outage, RetryAfter: hour}, time.Minute, time.Minute / 2},
		{"an outage of an hour, ended", Result{Outcome: Outage, RetryAfter: hour}, -hour, hour},
		{"a refusal", Result{Outcome: Refusal}, day, time.Minute},
		{"a refusal for a week", Result{Outcome: Refusal, RetryAfter: 7 * day}, 2 * day, day},
		{"a refusal for a week, with a month left", Result{Outcome: Refusal, RetryAfter: 7 * day}, 30 * day, 7 * day},
		{"a limit for a week", Result{Outcome: Refusal, RetryAfter: 7 * day, Limit: true}, 2 * day, 7 * day},
		{"a busy server", Result{Outcome: Outage, RetryAfter: hour, Limit: true}, hour, hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newScene(t)
			s.enters("first")
			test.result.Err = errDown
			s.passes["first"].Done(s.now, test.result)
			var end time.Time
			if test.left != 0 {
				end = s.now.Add(test.left)
			}
			for _, pause := range []time.Duration{0, test.wait - 1} { // the wait is not reckoned anew
				_, err := s.gate.Enter(s.now.Add(pause), end)
				closed, ok := errors.AsType[*ClosedError](err)
				if !ok || closed.Until.Sub(s.now) != test.wait {
					t.Fatalf("after %v: %v, want closed for %v", pause, err, test.wait)
				}
			}
			if err := s.gate.Closed(s.now.Add(test.wait), end); err != nil {
				t.Error(err)
			}
			if _, err := s.gate.Enter(s.now.Add(test.wait), end); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestProbeBeforeTheTime is one alone, and the issuer's word holds for those with time.
func TestProbeBeforeTheTime(t *testing.T) {
	s := newScene(t)
	s.enters("first")
	s.done("first", Refusal, 7*day)
	end := s.now.Add(2 * day)
	s.pause(day)
	if _, err := s.gate.Enter(s.now, end); err != nil {
		t.Fatal(err)
	}
	s.closed(6*day, errAccount)
	for range 3 {
		_, err := s.gate.Enter(s.now, end)
		if closed, ok := errors.AsType[*ClosedError](err); !ok || closed.Until.Sub(s.now) != time.Minute {
			t.Errorf("a second probe at once: %v", err)
		}
		s.pause(time.Minute)
		p, err := s.gate.Enter(s.now, end)
		if err != nil {
			t.Fatalf("a probe after one that hangs: %v", err)
		}
		s.passes["last"] = p
	}
	s.done("last", Answer, 0)
	if err := s.gate.Closed(s.now, time.Time{}); err != nil {
		t.Errorf("after an answer: %v", err)
	}
}
