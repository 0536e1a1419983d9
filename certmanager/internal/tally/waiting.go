package tally

import (
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// A Waiter is somebody who wants a token.
type Waiter struct {
	Class  budget.Class
	Alone  bool // it stands in no line
	Waited bool // its slot has come
}

// Next returns when the waiter may try to take a token, as far as is known without asking the storage: a time that is not
// after now if it may at once. Who has not waited does not go before those who do, unless there is one for each of both.
func (t *Tally) Next(w Waiter, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	next := t.limit.Next(t.bucket, w.Class, now)
	line := &t.lines[w.Class]
	switch {
	case next.After(now), w.Alone, w.Waited, line.IsEmpty(now), t.limit.Room(t.bucket, w.Class, now) > 1:
		return next
	}
	return now.Add(t.limit.Interval())
}

// Slot returns when the waiter is to come again, as no other of this process is.
func (t *Tally) Slot(w Waiter, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, each := t.limit.Next(t.bucket, w.Class, now), t.limit.Interval()
	if !next.After(now) {
		next = now.Add(each)
	}
	line := &t.lines[w.Class]
	switch {
	case w.Alone:
		return next
	case w.Waited:
		return line.Rejoin(next, each, rand.Float64())
	}
	return line.Join(next, each)
}
