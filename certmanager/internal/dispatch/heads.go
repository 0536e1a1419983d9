package dispatch

import "container/heap"

// heads has the queues whose first task may run, the next one first.
type heads struct {
	queues queueHeap
	share  int // how many tasks of one group may be at work
}

// lift takes the queues of a group off the heads, all of them, before what they are ordered by changes: a heap can be
// mended where one element is out of place, not where several are.
func (h *heads) lift(g *group) {
	for q := g.queues; q != nil; q = q.sibling {
		if q.position >= 0 {
			heap.Remove(&h.queues, int(q.position))
		}
	}
}

// lower puts the queues of a group among the heads that are not there, unless it has its share at work.
func (h *heads) lower(g *group) {
	for q := g.queues; q != nil && g.running < h.share; q = q.sibling {
		if q.position < 0 {
			heap.Push(&h.queues, q)
		}
	}
}

// first returns the queue whose first task is to run next; nil: none is.
func (h *heads) first() *queue {
	if len(h.queues) == 0 {
		return nil
	}
	return h.queues[0]
}

// shrink gives back what a great many queues took, when there is none.
func (h *heads) shrink() {
	if cap(h.queues) > many {
		h.queues = nil
	}
}

// A queueHeap holds queues by who is next. It implements [container/heap.Interface].
type queueHeap []*queue

func (h queueHeap) Len() int { return len(h) }

// Less reports whether one queue's first task goes before the other's.
func (h queueHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.urgency != b.urgency:
		return a.urgency < b.urgency
	case a.group.running != b.group.running:
		return a.group.running < b.group.running
	}
	return a.since < b.since
}

func (h queueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].position, h[j].position = int32(i), int32(j)
}

// Push appends a queue.
func (h *queueHeap) Push(x any) {
	q := x.(*queue)
	q.position = int32(len(*h))
	*h = append(*h, q)
}

// Pop removes the last queue.
func (h *queueHeap) Pop() any {
	last := len(*h) - 1
	q := (*h)[last]
	(*h)[last] = nil // for the garbage collector
	*h = (*h)[:last]
	q.position = -1
	return q
}
