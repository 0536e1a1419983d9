package enginetest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
	"github.com/everseal/everseal/storage/internal/wait"
)

// Writers each lengthen a record of their own, "writer/0" and so on, and count how often that was acknowledged.
type Writers struct {
	cancel context.CancelFunc
	tasks  sync.WaitGroup

	mu           sync.Mutex
	more         *sync.Cond
	acknowledged [4]int // guarded by mu
	late         bool   // guarded by mu; patience is at an end
	last         error  // guarded by mu
}

// StartWriters starts them, until Stop or the test's end.
func StartWriters(t *testing.T, s storage.Store) *Writers {
	w := new(Writers)
	w.more = sync.NewCond(&w.mu)
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	for i := range w.acknowledged {
		key := fmt.Sprintf("writer/%d", i)
		w.tasks.Go(func() {
			for ctx.Err() == nil {
				_, err := storage.Update(t.Context(), s, key, func(old []byte) ([]byte, error) { return append(old, '+'), nil })
				w.note(i, err)
				if err != nil {
					_ = wait.Before(ctx, 6) // the server is away
				}
			}
		})
	}
	t.Cleanup(func() { w.Stop() })
	return w
}

// note counts what was acknowledged.
func (w *Writers) note(i int, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		w.acknowledged[i]++
	} else {
		w.last = err
	}
	w.more.Broadcast()
}

// Stop ends them and returns what they have counted.
func (w *Writers) Stop() [4]int {
	w.cancel()
	w.tasks.Wait()
	return w.acknowledged
}

// Wait returns when each writer has got on by so many.
func (w *Writers) Wait(t *testing.T, some int) {
	t.Helper()
	timer := time.AfterFunc(server.Patience, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.late = true
		w.more.Broadcast()
	})
	defer timer.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	from := w.acknowledged
	for i := range from {
		for w.acknowledged[i] < from[i]+some {
			if w.late {
				t.Fatalf("writer %d does not get on: %v", i, w.last)
			}
			w.more.Wait()
		}
	}
}

// Check stops them, and reports what was acknowledged and is not stored.
func (w *Writers) Check(t *testing.T, s storage.Store) {
	t.Helper()
	for i, n := range w.Stop() {
		item, err := s.Load(t.Context(), fmt.Sprintf("writer/%d", i))
		if err != nil || len(item.Value) < n {
			t.Errorf("writer %d: %d increments are stored, %v; %d were acknowledged", i, len(item.Value), err, n)
		}
	}
}
