package certmanager

import (
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/tally"
)

// placeOf returns the place in the line for a budget that the error speaks of; nil: it speaks of none.
func placeOf(err error) *tally.Place {
	if spent, ok := errors.AsType[*spentError](err); ok {
		return spent.place
	}
	return nil
}

// placeIn returns that at which the next attempt waits; nil: it waits at none.
func placeIn(p *progress) *tally.Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.matter == nil {
		return nil
	}
	return placeOf(p.matter.deferral)
}

// stopWaiting ends the wait for a budget, unless an attempt is under way, and returns the place that is free; nil: none is.
func stopWaiting(p *progress) *tally.Place {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.matter
	if m == nil || m.working || !errors.As(m.deferral, new(*spentError)) {
		return nil
	}
	free := placeOf(m.deferral)
	m.deferral = nil
	p.state.Hasten()
	p.settle()
	return free
}

// moveUp has an entry's next attempt made at an earlier time, if it waits at the place, and reports whether it does.
func moveUp(e *entry, place *tally.Place, due time.Time) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	m := e.progress.matter
	if m == nil || m.working || e.roles.has(forgotten) || !place.Is(placeOf(m.deferral)) {
		return false
	}
	spent, _ := errors.AsType[*spentError](m.deferral)
	moved := *spent
	moved.until = due
	m.deferral = fmt.Errorf("certmanager: %v: %w", &e.subject, &moved)
	e.progress.state.Advance(due)
	return true
}

// The lines are those in which entries wait for budgets.
type lines struct {
	update func(...*entry) // has the dispatcher plan entries anew
}

// unqueue ends the wait of entries for budgets of which they need nothing any more. Others move up.
func (l lines) unqueue(entries ...*entry) {
	var free []*tally.Place
	for _, e := range entries {
		if place := stopWaiting(&e.progress); place != nil {
			free = append(free, place)
		}
	}
	l.fill(free)
}

// vacate gives up the places in line that a task has left its entry without a use for: all but the one at which it waits. Who has
// come to a certificate has taken a token before its time, and nobody moves up.
func (l lines) vacate(e *entry, places []*tally.Place, came lifecycle.Kind) {
	if came == lifecycle.Obtained {
		return
	}
	kept := placeIn(&e.progress)
	var free []*tally.Place
	for _, place := range places {
		if place != nil && !place.Is(kept) {
			free = append(free, place)
		}
	}
	l.fill(free)
}

// fill has those who stand last in the lines move up to free places.
func (l lines) fill(free []*tally.Place) {
	var moved []*entry
	for _, place := range free {
		for place != nil {
			var due time.Time
			if place, due = place.Leave(); place == nil {
				break
			}
			if e, ok := place.Owner.(*entry); ok && moveUp(e, place, due) {
				moved = append(moved, e)
				break
			}
		}
	}
	if len(moved) > 0 {
		l.update(moved...)
	}
}
