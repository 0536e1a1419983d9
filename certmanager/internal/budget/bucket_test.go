package budget_test

import (
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

const week = 7 * 24 * time.Hour

var (
	begin  = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	weekly = budget.Limit{Count: 50, Per: week}
)

// What each class finds of a bucket that so many are taken of.
func TestClasses(t *testing.T) {
	orders := budget.Limit{Count: 300, Per: 3 * time.Hour}
	for _, test := range []struct {
		limit              budget.Limit
		taken              int
		fresh, early, rest int // room
	}{
		{weekly, 0, 45, 48, 50},
		{weekly, 44, 1, 4, 6},
		{weekly, 45, 0, 3, 5},
		{weekly, 48, 0, 0, 2},
		{weekly, 50, 0, 0, 0},
		{weekly, 70, 0, 0, 0},
		{orders, 0, 270, 285, 300},
		{budget.Limit{Count: 5, Per: week}, 0, 5, 5, 5},
		{budget.Limit{Count: 5, Per: week}, 4, 1, 1, 1},
		{budget.Limit{Count: 1, Per: time.Hour}, 0, 1, 1, 1},
		{budget.Limit{Count: 1, Per: time.Hour}, 1, 0, 0, 0},
	} {
		b := test.limit.Take(budget.Bucket{}, test.taken, begin)
		for class, want := range map[budget.Class]int{budget.New: test.fresh, budget.Early: test.early, budget.Urgent: test.rest} {
			if got := test.limit.Room(b, class, begin); got != want {
				t.Errorf("%v without %d: class %d has room for %d, want %d", test.limit, test.taken, class, got, want)
			}
			next := test.limit.Next(b, class, begin)
			if (want > 0) == next.After(begin) {
				t.Errorf("%v without %d: class %d has room for %d, and the next at %v", test.limit, test.taken, class, want, next)
			}
			if want == 0 && (test.limit.Room(b, class, next) < 1 || test.limit.Room(b, class, next.Add(-time.Second)) > 0) {
				t.Errorf("%v without %d: class %d is told %v, and has room for %d then", test.limit, test.taken, class, next, test.limit.Room(b, class, next))
			}
		}
	}
}

// Tokens come back one after another, late by ten minutes.
func TestRefill(t *testing.T) {
	b := weekly.Take(budget.Bucket{}, 50, begin)
	each := weekly.Interval()
	for after, want := range map[time.Duration]int{
		0: 0, each: 0, each + 10*time.Minute: 1, 2*each + 9*time.Minute: 1, 2*each + 10*time.Minute: 2, week + 10*time.Minute: 50, 2 * week: 50,
	} {
		if got := weekly.Room(b, budget.Urgent, begin.Add(after)); got != want {
			t.Errorf("%v later there is room for %d, want %d", after, got, want)
		}
	}
	for after, want := range map[time.Duration]bool{0: false, week: false, week + 2*time.Hour: true} {
		if b.IsIdle(begin.Add(after)) != want {
			t.Errorf("%v later it is idle: %v", after, !want)
		}
	}
}

// What is given back can be taken again, once, unless it has come back by itself.
func TestGiveBack(t *testing.T) {
	b := weekly.Take(budget.Bucket{}, 50, begin)
	later := begin.Add(time.Minute)
	if got := weekly.Room(weekly.GiveBack(b, 2, begin, later), budget.Urgent, later); got != 2 {
		t.Errorf("of two given back there are %d", got)
	}
	one := weekly.Take(budget.Bucket{}, 1, begin)
	full := begin.Add(24 * time.Hour)
	others := weekly.Take(one, 10, full)
	if got := weekly.Room(weekly.GiveBack(others, 1, begin, full), budget.Urgent, full); got != 40 {
		t.Errorf("one is given back after the bucket was full, and there is room for %d, want 40", got)
	}
	if got := weekly.GiveBack(one, 1, begin, full); got.Full.After(full) {
		t.Errorf("a full bucket is full at %v", got.Full)
	}
}

// The CA's word counts, unless more is known.
func TestCorrect(t *testing.T) {
	for _, test := range []struct {
		name  string
		taken int
		until time.Duration
		want  time.Duration // until the next token
	}{
		{"full", 0, time.Hour, time.Hour},
		{"nearly empty", 48, 3 * time.Hour, 3 * time.Hour},
		{"no bucket like ours", 10, 5 * 24 * time.Hour, 5 * 24 * time.Hour},
		{"longer than is believed", 10, 300 * 24 * time.Hour, 8 * 24 * time.Hour},
		{"sooner than is known", 50, time.Hour, weekly.Interval() + 10*time.Minute},
	} {
		b := weekly.Correct(weekly.Take(budget.Bucket{}, test.taken, begin), begin.Add(test.until), begin)
		if got := weekly.Next(b, budget.Urgent, begin).Sub(begin); got != test.want {
			t.Errorf("%s: the next token is due in %v, want %v", test.name, got, test.want)
		}
		at := begin.Add(test.want)
		if got := weekly.Room(b, budget.Urgent, at); got != 1 {
			t.Errorf("%s: there is room for %d then, want 1", test.name, got)
		}
		if got := weekly.Next(weekly.Take(b, 1, at), budget.Urgent, at).Sub(at); got < weekly.Interval() {
			t.Errorf("%s: the one after that is due in %v", test.name, got)
		}
	}
}

// A clock that was years ahead, or is set back, keeps nobody waiting for years.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{2 * time.Hour, 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		wrong := begin.Add(ahead)
		empty := weekly.Take(budget.Bucket{}, 50, wrong)
		for name, b := range map[string]budget.Bucket{"taken": empty, "corrected": weekly.Correct(empty, wrong.Add(24*time.Hour), wrong)} {
			if got := weekly.Room(b, budget.Urgent, begin); got != 50 {
				t.Errorf("%s by a clock %v ahead: there is room for %d, want 50", name, ahead, got)
			}
			if got := weekly.Room(weekly.Take(b, 1, begin), budget.Urgent, begin); got != 49 {
				t.Errorf("%s by a clock %v ahead, and one taken since: there is room for %d, want 49", name, ahead, got)
			}
		}
	}
	for _, back := range []time.Duration{time.Minute, 30 * time.Minute} {
		b := weekly.Take(budget.Bucket{}, 50, begin.Add(back))
		if got, want := weekly.Next(b, budget.Urgent, begin).Sub(begin), weekly.Interval()+10*time.Minute+back; got != want {
			t.Errorf("a clock is %v ahead: the next token is due in %v, want %v", back, got, want)
		}
	}
}

func TestSpeed(t *testing.T) {
	for _, test := range []struct {
		limit         budget.Limit
		counted, fast bool
	}{
		{weekly, true, false},
		{budget.Limit{Count: 300, Per: 3 * time.Hour}, true, true},
		{budget.Limit{Count: 10, Per: 3 * time.Hour}, true, false},
		{budget.Limit{Count: 30_000, Per: time.Second}, false, true},
		{budget.Limit{Count: 30_000, Per: week}, true, true},
		{budget.Limit{Count: 1, Per: time.Hour}, true, false},
		{budget.Limit{}, false, true},
		{budget.Limit{Count: -1}, false, true},
	} {
		if test.limit.IsCounted() != test.counted || test.limit.IsFast() != test.fast {
			t.Errorf("%v: counted %v, fast %v", test.limit, !test.counted, !test.fast)
		}
	}
}

// What the CA has said is not made better by what was taken before it and comes back, nor by the lag.
func TestCorrectionHolds(t *testing.T) {
	now := begin.Add(time.Minute)
	for until, b := range map[time.Duration]budget.Bucket{time.Minute: {}, time.Hour: weekly.Take(budget.Bucket{}, 10, begin)} {
		b = weekly.GiveBack(weekly.Correct(b, now.Add(until), now), 1, begin, now)
		if got := weekly.Next(b, budget.Urgent, now).Sub(now); got != until {
			t.Errorf("the next token is due in %v, want %v", got, until)
		}
	}
}
