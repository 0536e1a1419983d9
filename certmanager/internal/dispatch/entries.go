package dispatch

import "time"

// entries are those of the ready tasks, in a list by age and in their queues. A ready task's position is the number of its
// entry. Number zero is the ends of the list by age, and stands for none elsewhere.
type entries[T Task] struct {
	blocks [][]entry[T] // with free ones between them; one slice would be copied under the lock when it grows
	used   int32        // free ones too
	free   int32        // the head of the free entries, linked by after
	began  time.Time    // from which since counts
	last   int64        // the latest since
}

type entry[T Task] struct {
	task          T
	queue         *queue
	since         int64 // when the task became ready, in nanoseconds; no two have the same
	older, newer  int32 // the list by age
	before, after int32 // the queue
}

// blockSize is how many entries a block has.
const blockSize = 256

func (s *entries[T]) at(i int32) *entry[T] { return &s.blocks[i/blockSize][i%blockSize] }

// allot returns the number of a free entry.
func (s *entries[T]) allot() int32 {
	if i := s.free; i != 0 {
		s.free = s.at(i).after
		return i
	}
	s.used = max(s.used, 1)
	i := s.used
	if int(i/blockSize) == len(s.blocks) {
		s.blocks = append(s.blocks, make([]entry[T], blockSize))
	}
	s.used++
	return i
}

// add makes an entry for a task, the youngest one and in no queue, and returns its number.
func (s *entries[T]) add(t T, now time.Time) int32 {
	if s.began.IsZero() {
		s.began = now
	}
	i := s.allot()
	s.last = max(int64(now.Sub(s.began)), s.last+1)
	newest := s.at(0).older
	*s.at(i) = entry[T]{task: t, since: s.last, older: newest}
	s.at(newest).newer, s.at(0).older = i, i
	return i
}

// remove frees an entry that is in no queue.
func (s *entries[T]) remove(i int32) {
	e := s.at(i)
	s.at(e.older).newer, s.at(e.newer).older = e.newer, e.older
	*e = entry[T]{after: s.free}
	s.free = i
}

// push appends an entry to a queue.
func (s *entries[T]) push(i int32, q *queue) {
	e := s.at(i)
	e.queue, e.before, e.after = q, q.last, 0
	if q.last != 0 {
		s.at(q.last).after = i
	} else {
		q.first, q.since = i, e.since
	}
	q.last = i
}

// unlink takes an entry out of its queue, which it returns.
func (s *entries[T]) unlink(i int32) *queue {
	e := s.at(i)
	q := e.queue
	if e.before != 0 {
		s.at(e.before).after = e.after
	} else {
		q.first = e.after
	}
	if e.after != 0 {
		s.at(e.after).before = e.before
	} else {
		q.last = e.before
	}
	if q.first != 0 {
		q.since = s.at(q.first).since
	}
	return q
}

// age returns how long the oldest task has been ready. There must be one.
func (s *entries[T]) age(now time.Time) time.Duration {
	return max(0, now.Sub(s.began)-time.Duration(s.at(s.at(0).newer).since))
}

// shrink gives back what a great many entries took, when none is used.
func (s *entries[T]) shrink() {
	if s.used > many {
		s.blocks, s.used, s.free = nil, 0, 0
	}
}
