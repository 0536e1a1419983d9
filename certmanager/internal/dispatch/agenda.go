package dispatch

import (
	"container/heap"
	"time"
)

// portion is how many tasks are planned, or become ready, before the lock is given to others.
const portion = 1024

// An agenda takes tasks from state to state. It holds those that wait and those that are ready.
type agenda[T Task] struct {
	waiting dueHeap[T]
	ready   readyQueue[T]
}

// plan queues a task as its plan says, unless it runs.
func (a *agenda[T]) plan(t T, now time.Time) {
	p := t.place()
	if p.state == running || p.state == leaving {
		p.state = running
		return
	}
	due, urgency, planned := t.Plan()
	if !planned {
		a.dequeue(t)
		return
	}
	switch at := nanoseconds(due); {
	case at > now.UnixNano():
		a.wait(t, at, urgency)
	case p.state == ready && p.urgency == urgency:
	case p.state == ready:
		a.ready.move(t, urgency)
	default:
		a.dequeue(t)
		a.ready.add(t, urgency, now)
	}
}

// remove takes a task out of the queue it is in; one that runs is not planned when it ends.
func (a *agenda[T]) remove(t T) {
	if p := t.place(); p.state == running || p.state == leaving {
		p.state = leaving
	} else {
		a.dequeue(t)
	}
}

// wait lets a task wait until it is due.
func (a *agenda[T]) wait(t T, due int64, urgency Urgency) {
	p := t.place()
	if p.state == ready {
		a.ready.remove(t)
	}
	if p.state != waiting {
		heap.Push(&a.waiting, t)
	}
	p.state, p.urgency = waiting, urgency
	a.waiting[p.position].due = due
	heap.Fix(&a.waiting, int(p.position))
}

// dequeue makes a task idle that does not run.
func (a *agenda[T]) dequeue(t T) {
	p := t.place()
	switch p.state {
	case waiting:
		heap.Remove(&a.waiting, int(p.position))
	case ready:
		a.ready.remove(t)
	}
	p.state = idle
}

// promote makes ready what is due, up to a portion.
func (a *agenda[T]) promote(now time.Time) {
	for range portion {
		if left, some := a.waiting.untilFirst(now); !some || left > 0 {
			return
		}
		t := heap.Pop(&a.waiting).(T)
		a.ready.add(t, t.place().urgency, now)
	}
}

// begin returns the ready task that is to run next, which runs from here on, and its group. There must be one.
func (a *agenda[T]) begin() (T, *group) {
	t, g := a.ready.take()
	t.place().state = running
	return t, g
}

// end plans a task of a group anew that has run, unless it was removed meanwhile.
func (a *agenda[T]) end(t T, g *group, now time.Time) {
	a.ready.done(g)
	p := t.place()
	again := p.state == running
	p.state = idle
	if again {
		a.plan(t, now)
	}
}
