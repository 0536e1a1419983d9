package dispatch

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

const million = 1_000_000

// A certificate is a task that is planned once.
type certificate struct {
	Place
	due     int64
	urgency Urgency
	done    bool
	group   string
}

func (c *certificate) Plan() (time.Time, Urgency, bool) {
	return time.Unix(0, c.due), c.urgency, !c.done
}

func (c *certificate) Group() string { return c.group }

// certificates makes a million tasks in so many groups, due at random times after an instant.
func certificates(groups int, after time.Time) []*certificate {
	r := rand.New(rand.NewPCG(1, 2))
	all := make([]*certificate, million)
	for i := range all {
		all[i] = &certificate{due: after.UnixNano() + r.Int64N(int64(90*day)), group: strconv.Itoa(i % groups), urgency: Urgency(i % 4)}
	}
	return all
}

func BenchmarkUpdateOne(b *testing.B) {
	start := time.Now().Add(time.Hour)
	all := certificates(million, start)
	var d Dispatcher[*certificate]
	d.Update(all...)
	r := rand.New(rand.NewPCG(3, 4))
	b.ReportAllocs()
	for b.Loop() {
		c := all[r.IntN(million)]
		c.due = start.UnixNano() + r.Int64N(int64(90*day))
		d.Update(c)
	}
}

// BenchmarkUpdateAll fills a dispatcher: in one call, in one call with the latest due first, and in a million calls.
func BenchmarkUpdateAll(b *testing.B) {
	start := time.Now().Add(time.Hour)
	all := certificates(million, start)
	falling := certificates(million, start)
	for i, c := range falling {
		c.due = start.UnixNano() + int64(million-i)
	}
	for _, fill := range []struct {
		name string
		all  []*certificate
		one  bool
	}{{"at once", all, false}, {"at once, falling", falling, false}, {"each", all, true}} {
		b.Run(fill.name, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				for _, c := range fill.all {
					c.Place = Place{}
				}
				var d Dispatcher[*certificate]
				b.StartTimer()
				if !fill.one {
					d.Update(fill.all...)
					continue
				}
				for _, c := range fill.all {
					d.Update(c)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/task")
		})
	}
}

// BenchmarkDrain has a million tasks become ready at once, of one group and of a million, and run.
func BenchmarkDrain(b *testing.B) {
	for _, groups := range []int{1, 1000, million} {
		for _, when := range []struct {
			name string
			due  time.Duration
		}{{"overdue", -100 * day}, {"waiting", 0}} {
			b.Run(strconv.Itoa(groups)+" groups, "+when.name, func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					all := certificates(groups, time.Now().Add(time.Hour))
					var d Dispatcher[*certificate]
					ctx, cancel := context.WithCancel(b.Context())
					var left atomic.Int64
					left.Store(million)
					d.Do = func(_ context.Context, c *certificate) {
						c.done = true
						if left.Add(-1) == 0 {
							cancel()
						}
					}
					if when.due == 0 {
						d.Update(all...)
						d.agenda.waiting.bringForward(100 * day)
					} else {
						for _, c := range all {
							c.due = 0
						}
					}
					b.StartTimer()
					if when.due != 0 {
						d.Update(all...)
					}
					d.Run(ctx)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/million, "ns/task")
			})
		}
	}
}

// BenchmarkMemory measures what a million tasks take beside themselves.
func BenchmarkMemory(b *testing.B) {
	for _, state := range []struct {
		name   string
		groups int
		after  time.Duration
	}{{"waiting", million, time.Hour}, {"ready in 1 group", 1, -100 * day}, {"ready in 1000000 groups", million, -100 * day}} {
		b.Run(state.name, func(b *testing.B) {
			var bytes float64
			for b.Loop() {
				all := certificates(state.groups, time.Now().Add(state.after))
				var d Dispatcher[*certificate]
				before := heapInUse()
				d.Update(all...)
				bytes = heapInUse() - before
				runtime.KeepAlive(&d)
				runtime.KeepAlive(all)
			}
			b.ReportMetric(bytes/million, "B/task")
		})
	}
}

func heapInUse() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}
