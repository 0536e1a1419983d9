package dispatch

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

func TestPlaceSize(t *testing.T) {
	if size := unsafe.Sizeof(Place{}); size != 8 {
		t.Errorf("a Place has %d bytes, want 8: there are a million of them", size)
	}
	if size := unsafe.Sizeof(dueHeap[*job]{{}}[0]); size != 16 {
		t.Errorf("a task that waits takes %d bytes beside its Place, want 16", size)
	}
}

// TestDueTimes has tasks come at their times.
func TestDueTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		start := time.Now()
		want := map[time.Duration]*job{}
		for _, after := range []time.Duration{90 * day, time.Second, 6 * day, 6*day + 1, 0} {
			j := (&job{name: after.String()}).at(start.Add(after), 3)
			want[after] = j
			d.Update(j)
		}
		past := []*job{(&job{}).at(start.Add(-day), 0), (&job{}).at(time.Time{}, 0), (&job{}).at(time.Unix(-1<<60, 0), 0)}
		never := (&job{}).at(time.Unix(1<<60, 0), 0)
		d.Update(append(past, never)...)
		d.run(t)
		time.Sleep(100 * day)
		synctest.Wait()
		checkBegun(t, past, start, 0)
		for after, j := range want {
			if len(j.begun) != 1 || !j.begun[0].Equal(start.Add(after)) {
				t.Errorf("due after %v, begun %v, want at that time", after, j.begun)
			}
		}
		if s := d.Stats(); s.Waiting != 1 || len(never.begun) > 0 || s.NextDue.Year() < 2200 {
			t.Errorf("%+v, want one that waits for ever", s)
		}
	})
}

// TestUpdateWhileRunSleeps changes what Run sleeps for. What only a wake-up can find is due within ten minutes of
// when it fell asleep, as it looks again then anyway.
func TestUpdateWhileRunSleeps(t *testing.T) {
	type desk3 struct {
		*desk
		a, b, c *job
		start   time.Time
	}
	at := func(d desk3, j *job, after time.Duration) { d.Update(j.at(d.start.Add(after), 0)) }
	tests := []struct {
		name   string
		change func(d desk3)
		first  string
		after  time.Duration
	}{
		{"nothing", func(desk3) {}, "a", 2 * time.Hour},
		{"earlier task", func(d desk3) { at(d, d.c, 5*time.Minute) }, "c", 5 * time.Minute},
		{"due task", func(d desk3) { at(d, d.c, 0) }, "c", time.Minute},
		{"later task", func(d desk3) { at(d, d.c, 5*time.Hour) }, "a", 2 * time.Hour},
		{"second moved to the front", func(d desk3) { at(d, d.b, 5*time.Minute) }, "b", 5 * time.Minute},
		{"first moved to earlier", func(d desk3) { at(d, d.a, 5*time.Minute) }, "a", 5 * time.Minute},
		{"first moved to later", func(d desk3) { at(d, d.a, 150*time.Minute) }, "a", 150 * time.Minute},
		{"first moved behind the second", func(d desk3) { at(d, d.a, 4*time.Hour) }, "b", 3 * time.Hour},
		{"first removed", func(d desk3) { d.Remove(d.a) }, "b", 3 * time.Hour},
		{"second removed", func(d desk3) { d.Remove(d.b) }, "a", 2 * time.Hour},
		{"unknown removed", func(d desk3) { d.Remove(d.c) }, "a", 2 * time.Hour},
		{"first not planned", func(d desk3) { d.a.planned = false; d.Update(d.a) }, "b", 3 * time.Hour},
		{"removed and back", func(d desk3) { d.Remove(d.a); d.Update(d.a) }, "a", 2 * time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				d := desk3{newDesk(), &job{name: "a"}, &job{name: "b"}, &job{name: "c"}, start}
				d.Update(d.a.at(start.Add(2*time.Hour), 0), d.b.at(start.Add(3*time.Hour), 0))
				d.run(t)
				time.Sleep(time.Minute)
				tt.change(d)
				if tt.after > time.Minute {
					time.Sleep(tt.after - time.Minute - time.Microsecond)
					d.expect(t)
					time.Sleep(time.Microsecond)
				}
				d.expect(t, tt.first)
			})
		})
	}
}

// TestOrder has one worker run what is ready.
func TestOrder(t *testing.T) {
	task := func(name, group string) *job { return &job{name: name, group: group} }
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 1
		now := time.Now()
		moved, back, gone, away := task("moved", "m"), task("back", "m"), task("gone", "m"), task("away", "m")
		d.Update(
			task("low", "x").at(now.Add(-9*day), 7),
			task("first", "x").at(now.Add(-time.Second), 5),
			task("second", "x").at(now.Add(-day), 5), // first come, whenever it was due
			moved.at(now, 200),
			back.at(now, 200),
			gone.at(now, 0),
			away.at(now, 0),
			task("most urgent", "x").at(now, 1),
			task("third", "y").at(now, 5),
		)
		d.Update(moved.at(now, 2), back.at(now.Add(time.Hour), 0))
		gone.planned = false
		d.Update(gone)
		d.Remove(away)
		d.run(t)
		d.expect(t, "most urgent", "moved", "first", "second", "third", "low")
		time.Sleep(time.Hour)
		d.expect(t, "most urgent", "moved", "first", "second", "third", "low", "back")
	})
}

// TestUrgencyAmongThoseDueAtOnce has tasks become due while the only worker is busy.
func TestUrgencyAmongThoseDueAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 1
		d.run(t)
		now := time.Now()
		d.Update((&job{name: "busy", work: func(context.Context) { time.Sleep(5 * time.Second) }}).at(now, 9))
		for i := range 5 {
			d.Update((&job{name: fmt.Sprint(9 - i)}).at(now.Add(time.Duration(i)*time.Second), Urgency(9-i)))
		}
		time.Sleep(4 * time.Second)
		d.expect(t, "busy")
		if s := d.Stats(); s.Running != 1 || len(s.Ready) != 5 || s.Oldest.Round(time.Millisecond) != 4*time.Second || !s.NextDue.IsZero() {
			t.Errorf("%+v, want one running, five ready, the oldest for four seconds", s)
		}
		time.Sleep(time.Second)
		d.expect(t, "busy", "5", "6", "7", "8", "9")
	})
}

// TestMany has more tasks than are planned, or become due, in one hold of the lock.
func TestMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		start := time.Now()
		all := jobs(10*portion+1, "each", 0, nil)
		for i, j := range all {
			j.due = start.Add(time.Hour)
			if i%2 == 0 {
				j.due = start
			}
		}
		d.Update(all...)
		d.run(t)
		synctest.Wait()
		if s := d.Stats(); s.Waiting != 5*portion || len(s.Ready)+s.Running > 0 {
			t.Errorf("%+v, want half of %d waiting, the others done", s, len(all))
		}
		time.Sleep(time.Hour)
		checkBegun(t, all, start, time.Hour)
		held := &d.agenda.ready
		if held.entries.used > 0 || len(held.entries.blocks) > 0 || len(held.groups.byName) > 0 || held.groups.most > 2*portion || cap(held.heads.queues) > portion {
			t.Errorf("%d entries, %d groups and room for %d heads are left", held.entries.used, len(held.groups.byName), cap(held.heads.queues))
		}
	})
}

func TestStats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 4
		now := time.Now()
		if s := d.Stats(); s.Waiting+len(s.Ready)+s.Running != 0 || !s.NextDue.IsZero() || s.Oldest != 0 {
			t.Errorf("%+v, want nothing", s)
		}
		d.Update(jobs(4, "each", 0, hang)...)
		d.Update((&job{}).at(now.Add(time.Hour), 0), (&job{}).at(now.Add(2*time.Hour), 0))
		d.run(t)
		time.Sleep(time.Second)
		d.Update(jobs(3, "each", 5, hang)...)
		d.Update(jobs(2, "each", 6, hang)...)
		time.Sleep(time.Second)
		synctest.Wait()
		s := d.Stats()
		if s.Waiting != 2 || s.Running != 4 || s.Slow != 0 || s.Ready[5] != 3 || s.Ready[6] != 2 || len(s.Ready) != 2 ||
			!s.NextDue.Equal(now.Add(time.Hour)) || s.Oldest.Round(time.Millisecond) != time.Second {
			t.Errorf("%+v", s)
		}
		time.Sleep(8 * time.Second)
		synctest.Wait()
		s = d.Stats()
		if s.Running != 8 || s.Slow != 4 || s.Ready[5] != 0 || s.Ready[6] != 1 || s.Oldest.Round(time.Millisecond) != 9*time.Second {
			t.Errorf("%+v", s)
		}
	})
}

// TestNothingRunsBetween has no goroutine but Run's, which looks at the clock every ten minutes.
func TestNothingRunsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.run(t)
		time.Sleep(time.Minute)
		before := runtime.NumGoroutine()
		for range 1000 {
			d.Update((&job{}).at(time.Now().Add(day), 0))
		}
		d.Update(jobs(1000, "each", 0, nil)...)
		synctest.Wait()
		start := time.Now()
		if after := runtime.NumGoroutine(); after > before+100 { // other tests' goroutines may be ending
			t.Errorf("%d goroutines, %d with a thousand tasks that wait and a thousand that have run", before, after)
		}
		time.Sleep(10 * time.Second) // until those that have run would have been slow
		for looks := range 100 {
			synctest.Wait()
			d.Dispatcher.mu.Lock()
			looked := d.clock.looked.Sub(start)
			d.Dispatcher.mu.Unlock()
			if want := 10*time.Second + time.Duration(looks)*10*time.Minute; looked != want {
				t.Fatalf("looked after %v, want %v", looked, want)
			}
			time.Sleep(10 * time.Minute)
		}
	})
}

func TestUpdateAllocatesNothing(t *testing.T) {
	d := newDesk()
	now := time.Now()
	for i := range 100 {
		d.Update((&job{}).at(now.Add(time.Hour+time.Duration(i)), 0))
	}
	j := (&job{}).at(now.Add(time.Minute), 0)
	i := 0
	if n := testing.AllocsPerRun(100, func() {
		i++
		d.Update(j.at(now.Add(time.Hour+time.Duration(i)), 0))
	}); n > 0 {
		t.Errorf("an Update makes %v allocations", n)
	}
}
