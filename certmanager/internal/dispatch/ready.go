package dispatch

import "time"

// A readyQueue holds the tasks that are ready, in queues by group and urgency, and counts those at work by their groups.
type readyQueue[T Task] struct {
	entries   entries[T]
	groups    groups
	heads     heads
	byUrgency map[Urgency]int // how many are ready; no zeros
}

// many is what may be kept that was used once.
const many = 1024

// add makes a task ready at the end of its group's queue.
func (r *readyQueue[T]) add(t T, urgency Urgency, now time.Time) {
	p := t.place()
	p.position, p.state = r.entries.add(t, now), ready
	g := r.groups.get(t.Group())
	r.enqueue(t, g, urgency)
	r.heads.lower(g)
}

// move lets a ready task join the end of the queue of another urgency.
func (r *readyQueue[T]) move(t T, urgency Urgency) {
	g := r.group(t)
	r.heads.lift(g)
	r.leave(t)
	r.enqueue(t, g, urgency)
	r.heads.lower(g)
}

// remove makes a task idle that was ready.
func (r *readyQueue[T]) remove(t T) {
	g := r.group(t)
	r.heads.lift(g)
	r.withdraw(t)
	r.heads.lower(g)
	r.tidy(g)
}

// take removes and returns the task that is to run next, with its group, where it counts as running. There must be one.
func (r *readyQueue[T]) take() (T, *group) {
	q := r.heads.first()
	t, g := r.entries.at(q.first).task, q.group
	r.heads.lift(g)
	r.withdraw(t)
	g.running++
	r.heads.lower(g)
	r.tidy(g)
	return t, g
}

// done says that a task of a group no longer runs.
func (r *readyQueue[T]) done(g *group) {
	r.heads.lift(g)
	g.running--
	r.heads.lower(g)
	r.tidy(g)
}

// group returns that of a ready task.
func (r *readyQueue[T]) group(t T) *group { return r.entries.at(t.place().position).queue.group }

// withdraw makes a task idle. Its group must be lifted.
func (r *readyQueue[T]) withdraw(t T) {
	r.leave(t)
	p := t.place()
	r.entries.remove(p.position)
	p.state = idle
}

// enqueue appends a task to a group's queue of an urgency, which is to be lowered if it is new.
func (r *readyQueue[T]) enqueue(t T, g *group, urgency Urgency) {
	p := t.place()
	p.urgency = urgency
	r.entries.push(p.position, g.queue(urgency))
	if r.byUrgency == nil {
		r.byUrgency = make(map[Urgency]int)
	}
	r.byUrgency[urgency]++
}

// leave takes a task out of its queue, which ends with its last one. Its group must be lifted.
func (r *readyQueue[T]) leave(t T) {
	q := r.entries.unlink(t.place().position)
	if q.first == 0 {
		q.group.drop(q)
	}
	if r.byUrgency[q.urgency]--; r.byUrgency[q.urgency] == 0 {
		delete(r.byUrgency, q.urgency)
	}
}

// tidy forgets a group of which nothing is left, and when nothing is ready gives back what a great many tasks took.
func (r *readyQueue[T]) tidy(g *group) {
	r.groups.tidy(g)
	if len(r.byUrgency) == 0 {
		r.entries.shrink()
		r.heads.shrink()
		r.groups.shrink()
	}
}

// oldest returns how long the oldest task has been ready; zero: none is.
func (r *readyQueue[T]) oldest(now time.Time) time.Duration {
	if len(r.byUrgency) == 0 {
		return 0
	}
	return r.entries.age(now)
}
