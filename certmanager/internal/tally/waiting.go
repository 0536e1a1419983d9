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
	Owner  any  // of its place in a line
}

// Next returns when the waiter may try to take a token, as far as is known without asking the storage: a time that is not
// after now if it may at once. Who has not waited does not go before those who do, unless there is one for each of both.
func (t *Tally) Next(w Waiter, now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	bucket, line := t.ledger.last(), &t.lines[w.Class]
	next := t.limit.Next(bucket, w.Class, now)
	switch {
	case next.After(now), w.Alone, w.Waited, line.IsEmpty(now), t.limit.Room(bucket, w.Class, now) > 1:
		return next
	}
	return now.Add(t.limit.Interval())
}

// A Place is one in a line of this process's. The nil Place is that of who stands in none.
type Place struct {
	tally *Tally
	*budget.Place
}

// Slot returns when the waiter is to come again, as no other of this process is, and its place in line; nil: it has none.
func (t *Tally) Slot(w Waiter, now time.Time) (time.Time, *Place) {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, each := t.limit.Next(t.ledger.last(), w.Class, now), t.limit.Interval()
	if !next.After(now) {
		next = now.Add(each)
	}
	if w.Alone {
		return next, nil
	}
	line := &t.lines[w.Class]
	supply := budget.Supply{Now: now, Next: next, Interval: each}
	var p *budget.Place
	if w.Waited {
		p = line.Rejoin(w.Owner, supply, rand.Float64())
	} else {
		p = line.Join(w.Owner, supply)
	}
	return p.Due(), &Place{t, p}
}

// Leave gives up the place. Who stood last in line has it from then on: its owner, and when it is due there, are returned. It is
// nil if there is nobody.
func (p *Place) Leave() (moved *Place, due time.Time) {
	p.tally.mu.Lock()
	defer p.tally.mu.Unlock()
	last := p.Place.Leave(time.Now())
	if last == nil {
		return nil, time.Time{}
	}
	return &Place{p.tally, last}, last.Due()
}

// Is reports whether both are the same place.
func (p *Place) Is(other *Place) bool { return p != nil && other != nil && p.Place == other.Place }
