package dispatch

import (
	"math"
	"time"
)

// A dueHeap holds the tasks that wait, the earliest due first. It implements [container/heap.Interface].
type dueHeap[T Task] []waiter[T]

// A waiter is a task that waits. When it is due is here and not with the task: to look that up at each comparison would take
// most of the time that a million tasks cost.
type waiter[T Task] struct {
	due  int64 // in nanoseconds since 1970
	task T
}

func (h dueHeap[T]) Len() int { return len(h) }

func (h dueHeap[T]) Less(i, j int) bool { return h[i].due < h[j].due }

func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].task.place().position, h[j].task.place().position = int32(i), int32(j)
}

// Push appends a task, due after all others.
func (h *dueHeap[T]) Push(x any) {
	t := x.(T)
	t.place().position = int32(len(*h))
	*h = append(*h, waiter[T]{math.MaxInt64, t})
}

// Pop removes the last task.
func (h *dueHeap[T]) Pop() any {
	last := len(*h) - 1
	t := (*h)[last].task
	(*h)[last] = waiter[T]{} // for the garbage collector
	*h = (*h)[:last]
	return t
}

// untilFirst returns how long it is until the first task is due, zero if it is, and whether there is one.
func (h dueHeap[T]) untilFirst(now time.Time) (time.Duration, bool) {
	if len(h) == 0 {
		return 0, false
	}
	due, wall := h[0].due, now.UnixNano()
	if due <= wall {
		return 0, true
	}
	return time.Duration(due - wall), true
}

// bringForward makes all tasks due that much earlier, which leaves their order as it is: what was planned by a clock
// that was ahead would come late by as much.
func (h dueHeap[T]) bringForward(by time.Duration) {
	if by == 0 {
		return
	}
	for i := range h {
		h[i].due = max(h[i].due, math.MinInt64+int64(by)) - int64(by)
	}
}
