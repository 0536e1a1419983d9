package dispatch

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A counter is a task that is planned while it has something to do: it loses nothing, and is never at work twice.
type counter struct {
	Place
	group  string
	wanted atomic.Int64
	done   atomic.Int64
	atWork atomic.Int32
}

func (c *counter) Plan() (time.Time, Urgency, bool) {
	wanted := c.wanted.Load()
	return time.Time{}, Urgency(wanted % 3), c.done.Load() < wanted
}

func (c *counter) Group() string { return c.group }

// TestNoUpdateIsLost has many goroutines want work done, and each of them say so once.
func TestNoUpdateIsLost(t *testing.T) {
	const callers, each = 8, 1_000
	counters := make([]*counter, 20)
	for i := range counters {
		counters[i] = &counter{group: string(rune('a' + i%3))}
	}
	var left atomic.Int64
	left.Store(int64(len(counters)))
	ctx, cancel := context.WithCancel(t.Context())
	d := Dispatcher[*counter]{Workers: 3, Urgent: 1, Do: func(ctx context.Context, c *counter) {
		if c.atWork.Add(1) != 1 {
			t.Error("a task is at work twice at once")
		}
		if wanted := c.wanted.Load(); c.done.Swap(wanted) < callers*each && wanted == callers*each {
			if left.Add(-1) == 0 {
				cancel()
			}
		}
		c.atWork.Add(-1)
	}}
	var all sync.WaitGroup
	for seed := range uint64(callers) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range each {
				for _, i := range r.Perm(len(counters)) {
					counters[i].wanted.Add(1)
					d.Update(counters[i])
				}
				d.Stats()
			}
		})
	}
	d.Run(ctx) // it would hang
	all.Wait()
	if s := d.Stats(); s.Running != 0 {
		t.Errorf("%+v after Run", s)
	}
}

// TestRemoveStorm removes and updates tasks while they run; at last all are removed, and none runs.
func TestRemoveStorm(t *testing.T) {
	counters := make([]*counter, 20)
	for i := range counters {
		counters[i] = &counter{group: string(rune('a' + i%3))}
		counters[i].wanted.Store(1 << 60)
	}
	d := Dispatcher[*counter]{Workers: 3, Do: func(_ context.Context, c *counter) {
		if c.atWork.Add(1) != 1 {
			t.Error("a task is at work twice at once")
		}
		runtime.Gosched()
		c.done.Add(1)
		c.atWork.Add(-1)
	}}
	ctx, cancel := context.WithCancel(t.Context())
	var run, all sync.WaitGroup
	run.Go(func() { d.Run(ctx) })
	for seed := range uint64(4) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 10_000 {
				if c := counters[r.IntN(len(counters))]; r.IntN(2) == 0 {
					d.Update(c)
				} else {
					d.Remove(c)
				}
			}
		})
	}
	all.Wait()
	for _, c := range counters {
		d.Remove(c)
	}
	for d.Stats().Running > 0 {
		runtime.Gosched()
	}
	if s := d.Stats(); len(s.Ready) > 0 || len(d.agenda.ready.groups.byName) > 0 || len(d.agenda.ready.heads.queues) > 0 {
		t.Errorf("%+v, want nothing left, nor of %d groups", s, len(d.agenda.ready.groups.byName))
	}
	cancel()
	run.Wait()
}

// TestContextEnds ends Run's context at any moment: Run returns, leaves no goroutine behind, and another Run does the rest.
func TestContextEnds(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			d := newDesk()
			d.Workers = 1 + r.IntN(4)
			all := jobs(50, "each", 0, nil)
			for _, j := range all {
				takes := time.Duration(r.IntN(3)) * 7 * time.Second
				j.work = func(ctx context.Context) {
					select {
					case <-time.After(takes):
					case <-ctx.Done():
					}
				}
				j.due = time.Now().Add(time.Duration(r.IntN(10)) * time.Second)
			}
			d.Update(all...)
			ctx, cancel := context.WithCancel(t.Context())
			start, after := time.Now(), time.Duration(r.IntN(20_000))*time.Millisecond
			time.AfterFunc(after, cancel)
			d.Run(ctx)
			if took := time.Since(start); took != after {
				t.Errorf("Run returned after %v, its context ended after %v", took, after)
			}
			s := d.Stats()
			if s.Running != 0 || s.Slow != 0 || s.Waiting+s.Ready[0]+len(d.begun) != len(all) {
				t.Errorf("%+v, %d have run", s, len(d.begun))
			}
			d.Run(ctx) // begins nothing
			if begun := len(d.begun); begun+s.Waiting+s.Ready[0] != len(all) {
				t.Errorf("%d have run by a Run whose context has ended", begun)
			}
			d.run(t)
			time.Sleep(time.Hour)
			synctest.Wait()
			if len(d.begun) != len(all) {
				t.Errorf("%d have run, want all", len(d.begun))
			}
		})
	}
}
