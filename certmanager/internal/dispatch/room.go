package dispatch

import (
	"cmp"
	"container/list"
	"time"
)

const (
	defaultWorkers  = 256
	defaultPatience = 10 * time.Second
	slowFactor      = 8 // times Workers: the most slow tasks that do not count
	leastReserve    = 4
)

// limits are the fields of a [Dispatcher] that have to do with room.
type limits struct {
	workers  int
	patience time.Duration
	urgent   Urgency
}

// limitsOf returns the dispatcher's, with the defaults of those that are zero.
func limitsOf[T Task](d *Dispatcher[T]) limits {
	return limits{
		workers:  cmp.Or(max(d.Workers, 0), defaultWorkers),
		patience: cmp.Or(max(d.Patience, 0), defaultPatience),
		urgent:   d.Urgent,
	}
}

// share returns how many tasks of one group may be at work.
func (l limits) share() int { return l.workers * (1 + slowFactor) * 3 / 4 }

// A room counts the tasks at work.
type room struct {
	limits
	running int
	slow    int       // of them, those at work for longer than patience
	prompt  list.List // the others (*stint), the longest at work first
}

// A stint is what a room knows of a task at work.
type stint struct {
	begun  time.Time
	prompt *list.Element // nil: the task is slow
}

// enter says that a task begins.
func (r *room) enter(s *stint, now time.Time) {
	s.begun = now
	s.prompt = r.prompt.PushBack(s)
	r.running++
}

// leave says that a task has ended.
func (r *room) leave(s *stint) {
	r.running--
	if s.prompt != nil {
		r.prompt.Remove(s.prompt)
	} else {
		r.slow--
	}
}

// findSlow finds the tasks that have become slow.
func (r *room) findSlow(now time.Time) {
	for left, some := r.untilSlow(now); some && left <= 0; left, some = r.untilSlow(now) {
		first := r.prompt.Front()
		first.Value.(*stint).prompt = nil
		r.prompt.Remove(first)
		r.slow++
	}
}

// untilSlow returns how long it is until the first prompt task is slow, and whether there is one.
func (r *room) untilSlow(now time.Time) (time.Duration, bool) {
	first := r.prompt.Front()
	if first == nil {
		return 0, false
	}
	return r.patience - now.Sub(first.Value.(*stint).begun), true
}

// admits reports whether there is room for a task of the urgency.
func (r *room) admits(urgency Urgency) bool {
	places := r.workers
	if urgency < r.urgent {
		places += max(leastReserve, places/4)
	}
	return r.running-min(r.slow, slowFactor*r.workers) < places
}
