package schedule

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A result is what Next returned, and when.
type result struct {
	key string
	due time.Time
	err error
	at  time.Time
}

// next calls Next on a goroutine of its own.
func next(ctx context.Context, q *Queue[string]) <-chan result {
	c := make(chan result, 1)
	go func() {
		key, due, err := q.Next(ctx)
		c <- result{key, due, err, time.Now()}
	}()
	return c
}

// expect checks that a call of Next has returned, or returns at last, a key at an instant.
func expect(t *testing.T, c <-chan result, key string, at time.Time) {
	t.Helper()
	got := <-c
	if got.err != nil || got.key != key || !got.at.Equal(at) {
		t.Errorf("Next returned %q, %v at %v, want %q at %v", got.key, got.err, got.at, key, at)
	}
}

func TestQueueOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue[string]
		start := time.Now()
		q.Set("in 90 days", start.Add(90*day))
		q.Set("in a second", start.Add(time.Second))
		q.Set("yesterday", start.Add(-day))
		q.Set("last week", start.Add(-7*day))
		q.Set("in six days", start.Add(6*day))
		q.Set("at the beginning", time.Time{})
		want := []struct {
			key string
			at  time.Duration
		}{
			{"at the beginning", 0}, {"last week", 0}, {"yesterday", 0},
			{"in a second", time.Second}, {"in six days", 6 * day}, {"in 90 days", 90 * day},
		}
		for i, w := range want {
			if q.Len() != len(want)-i {
				t.Errorf("Len() = %d, want %d", q.Len(), len(want)-i)
			}
			expect(t, next(t.Context(), &q), w.key, start.Add(w.at))
		}
		if _, ok := q.Due("in 90 days"); q.Len() != 0 || ok {
			t.Errorf("the last key is still there, or %d others", q.Len())
		}
	})
}

// What only a wake-up can find is due within ten minutes of the call of Next, which looks again then anyway.
func TestQueueChangesWhileNextWaits(t *testing.T) {
	tests := []struct {
		name   string
		change func(q *Queue[string], start time.Time)
		key    string
		after  time.Duration
	}{
		{"nothing", func(*Queue[string], time.Time) {}, "a", 2 * time.Hour},
		{"earlier key", func(q *Queue[string], start time.Time) { q.Set("c", start.Add(5*time.Minute)) }, "c", 5 * time.Minute},
		{"due key", func(q *Queue[string], start time.Time) { q.Set("c", start) }, "c", time.Minute},
		{"later key", func(q *Queue[string], start time.Time) { q.Set("c", start.Add(5*time.Hour)) }, "a", 2 * time.Hour},
		{"second moved to the front", func(q *Queue[string], start time.Time) { q.Set("b", start.Add(5*time.Minute)) }, "b", 5 * time.Minute},
		{"first moved to earlier", func(q *Queue[string], start time.Time) { q.Set("a", start.Add(5*time.Minute)) }, "a", 5 * time.Minute},
		{"first moved to later", func(q *Queue[string], start time.Time) { q.Set("a", start.Add(150*time.Minute)) }, "a", 150 * time.Minute},
		{"first moved behind the second", func(q *Queue[string], start time.Time) { q.Set("a", start.Add(4*time.Hour)) }, "b", 3 * time.Hour},
		{"first removed", func(q *Queue[string], _ time.Time) { q.Remove("a") }, "b", 3 * time.Hour},
		{"second removed", func(q *Queue[string], _ time.Time) { q.Remove("b") }, "a", 2 * time.Hour},
		{"unknown removed", func(q *Queue[string], _ time.Time) { q.Remove("x") }, "a", 2 * time.Hour},
		{"all removed, one set", func(q *Queue[string], start time.Time) {
			q.Remove("a")
			q.Remove("b")
			q.Set("c", start.Add(30*day))
		}, "c", 30 * day},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var q Queue[string]
				start := time.Now()
				q.Set("a", start.Add(2*time.Hour))
				q.Set("b", start.Add(3*time.Hour))
				c := next(t.Context(), &q)
				time.Sleep(time.Minute)
				tt.change(&q, start)
				expect(t, c, tt.key, start.Add(tt.after))
			})
		})
	}
}

func TestEmptyQueueWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue[string]
		start := time.Now()
		c := next(t.Context(), &q)
		time.Sleep(400*day + time.Minute)
		synctest.Wait()
		select {
		case got := <-c:
			t.Fatalf("Next returned %v from an empty queue", got)
		default:
		}
		q.Set("a", start)
		expect(t, c, "a", start.Add(400*day+time.Minute))
	})
}

func TestNextObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue[string]
		start := time.Now()
		q.Set("a", start.Add(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := <-next(ctx, &q)
		if !errors.Is(got.err, context.DeadlineExceeded) || !got.at.Equal(start.Add(time.Minute)) {
			t.Errorf("Next returned %v at %v", got.err, got.at)
		}
		time.Sleep(day)
		if got := <-next(ctx, &q); !errors.Is(got.err, context.DeadlineExceeded) {
			t.Errorf("a key is due and the context has ended: Next returned %q, %v", got.key, got.err)
		}
		if due, ok := q.Due("a"); !ok || !due.Equal(start.Add(time.Hour)) {
			t.Errorf("Due = %v, %t after Next failed, want it as it was", due, ok)
		}
	})
}

// TestSeveralWaiters has one caller of Next that does not come back, as if its work took long.
func TestSeveralWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q Queue[string]
		start := time.Now()
		q.Set("late", start.Add(10*time.Hour))
		results := make(chan result, 3)
		for range 3 {
			c := next(t.Context(), &q)
			go func() { results <- <-c }()
		}
		synctest.Wait()
		q.Set("first", start.Add(time.Minute))
		synctest.Wait()
		q.Set("second", start.Add(2*time.Minute))
		expect(t, results, "first", start.Add(time.Minute))
		expect(t, results, "second", start.Add(2*time.Minute))
		expect(t, results, "late", start.Add(10*time.Hour))
	})
}

// TestSuspend checks what makes Next notice a due time that passed while the machine was suspended: it
// compares wall clocks, and looks at them often. Fake time cannot make the two clocks differ.
func TestSuspend(t *testing.T) {
	var q Queue[string]
	q.Set("a", time.Now().Add(90*day))
	due, ok := q.Due("a")
	if !ok || due != due.Round(0) {
		t.Errorf("Due = %v, %t, want it without a monotonic reading", due, ok)
	}
	if e, sleep, _ := q.take(); e != nil || sleep != 10*time.Minute {
		t.Errorf("due in 90 days: entry %v, sleep %v, want none and ten minutes", e, sleep)
	}
	q.Set("b", time.Now().Add(5*time.Minute))
	if e, sleep, _ := q.take(); e != nil || sleep <= 0 || sleep > 5*time.Minute {
		t.Errorf("due in five minutes: entry %v, sleep %v", e, sleep)
	}
}

// TestQueueAgainstMap sets, moves and removes keys at random while Next hands them out. Keys become due at odd
// milliseconds and are changed at even ones, so that it is certain which comes first.
func TestQueueAgainstMap(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			var q Queue[int]
			var mu sync.Mutex
			model := make(map[int]time.Time)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				for {
					key, due, err := q.Next(ctx)
					if err != nil {
						return
					}
					mu.Lock()
					if want, ok := model[key]; !ok || !due.Equal(want) || !time.Now().Equal(due) {
						t.Errorf("seed %d: Next returned %d, due %v, at %v; want it at %v, %t", seed, key, due, time.Now(), want, ok)
					}
					delete(model, key)
					mu.Unlock()
				}
			}()
			r := rand.New(rand.NewPCG(seed, 0))
			for range 1_000 {
				synctest.Wait()
				mu.Lock()
				if key := r.IntN(100); r.IntN(4) == 0 {
					q.Remove(key)
					delete(model, key)
				} else {
					due := time.Now().Add(time.Duration(2*r.IntN(200)+1) * time.Millisecond)
					q.Set(key, due)
					model[key] = due
				}
				checkQueue(t, &q, model)
				mu.Unlock()
				time.Sleep(2 * time.Millisecond * time.Duration(r.IntN(3)))
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if len(model) != 0 || q.Len() != 0 {
				t.Errorf("seed %d: %d keys never came, %d are in the queue", seed, len(model), q.Len())
			}
			cancel()
		})
	}
}

func checkQueue(t *testing.T, q *Queue[int], model map[int]time.Time) {
	t.Helper()
	if q.Len() != len(model) {
		t.Errorf("Len() = %d, want %d", q.Len(), len(model))
	}
	for key := range 100 {
		due, ok := q.Due(key)
		if want, held := model[key]; ok != held || !due.Equal(want) {
			t.Errorf("Due(%d) = %v, %t, want %v, %t", key, due, ok, want, held)
		}
	}
}

// TestQueueConcurrently has every method called at once: each key that stays comes exactly once.
func TestQueueConcurrently(t *testing.T) {
	const setters, each = 4, 1_000
	var q Queue[int]
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var mu sync.Mutex
	got := make(map[int]int)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			for {
				key, _, err := q.Next(ctx)
				if err != nil {
					return
				}
				mu.Lock()
				if got[key]++; len(got) == setters*each {
					cancel()
				}
				mu.Unlock()
			}
		})
	}
	now := time.Now()
	for s := range setters {
		all.Go(func() {
			for i := range each {
				removed := -1 - s*each - i
				q.Set(removed, now.Add(day))
				q.Set(s*each+i, now.Add(time.Duration(i%10)*time.Millisecond))
				q.Due(removed)
				q.Remove(removed)
			}
		})
	}
	all.Wait()
	want := make(map[int]int)
	for key := range setters * each {
		want[key] = 1
	}
	if !maps.Equal(got, want) || q.Len() != 0 {
		t.Errorf("not every key came once; %d are left", q.Len())
	}
}

func BenchmarkQueue(b *testing.B) {
	const keys = 1_000_000
	now := time.Now()
	r := rand.New(rand.NewPCG(1, 2))
	random := func() time.Time { return now.Add(-time.Duration(r.Int64N(int64(90 * day)))) }
	b.Run("fill", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var q Queue[int]
			for key := range keys {
				q.Set(key, random())
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/keys, "ns/key")
	})
	var q Queue[int]
	for key := range keys {
		q.Set(key, random())
	}
	b.Run("move", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			q.Set(r.IntN(keys), random())
		}
	})
	b.Run("next and set", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			key, _, err := q.Next(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			q.Set(key, random())
		}
	})
}
