package dispatch

import (
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

	mu     sync.Mutex // guards what follows
	clock  clock
	agenda agenda[T]
	room   room
	alarm  alarm
}

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
		d.agenda.plan(t, now)
	}
	d.alert(now)
}

// Remove takes a task out of the queue, until the next Update. One that runs is not stopped, but is not
// planned when it ends. A task that is not queued is left so.
func (d *Dispatcher[T]) Remove(t T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.agenda.remove(t)
}

// look returns the time, and makes good for a wall clock that was set back since the last look. The first one takes over
// what the exported fields say.
func (d *Dispatcher[T]) look() time.Time {
	if d.room.workers == 0 {
		d.room.limits = limitsOf(d)
		d.agenda.ready.heads.share = d.room.share()
	}
	now, back := d.clock.look()
	d.agenda.waiting.bringForward(back)
	return now
}
