package dispatch

// A queueHeap holds the queues by who is next. It implements [container/heap.Interface].
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
