package tally

import (
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// sparePeriod is for how long a process keeps what it does not use.
const sparePeriod = 5 * time.Second

// An asking is that of one who wants a token.
type asking struct {
	class budget.Class
	done  chan struct{} // closed when err is set
	err   error
}

// spare are tokens that were taken and given back.
type spare struct {
	tokens int
	since  time.Time // when the last was given back
}

func (s *spare) add(now time.Time) {
	if now.Sub(s.since) >= sparePeriod {
		s.tokens = 0
	}
	s.tokens, s.since = s.tokens+1, now
}

// take reports whether there was one.
func (s *spare) take(now time.Time) bool {
	if s.tokens == 0 || now.Sub(s.since) >= sparePeriod {
		return false
	}
	s.tokens--
	return true
}

// Asked are the askings that wait for their answers. What was given back is for the next.
type asked struct {
	mu    sync.Mutex // no other lock is taken under it
	all   []*asking  // guarded by mu
	spare            // guarded by mu
}

// ask adds an asking, unless there is a token to spare.
func (q *asked) ask(class budget.Class) *asking {
	q.mu.Lock()
	defer q.mu.Unlock()
	a := &asking{class: class, done: make(chan struct{})}
	if q.spare.take(time.Now()) {
		close(a.done)
	} else {
		q.all = append(q.all, a)
	}
	return a
}

// withdraw reports whether the asking was not answered, and will not be.
func (q *asked) withdraw(a *asking) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.all, a)
	if i >= 0 {
		q.all = slices.Delete(q.all, i, i+1)
	}
	return i >= 0
}

// next returns those to be answered next, n at most: the most urgent first.
func (q *asked) next(n int) []*asking {
	q.mu.Lock()
	defer q.mu.Unlock()
	slices.SortStableFunc(q.all, func(a, b *asking) int { return int(b.class) - int(a.class) })
	n = min(n, len(q.all))
	next := slices.Clone(q.all[:n])
	q.all = slices.Delete(q.all, 0, n)
	return next
}

// some reports whether there are any.
func (q *asked) some() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.all) > 0
}

// giveBack keeps a token for who asks next.
func (q *asked) giveBack(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare.add(now)
}

// forgetSpare loses what was given back.
func (q *asked) forgetSpare() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = spare{}
}
