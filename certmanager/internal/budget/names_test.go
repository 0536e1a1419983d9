package budget_test

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

// waitingNames are names that all members want, and one bucket.
type waitingNames struct {
	limit  budget.Limit
	names  int
	bucket budget.Bucket
}

// A turn is when a member tries for a name.
type turn struct {
	at           time.Time
	member, name int
	waited       bool
}

type turns []turn

func (t turns) Len() int           { return len(t) }
func (t turns) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t turns) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *turns) Push(x any)        { *t = append(*t, x.(turn)) }
func (t *turns) Pop() any {
	last := (*t)[len(*t)-1]
	*t = (*t)[:len(*t)-1]
	return last
}

// run has the members try until all names have had a token. It returns how long that took, and how often they tried.
func (w *waitingNames) run(t *testing.T, members int) (took time.Duration, tries int) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	var queue turns
	lines := make([]budget.Line, members)
	for member := range members {
		for _, name := range r.Perm(w.names) {
			heap.Push(&queue, turn{at: begin.Add(time.Duration(len(queue))), member: member, name: name})
		}
	}
	done := make([]bool, w.names)
	last := begin
	left := w.names
	for left > 0 {
		next := heap.Pop(&queue).(turn)
		if done[next.name] {
			continue
		}
		tries++
		if w.limit.Room(w.bucket, budget.New, next.at) > 0 {
			w.bucket = w.limit.Take(w.bucket, 1, next.at)
			done[next.name], last = true, next.at
			left--
			continue
		}
		free, line := w.limit.Next(w.bucket, budget.New, next.at), &lines[next.member]
		supply := budget.Supply{Now: next.at, Next: free, Interval: w.limit.Interval()}
		var place *budget.Place
		if next.waited {
			place = line.Rejoin(nil, supply, r.Float64())
		} else {
			place = line.Join(nil, supply)
		}
		at := place.Due()
		if !at.After(next.at) {
			t.Fatalf("a slot at %v is given at %v", at, next.at)
		}
		heap.Push(&queue, turn{at, next.member, next.name, true})
	}
	return last.Sub(begin), tries
}
