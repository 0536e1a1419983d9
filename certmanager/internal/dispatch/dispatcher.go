package dispatch

import (
	"container/heap"
	"container/list"
	"context"
	"sync"
	"time"
)

// A Dispatcher runs tasks as they become due. Its exported fields are set before first use; Do is the only required one.
// All methods may be called at the same time, but only one Run. It must not be copied after first use.
type Dispatcher[T Task] struct {
	// Do runs a task. When it returns, the task is planned anew by its Plan. It may call the dispatcher. It must return
	// soon after ctx has ended; a panic in it is not recovered.
	Do func(ctx context.Context, t T)
	// Workers is how many tasks are at work at once. Zero means 256.
	Workers int
	// Patience is how long a task may be at work before it makes room for another. Zero means ten seconds.
	Patience time.Duration
	// Urgent is the bound below which an urgency is given the reserve. Zero: none is.
	Urgent Urgency

	mu      sync.Mutex
	waiting dueHeap[T]
	ready   readyQueue[T]

	running int
	slow    int       // of them, those at work for longer than Patience
	prompt  list.List // the others (*worker[T]), the longest at work first

	looked time.Time // when the clock was looked at last
	wall   time.Time // what the wall clock said then
	began  time.Time // the first look, from which the ready queue's times count
	alarm  time.Time // when Run looks next, unless it is woken
	wake   chan struct{}
}

// portion is how many tasks are planned, or become ready, before the lock is given to others.
const portion = 1024

// Update says that something about the tasks has changed, or that they are new: they are planned anew. One that
// runs is planned when it ends. Any number of tasks can be given: the lock is taken for a portion of them at a time.
func (d *Dispatcher[T]) Update(ts ...T) {
	for len(ts) > portion {
		d.update(ts[:portion])
		ts = ts[portion:]
	}
	d.update(ts)
}

func (d *Dispatcher[T]) update(ts []T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.look()
	for _, t := range ts {
		d.plan(t, now)
	}
	d.alert(now)
}

// Remove takes a task out of the queue, until the next Update. One that runs is not stopped, but is not
// planned when it ends. A task that is not queued is left so.
func (d *Dispatcher[T]) Remove(t T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := t.place(); p.state == running || p.state == leaving {
		p.state = leaving
	} else {
		d.dequeue(t)
	}
}

// plan queues a task as its plan says, unless it runs.
func (d *Dispatcher[T]) plan(t T, now time.Time) {
	p := t.place()
	if p.state == running || p.state == leaving {
		p.state = running
		return
	}
	due, urgency, planned := t.Plan()
	if !planned {
		d.dequeue(t)
		return
	}
	switch at := nanoseconds(due); {
	case at > now.UnixNano():
		d.wait(t, at, urgency)
	case p.state == ready && p.urgency == urgency:
	case p.state == ready:
		d.ready.move(t, urgency)
	default:
		d.dequeue(t)
		d.makeReady(t, urgency, now)
	}
}

// wait lets a task wait until it is due.
func (d *Dispatcher[T]) wait(t T, due int64, urgency Urgency) {
	p := t.place()
	if p.state == ready {
		d.ready.remove(t)
	}
	queued := p.state == waiting
	p.state, p.due, p.urgency = waiting, due, urgency
	if queued {
		heap.Fix(&d.waiting, int(p.position))
	} else {
		heap.Push(&d.waiting, t)
	}
}

// dequeue makes a task idle that does not run.
func (d *Dispatcher[T]) dequeue(t T) {
	p := t.place()
	switch p.state {
	case waiting:
		heap.Remove(&d.waiting, int(p.position))
	case ready:
		d.ready.remove(t)
	}
	p.state = idle
}

// makeReady makes a task ready that is in no queue.
func (d *Dispatcher[T]) makeReady(t T, urgency Urgency, now time.Time) {
	if d.began.IsZero() {
		d.began = now
		d.ready.share = d.workers() * (1 + slowFactor) * 3 / 4
	}
	d.ready.add(t, urgency, int64(now.Sub(d.began)))
}
