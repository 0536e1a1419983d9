package schedule

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// longestSleep bounds how late Next notices that the wall clock moved on without the monotonic one.
const longestSleep = 10 * time.Minute

// A Queue holds due times by key, one for each, and hands the keys out as their times come.
//
// Where the wall clock is found to have been set back, by more than a minute, all keys become due that much earlier: a
// key that comes too early can be set again, one that was set by a clock years ahead would not come in time.
//
// The zero Queue is empty and ready for use. All methods may be called at the same time, Next too. Set, Remove and Next
// take time logarithmic in the queue's length. A Queue must not be copied after first use.
type Queue[K comparable] struct {
	mu      sync.Mutex
	waiting dueTimes[K]
	byKey   map[K]*entry[K]
	looked  time.Time // when Next looked last, with a monotonic reading
	// earlier is closed, and forgotten, when an earlier due time comes to the head of waiting. It is nil while nobody
	// has asked for it.
	earlier chan struct{}
}

type entry[K comparable] struct {
	key      K
	due      time.Time // without a monotonic reading
	position int       // in waiting
}

// Set makes a key due at an instant of the wall clock, instead of when it was due before, if it was. What is due in
// the past is due at once, before all that became due later.
func (q *Queue[K]) Set(key K, due time.Time) {
	// A monotonic reading would be compared, and slept for, on a clock that stops while the machine is suspended.
	due = due.Round(0)
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.byKey[key]; ok {
		e.due = due
		heap.Fix(&q.waiting, e.position)
	} else {
		e := &entry[K]{key: key, due: due}
		if q.byKey == nil {
			q.byKey = make(map[K]*entry[K])
		}
		q.byKey[key] = e
		heap.Push(&q.waiting, e)
	}
	// If the key was at the head before, its new time may be a later one; then Next only looks once more.
	if q.waiting[0].key == key && q.earlier != nil {
		close(q.earlier)
		q.earlier = nil
	}
}

// Remove takes a key out of the queue. A key that is not in it is left so.
func (q *Queue[K]) Remove(key K) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.byKey[key]; ok {
		heap.Remove(&q.waiting, e.position)
		delete(q.byKey, key)
	}
}

// Due returns when a key is due, as it was set, and whether it is in the queue at all.
func (q *Queue[K]) Due(key K) (time.Time, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e, ok := q.byKey[key]; ok {
		return e.due, true
	}
	return time.Time{}, false
}

// Len returns how many keys are in the queue.
func (q *Queue[K]) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// Next waits until the earliest key is due, removes it, and returns it with its due time. It returns ctx's error, and
// leaves the queue as it is, once ctx has ended, even if a key is due.
func (q *Queue[K]) Next(ctx context.Context) (K, time.Time, error) {
	for {
		if err := ctx.Err(); err != nil {
			var none K
			return none, time.Time{}, err
		}
		e, sleep, earlier := q.take()
		if e != nil {
			return e.key, e.due, nil
		}
		timer := time.NewTimer(sleep)
		select {
		case <-timer.C:
		case <-earlier:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// take removes and returns the earliest entry, if it is due. Otherwise it returns how long to sleep before the next
// attempt, and a channel that is closed if that turns out to be too long.
func (q *Queue[K]) take() (*entry[K], time.Duration, <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if !q.looked.IsZero() {
		q.bringForward(setBack(now.Round(0).Sub(q.looked.Round(0)), now.Sub(q.looked)))
	}
	q.looked = now
	sleep := longestSleep
	if len(q.waiting) > 0 {
		until := time.Until(q.waiting[0].due)
		if until <= 0 {
			e := heap.Pop(&q.waiting).(*entry[K])
			delete(q.byKey, e.key)
			return e, 0, nil
		}
		sleep = min(sleep, until)
	}
	if q.earlier == nil {
		q.earlier = make(chan struct{})
	}
	return nil, sleep, q.earlier
}

// setBack returns how far the wall clock was set back, given by how much each clock moved on. Small
// corrections do not count.
func setBack(wall, monotonic time.Duration) time.Duration {
	const small = time.Minute
	if back := monotonic - wall; back > small {
		return back
	}
	return 0
}

// bringForward makes every key due that much earlier: what was set by a clock that was ahead would come late by as much.
func (q *Queue[K]) bringForward(d time.Duration) {
	if d == 0 {
		return
	}
	for _, e := range q.waiting {
		e.due = e.due.Add(-d)
	}
}

// dueTimes implements [heap.Interface].
type dueTimes[K comparable] []*entry[K]

func (d dueTimes[K]) Len() int { return len(d) }

func (d dueTimes[K]) Less(i, j int) bool { return d[i].due.Before(d[j].due) }

func (d dueTimes[K]) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].position, d[j].position = i, j
}

func (d *dueTimes[K]) Push(x any) {
	e := x.(*entry[K])
	e.position = len(*d)
	*d = append(*d, e)
}

func (d *dueTimes[K]) Pop() any {
	last := len(*d) - 1
	e := (*d)[last]
	(*d)[last] = nil // for the garbage collector
	*d = (*d)[:last]
	return e
}
