package dispatch

import (
	"context"
	"sync"
	"time"
)

// longestSleep bounds how late Run notices that the wall clock moved on without the monotonic one.
const longestSleep = 10 * time.Minute

// A worker is a goroutine that runs one task after the other, as long as there are any to be started.
type worker[T Task] struct {
	task  T
	group *group
	stint stint
}

// begin takes up the task that is next.
func (w *worker[T]) begin(d *Dispatcher[T], now time.Time) {
	w.task, w.group = d.agenda.begin()
	d.room.enter(&w.stint, now)
}

// end gives back the task, which has run.
func (w *worker[T]) end(d *Dispatcher[T], now time.Time) {
	d.room.leave(&w.stint)
	d.agenda.end(w.task, w.group, now)
}

// An alarm is when Run looks next, unless it is woken.
type alarm struct {
	at   time.Time
	wake chan struct{} // nil: Run was not called
}

// Run runs the tasks that are due, until ctx has ended and all it began have returned. Their context is ctx. What is queued
// then stays so, for another Run.
func (d *Dispatcher[T]) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	d.mu.Lock()
	if d.alarm.wake == nil {
		d.alarm.wake = make(chan struct{}, 1)
	}
	d.mu.Unlock()
	timer := time.NewTimer(longestSleep)
	defer timer.Stop()
	for ctx.Err() == nil {
		sleep := d.start(ctx, &workers)
		if sleep <= 0 {
			continue
		}
		timer.Reset(sleep)
		select {
		case <-timer.C:
		case <-d.alarm.wake:
		case <-ctx.Done():
		}
	}
}

// start starts what can be started, and returns how long to sleep before the next time: zero, if more is due.
func (d *Dispatcher[T]) start(ctx context.Context, workers *sync.WaitGroup) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.look()
	d.agenda.promote(now)
	d.room.findSlow(now)
	for d.startable() {
		w := new(worker[T])
		w.begin(d, now)
		workers.Go(func() { d.work(ctx, w) })
	}
	sleep := d.sleep(now)
	d.alarm.at = now.Add(sleep)
	return sleep
}

// work runs w's task, and others after it.
func (d *Dispatcher[T]) work(ctx context.Context, w *worker[T]) {
	deepen(0)
	for {
		d.Do(ctx, w.task)
		if !d.next(ctx, w) {
			return
		}
	}
}

// deepen makes room on the stack of a worker for what tasks need, at once. Growing step by step, as they call deeper, it would
// be copied each time, which takes as long as a short task.
//
//go:noinline
func deepen(i int) byte {
	var room [12 << 10]byte
	return room[i]
}

// next ends w's task and begins another, if one can be started.
func (d *Dispatcher[T]) next(ctx context.Context, w *worker[T]) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.look()
	w.end(d, now)
	begun := d.startable() && ctx.Err() == nil
	if begun {
		w.begin(d, now)
	}
	d.alert(now)
	return begun
}

// startable reports whether there is a task to be started, and room for it.
func (d *Dispatcher[T]) startable() bool {
	first := d.agenda.ready.heads.first()
	return first != nil && d.room.admits(first.urgency)
}

// sleep returns how long nothing happens, if no task ends and nobody calls.
func (d *Dispatcher[T]) sleep(now time.Time) time.Duration {
	sleep := longestSleep
	if left, some := d.agenda.waiting.untilFirst(now); some {
		sleep = min(sleep, left)
	}
	if left, some := d.room.untilSlow(now); some {
		sleep = min(sleep, left)
	}
	return sleep
}

// alert wakes Run if it would look too late.
func (d *Dispatcher[T]) alert(now time.Time) {
	if d.startable() || d.sleep(now) < d.alarm.at.Sub(now) {
		select {
		case d.alarm.wake <- struct{}{}:
		default: // woken already, or not running
		}
	}
}
