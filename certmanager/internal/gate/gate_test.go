package gate

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

var (
	start      = time.Date(2026, time.November, 1, 12, 0, 0, 0, time.UTC)
	errDown    = errors.New("the CA is down")
	errAccount = errors.New("the account is deactivated")
)

// A scene is a gate, passes by name, and a clock.
type scene struct {
	t      *testing.T
	gate   Gate
	now    time.Time
	passes map[string]*Pass
}

func newScene(t *testing.T) *scene {
	return &scene{t: t, now: start, passes: make(map[string]*Pass)}
}

// enters checks that the passes are let in.
func (s *scene) enters(names ...string) {
	s.t.Helper()
	for _, name := range names {
		p, err := s.gate.Enter(s.now, time.Time{})
		if err != nil {
			s.t.Fatalf("%s after %v: %v", name, s.now.Sub(start), err)
		}
		s.passes[name] = p
	}
}

// closed checks that nobody is let in for a while, for the reason.
func (s *scene) closed(wait time.Duration, why error) {
	s.t.Helper()
	peeked := s.gate.Closed(s.now, time.Time{})
	_, err := s.gate.Enter(s.now, time.Time{})
	var closed *ClosedError
	if !errors.As(err, &closed) {
		s.t.Fatalf("after %v: open, want closed for %v", s.now.Sub(start), wait)
	}
	if got := closed.Until.Sub(s.now); got != wait || !errors.Is(err, why) {
		s.t.Errorf("after %v: closed for %v: %v; want %v: %v", s.now.Sub(start), got, err, wait, why)
	}
	if peeked == nil || peeked.Error() != err.Error() {
		s.t.Errorf("after %v: Closed says %v, Enter %v", s.now.Sub(start), peeked, err)
	}
}

func (s *scene) done(name string, o Outcome, retryAfter time.Duration) {
	result := Result{Outcome: o, RetryAfter: retryAfter}
	switch o {
	case Outage:
		result.Err = errDown
	case Refusal:
		result.Err = errAccount
	}
	s.passes[name].Done(s.now, result)
}

func (s *scene) pause(d time.Duration) { s.now = s.now.Add(d) }

// opened has a first attempt open the gate.
func (s *scene) opened() *scene {
	s.t.Helper()
	s.enters("first")
	s.done("first", Answer, 0)
	return s
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint(i))
	}
	return all
}

func TestGate(t *testing.T) {
	for name, play := range map[string]func(s *scene){
		"fresh, eight, then twice as many each second": func(s *scene) {
			s.enters(names(8)...)
			s.closed(time.Second, ErrUnanswered)
			s.pause(999 * time.Millisecond)
			s.closed(time.Millisecond, ErrUnanswered)
			s.pause(time.Millisecond)
			s.enters(names(8)...)
			s.closed(time.Second, ErrUnanswered)
			s.pause(time.Second)
			s.enters(names(16)...)
			s.closed(time.Second, ErrUnanswered)
			s.pause(time.Hour)
			s.enters(names(10_000)...)
		},
		"fresh, room again when one is done": func(s *scene) {
			s.enters(names(8)...)
			s.done("0", Unknown, 0)
			s.enters("0")
			s.closed(time.Second, ErrUnanswered)
		},
		"fresh, an hour of rest is not counted": func(s *scene) {
			s.enters("0")
			s.done("0", Unknown, 0)
			s.pause(time.Hour)
			s.enters(names(8)...)
			s.closed(time.Second, ErrUnanswered)
		},
		"an answer lets all in": func(s *scene) {
			s.enters(names(8)...)
			s.passes["3"].Answered()
			s.enters(names(1000)...)
		},
		"an end with an answer lets all in": func(s *scene) {
			s.opened().enters(names(1000)...)
		},
		"an outage closes for ten seconds": func(s *scene) {
			s.opened().enters("a", "b")
			s.done("a", Outage, 0)
			s.closed(10*time.Second, errDown)
			s.pause(3 * time.Second)
			s.done("b", Outage, 0) // is of before, and prolongs nothing
			s.closed(7*time.Second, errDown)
		},
		"an outage while fresh closes for ten seconds": func(s *scene) {
			s.enters(names(8)...)
			s.done("0", Outage, 0)
			s.closed(10*time.Second, errDown)
		},
		"one probe a minute, which stays a minute": func(s *scene) {
			s.opened().enters("0")
			s.done("0", Outage, 0)
			s.closed(10*time.Second, errDown)
			s.pause(10 * time.Second)
			s.enters("0")
			for range 100 {
				s.done("0", Outage, 0)
				s.closed(time.Minute, errDown)
				s.pause(time.Minute)
				s.enters("0")
				s.closed(time.Minute, errDown)
			}
			s.pause(20 * time.Second)
			s.passes["0"].Answered()
			s.enters(names(1000)...)
		},
		"a probe that hangs lets the next one in": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Outage, 0)
			s.pause(10 * time.Second)
			s.enters("b")
			s.pause(time.Minute)
			s.enters("c")
			s.closed(time.Minute, errDown)
			s.done("b", Answer, 0)
			s.enters("d")
		},
		"a probe that is broken off": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Outage, 0)
			s.pause(time.Minute)
			s.enters("b")
			s.pause(10 * time.Second)
			s.done("b", Unknown, 0)
			s.closed(50*time.Second, errDown)
		},
		"an outage asks for a wait": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Outage, 10*time.Minute)
			s.closed(10*time.Minute, errDown)
		},
		"an outage asks for a second": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Outage, time.Second)
			s.closed(10*time.Second, errDown)
		},
		"an outage asks for a year": func(s *scene) {
			s.opened().enters("a", "b")
			s.done("a", Outage, 0)
			s.done("b", Outage, 365*24*time.Hour)
			s.closed(time.Hour, errDown)
		},
		"an outage of before the last answer is no news": func(s *scene) {
			s.opened().enters("old", "good")
			s.done("good", Answer, 0)
			s.done("old", Outage, time.Hour)
			s.enters("new")
			s.done("new", Outage, 0)
			s.closed(10*time.Second, errDown)
		},
		"an attempt that was answered and failed later": func(s *scene) {
			s.opened().enters("a")
			s.passes["a"].Answered()
			s.done("a", Outage, 0)
			s.enters("b")
		},
		"the answer to an attempt of before the outage": func(s *scene) {
			s.opened().enters("old", "a")
			s.done("a", Outage, 0)
			s.passes["old"].Answered()
			s.enters("b")
		},
		"refusals wait longer and longer": func(s *scene) {
			s.opened().enters("0")
			for _, wait := range []time.Duration{time.Minute, 10 * time.Minute, 100 * time.Minute, 24 * time.Hour, 24 * time.Hour} {
				s.done("0", Refusal, 0)
				s.closed(wait, errAccount)
				s.pause(wait)
				s.enters("0")
				s.closed(time.Minute, errAccount)
			}
			s.done("0", Answer, 0)
			s.enters("0")
			s.done("0", Refusal, 0)
			s.closed(time.Minute, errAccount)
		},
		"refusals at once are one": func(s *scene) {
			s.opened().enters(names(32)...)
			for _, name := range names(32) {
				s.done(name, Refusal, 0)
			}
			s.closed(time.Minute, errAccount)
		},
		"a refusal asks for a wait": func(s *scene) {
			s.opened().enters("a", "b")
			s.done("a", Refusal, 3*time.Hour)
			s.closed(3*time.Hour, errAccount)
			s.done("b", Refusal, 4*time.Hour)
			s.closed(4*time.Hour, errAccount)
		},
		"a refusal asks for less than the back-off": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Refusal, time.Second)
			s.closed(time.Minute, errAccount)
		},
		"a refusal asks for a week": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Refusal, 7*24*time.Hour)
			s.closed(7*24*time.Hour, errAccount)
		},
		"a refusal asks for a year": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Refusal, 365*24*time.Hour)
			s.closed(8*24*time.Hour, errAccount)
		},
		"a refusal counts though another was answered meanwhile": func(s *scene) {
			s.opened().enters("a", "b")
			s.passes["b"].Answered()
			s.done("a", Refusal, 0)
			s.closed(time.Minute, errAccount)
		},
		"what was let in before the refusal does not lift it": func(s *scene) {
			s.opened().enters("old", "a")
			s.done("a", Refusal, 0)
			s.done("old", Answer, 0)
			s.closed(time.Minute, errAccount)
			s.pause(time.Minute)
			s.enters("probe")
			s.passes["probe"].Answered()
			s.enters("b")
		},
		"a refusal after an outage, and an outage after that": func(s *scene) {
			s.opened().enters("a", "b")
			s.done("a", Outage, 0)
			s.done("b", Refusal, 0)
			s.closed(time.Minute, errAccount)
			s.pause(time.Minute)
			s.enters("c")
			s.done("c", Outage, 0)
			s.closed(time.Minute, errDown)
			s.pause(time.Minute)
			s.enters("d")
			s.done("d", Refusal, 0)
			s.closed(10*time.Minute, errAccount)
		},
		"done twice": func(s *scene) {
			s.opened().enters("a")
			s.done("a", Answer, 0)
			s.done("a", Outage, 0)
			s.passes["a"].Answered()
			s.enters("b")
			if n := s.gate.Out(); n != 1 {
				s.t.Errorf("%d are out, want 1", n)
			}
		},
	} {
		t.Run(name, func(t *testing.T) { play(newScene(t)) })
	}
}

// TestSince has the error say when the outage began, not when the last probe failed.
func TestSince(t *testing.T) {
	s := newScene(t).opened()
	s.pause(time.Hour)
	began := s.now
	for range 3 {
		s.enters("a")
		s.done("a", Outage, 0)
		s.pause(time.Minute)
	}
	s.enters("a")
	closed, ok := errors.AsType[*ClosedError](s.gate.Closed(s.now, time.Time{}))
	if !ok || !closed.Since.Equal(began) {
		t.Errorf("%+v, want one since %v", closed, began)
	}
	if want := "the issuer is not asked before 2026-11-01T13:04:00Z: the CA is down"; closed.Error() != want {
		t.Errorf("it says %q, want %q", closed, want)
	}
	if text := new(ClosedError).Error(); text == "" {
		t.Error("the zero error says nothing")
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	var g Gate
	var group sync.WaitGroup
	outcomes := []Outcome{Unknown, Answer, Outage, Refusal}
	for i := range 100 {
		group.Go(func() {
			p, err := g.Enter(start.Add(time.Duration(i)*time.Hour), time.Time{})
			if err != nil {
				_ = g.Closed(start, time.Time{})
				return
			}
			p.Answered()
			p.Done(start, Result{Outcome: outcomes[i%len(outcomes)], Err: errDown})
		})
	}
	group.Wait()
	if n := g.Out(); n != 0 {
		t.Errorf("%d are out", n)
	}
}
