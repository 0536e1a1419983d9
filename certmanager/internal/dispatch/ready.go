package dispatch

import "container/heap"

// A readyQueue holds the tasks that are ready, and counts those at work by their groups.
type readyQueue[T Task] struct {
	// blocks are the entries of the ready tasks, and free ones between them; a task's position is its entry's number. That
	// with number zero is the ends of the list by age, and stands for none elsewhere. It is no one slice, as that would
	// be copied under the lock when it grows.
	blocks    [][]entry[T]
	used      int32 // entries, free ones too
	free      int32 // the head of the free entries, linked by after
	groups    map[string]*group
	mostNamed int // of groups since the map was made
	heads     queueHeap
	byUrgency map[Urgency]int
	last      int64 // the latest since
	share     int   // how many tasks of one group may be at work
}

type entry[T Task] struct {
	task          T
	queue         *queue
	since         int64 // when the task became ready, in nanoseconds of the dispatcher's clock; no two have the same
	older, newer  int32 // the list by age
	before, after int32 // the queue
}

// A group exists while something of it is ready or running.
type group struct {
	name    string
	running int
	queues  *queue // the first of them, linked by sibling
}

// A queue has the ready tasks of one group and urgency, at least one.
type queue struct {
	group       *group
	sibling     *queue
	since       int64 // the first one's
	first, last int32
	position    int32 // in heads; -1: not there, as the group has its share at work
	urgency     Urgency
}

// blockSize is how many entries a block has.
const blockSize = 256

func (r *readyQueue[T]) entry(i int32) *entry[T] { return &r.blocks[i/blockSize][i%blockSize] }

// allot returns the number of a free entry.
func (r *readyQueue[T]) allot() int32 {
	if i := r.free; i != 0 {
		r.free = r.entry(i).after
		return i
	}
	r.used = max(r.used, 1) // zero is the ends of the list by age
	i := r.used
	if int(i/blockSize) == len(r.blocks) {
		r.blocks = append(r.blocks, make([]entry[T], blockSize))
	}
	r.used++
	return i
}

// add makes a task ready at the end of its group's queue.
func (r *readyQueue[T]) add(t T, urgency Urgency, now int64) {
	i := r.allot()
	r.last = max(now, r.last+1)
	newest := r.entry(0).older
	*r.entry(i) = entry[T]{task: t, since: r.last, older: newest}
	r.entry(newest).newer, r.entry(0).older = i, i
	p := t.place()
	p.position, p.state = i, ready
	g := r.group(t.Group())
	r.enqueue(i, g, urgency)
	r.lower(g)
}

// group returns the group of a name, which it makes if there is none.
func (r *readyQueue[T]) group(name string) *group {
	g := r.groups[name]
	if g == nil {
		if r.groups == nil {
			r.groups = make(map[string]*group)
		}
		g = &group{name: name}
		r.groups[name] = g
		r.mostNamed = max(r.mostNamed, len(r.groups))
	}
	return g
}

// move lets a ready task join the end of the queue of another urgency.
func (r *readyQueue[T]) move(t T, urgency Urgency) {
	i := t.place().position
	g := r.entry(i).queue.group
	r.lift(g)
	r.leave(i)
	r.enqueue(i, g, urgency)
	r.lower(g)
}

// remove makes a task idle that was ready.
func (r *readyQueue[T]) remove(t T) {
	g := r.entry(t.place().position).queue.group
	r.lift(g)
	r.withdraw(t)
	r.lower(g)
	r.tidy(g)
}

// take removes and returns the task that is to run next, with its group, where it counts as running. There must be one.
func (r *readyQueue[T]) take() (T, *group) {
	q := r.heads[0]
	t, g := r.entry(q.first).task, q.group
	r.lift(g)
	r.withdraw(t)
	g.running++
	r.lower(g)
	r.tidy(g)
	return t, g
}

// done says that a task of a group no longer runs.
func (r *readyQueue[T]) done(g *group) {
	r.lift(g)
	g.running--
	r.lower(g)
	r.tidy(g)
}

// withdraw takes a task out of its queue and the list by age. Its group must be lifted.
func (r *readyQueue[T]) withdraw(t T) {
	p := t.place()
	i := p.position
	r.leave(i)
	e := r.entry(i)
	r.entry(e.older).newer, r.entry(e.newer).older = e.newer, e.older
	*e = entry[T]{after: r.free}
	r.free = i
	p.state = idle
}

// enqueue appends an entry to a group's queue of an urgency, which is to be lowered if it is new.
func (r *readyQueue[T]) enqueue(i int32, g *group, urgency Urgency) {
	q := g.queues
	for q != nil && q.urgency != urgency {
		q = q.sibling
	}
	if q == nil {
		q = &queue{group: g, sibling: g.queues, urgency: urgency, position: -1, first: i, since: r.entry(i).since}
		g.queues = q
	}
	e := r.entry(i)
	e.queue, e.before, e.after = q, q.last, 0
	if q.last != 0 {
		r.entry(q.last).after = i
	}
	q.last = i
	e.task.place().urgency = urgency
	if r.byUrgency == nil {
		r.byUrgency = make(map[Urgency]int)
	}
	r.byUrgency[urgency]++
}

// leave takes an entry out of its queue, which ends with its last one. Its group must be lifted.
func (r *readyQueue[T]) leave(i int32) {
	e := r.entry(i)
	q := e.queue
	if r.byUrgency[q.urgency]--; r.byUrgency[q.urgency] == 0 {
		delete(r.byUrgency, q.urgency)
	}
	if e.before != 0 {
		r.entry(e.before).after = e.after
	} else {
		q.first = e.after
	}
	if e.after != 0 {
		r.entry(e.after).before = e.before
	} else {
		q.last = e.before
	}
	if q.first != 0 {
		q.since = r.entry(q.first).since
		return
	}
	link := &q.group.queues
	for *link != q {
		link = &(*link).sibling
	}
	*link = q.sibling
}

// lift takes the queues of a group off the heads, all of them, before what they are ordered by changes: a heap can be
// mended where one element is out of place, not where several are.
func (r *readyQueue[T]) lift(g *group) {
	for q := g.queues; q != nil; q = q.sibling {
		if q.position >= 0 {
			heap.Remove(&r.heads, int(q.position))
		}
	}
}

// lower puts the queues of a group among the heads that are not there, unless it has its share at work.
func (r *readyQueue[T]) lower(g *group) {
	for q := g.queues; q != nil && g.running < r.share; q = q.sibling {
		if q.position < 0 {
			heap.Push(&r.heads, q)
		}
	}
}

// tidy forgets a group of which nothing is left, and gives back what a great many ready tasks took.
func (r *readyQueue[T]) tidy(g *group) {
	const many = 1024
	if g.running == 0 && g.queues == nil {
		delete(r.groups, g.name)
	}
	if len(r.byUrgency) > 0 {
		return
	}
	if r.used > many {
		r.blocks, r.used, r.free = nil, 0, 0
		r.heads = nil
	}
	if r.mostNamed > many+len(r.groups) { // a map does not shrink
		left := make(map[string]*group, len(r.groups))
		for name, g := range r.groups {
			left[name] = g
		}
		r.groups, r.mostNamed = left, len(left)
	}
}

// oldest returns since when the oldest task has been ready, and whether there is one.
func (r *readyQueue[T]) oldest() (int64, bool) {
	if len(r.byUrgency) == 0 {
		return 0, false
	}
	return r.entry(r.entry(0).newer).since, true
}
