package dispatch

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	defaultWorkers  = 256
	defaultPatience = 10 * time.Second
	slowFactor      = 8 // times Workers: the most slow tasks that do not count
	leastReserve    = 4
)

// A worker is a goroutine that runs one task after the other, as long as there are any to be started.
type worker[T Task] struct {
	task   T
	group  *group
	begun  time.Time
	prompt *list.Element // nil: the task is slow
}

// Run runs the tasks that are due, until ctx has ended and all it began have returned. Their context is ctx. What is queued
// then stays so, for another Run.
func (d *Dispatcher[T]) Run(ctx context.Context) {
	var workers sync.WaitGroup
	defer workers.Wait()
	d.mu.Lock()
	if d.wake == nil {
		d.wake = make(chan struct{}, 1)
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
		case <-d.wake:
		case <-ctx.Done():
		}
	}
}

// start starts what can be started, and returns how long to sleep before the next time: zero, if more is due.
func (d *Dispatcher[T]) start(ctx context.Context, workers *sync.WaitGroup) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.look()
	d.promote(now)
	d.findSlow(now)
	for d.startable() {
		w := new(worker[T])
		d.begin(w, now)
		workers.Go(func() { d.work(ctx, w) })
	}
	sleep := longestSleep
	if len(d.waiting) > 0 {
		sleep = min(sleep, d.untilDue(now))
	}
	if first := d.prompt.Front(); first != nil {
		sleep = min(sleep, d.patience()-now.Sub(first.Value.(*worker[T]).begun))
	}
	d.alarm = now.Add(sleep)
	return sleep
}

// work runs w's task, and others after it.
func (d *Dispatcher[T]) work(ctx context.Context, w *worker[T]) {
	for {
		d.Do(ctx, w.task)
		if !d.next(ctx, w) {
			return
		}
	}
}

// next ends w's task and begins another, if one can be started.
func (d *Dispatcher[T]) next(ctx context.Context, w *worker[T]) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.look()
	d.end(w, now)
	begun := d.startable() && ctx.Err() == nil
	if begun {
		d.begin(w, now)
	}
	d.alert(now)
	return begun
}

// begin has w begin the task that is next.
func (d *Dispatcher[T]) begin(w *worker[T], now time.Time) {
	w.task, w.group = d.ready.take()
	w.task.place().state = running
	w.begun = now
	w.prompt = d.prompt.PushBack(w)
	d.running++
}

// end plans a task anew that has run.
func (d *Dispatcher[T]) end(w *worker[T], now time.Time) {
	d.running--
	if w.prompt != nil {
		d.prompt.Remove(w.prompt)
	} else {
		d.slow--
	}
	d.ready.done(w.group)
	p := w.task.place()
	again := p.state == running
	p.state = idle
	if again {
		d.plan(w.task, now)
	}
}

// promote makes ready what is due, up to a portion.
func (d *Dispatcher[T]) promote(now time.Time) {
	for range portion {
		if len(d.waiting) == 0 || d.untilDue(now) > 0 {
			return
		}
		t := heap.Pop(&d.waiting).(T)
		d.makeReady(t, t.place().urgency, now)
	}
}

// findSlow finds the tasks that have become slow.
func (d *Dispatcher[T]) findSlow(now time.Time) {
	for first := d.prompt.Front(); first != nil; first = d.prompt.Front() {
		w := first.Value.(*worker[T])
		if now.Sub(w.begun) < d.patience() {
			return
		}
		d.prompt.Remove(first)
		w.prompt = nil
		d.slow++
	}
}

// startable reports whether there is a task to be started, and room for it.
func (d *Dispatcher[T]) startable() bool {
	if len(d.ready.heads) == 0 {
		return false
	}
	room := d.workers()
	if d.ready.heads[0].urgency < d.Urgent {
		room += max(leastReserve, room/4)
	}
	return d.running-min(d.slow, slowFactor*d.workers()) < room
}

// alert wakes Run if it would look too late.
func (d *Dispatcher[T]) alert(now time.Time) {
	left := d.alarm.Sub(now)
	if d.startable() || len(d.waiting) > 0 && d.untilDue(now) < left || d.prompt.Len() > 0 && d.patience() < left {
		select {
		case d.wake <- struct{}{}:
		default: // woken already, or not running
		}
	}
}

// untilDue returns how long it is until the first task that waits is due. There must be one.
func (d *Dispatcher[T]) untilDue(now time.Time) time.Duration {
	due, wall := d.waiting[0].place().due, now.UnixNano()
	if due <= wall {
		return 0
	}
	return time.Duration(due - wall)
}

func (d *Dispatcher[T]) workers() int {
	if d.Workers <= 0 {
		return defaultWorkers
	}
	return d.Workers
}

func (d *Dispatcher[T]) patience() time.Duration {
	return cmp.Or(max(d.Patience, 0), defaultPatience)
}
