package dispatch

import (
	"math"
	"time"
)

// A dueHeap holds the tasks that wait, the earliest due first. It implements [container/heap.Interface].
type dueHeap[T Task] []T

func (h dueHeap[T]) Len() int { return len(h) }

func (h dueHeap[T]) Less(i, j int) bool { return h[i].place().due < h[j].place().due }

func (h dueHeap[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place().position, h[j].place().position = int32(i), int32(j)
}

// Push appends a task, which is in order only after container/heap has moved it up.
func (h *dueHeap[T]) Push(x any) {
	t := x.(T)
	t.place().position = int32(len(*h))
	*h = append(*h, t)
}

// Pop removes the last task.
func (h *dueHeap[T]) Pop() any {
	var none T
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = none // for the garbage collector
	*h = (*h)[:last]
	return t
}

// untilFirst returns how long it is until the first task is due, zero if it is, and whether there is one.
func (h dueHeap[T]) untilFirst(now time.Time) (time.Duration, bool) {
	if len(h) == 0 {
		return 0, false
	}
	due, wall := h[0].place().due, now.UnixNano()
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
	for _, t := range h {
		p := t.place()
		p.due = max(p.due, math.MinInt64+int64(by)) - int64(by)
	}
}
