package dispatch

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestHangingTasks has a thousand tasks that hang beside ten good ones.
func TestHangingTasks(t *testing.T) {
	for _, test := range []struct {
		group       string
		urgency     Urgency // the hanging ones'
		good        string
		goodUrgency Urgency
	}{
		{"each", 5, "good", 5},
		{"each", 0, "good", 9},
		{"one", 5, "good", 5},
		{"one", 0, "each", 9},
	} {
		t.Run(fmt.Sprint(test), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk()
				d.run(t)
				start := time.Now()
				d.Update(jobs(500, test.group, test.urgency, hang)...)
				good := jobs(10, test.good, test.goodUrgency, func(context.Context) { time.Sleep(time.Second) })
				d.Update(good...)
				d.Update(jobs(500, test.group, test.urgency, hang)...)
				time.Sleep(time.Minute)
				checkBegun(t, good, start, time.Minute)
				later := jobs(10, test.good, test.goodUrgency, nil)
				d.Update(later...)
				checkBegun(t, later, time.Now(), 0)
			})
		})
	}
}

// TestSlowTasks counts how much room those that hang leave.
func TestSlowTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers, d.Patience = 4, time.Minute
		d.Update(jobs(100, "each", 5, hang)...)
		stop := d.run(t)
		running := 4
		for range 12 {
			synctest.Wait()
			if s := d.Stats(); s.Running != running || s.Ready[5] != 100-running {
				t.Errorf("%+v, want %d running", s, running)
			}
			time.Sleep(time.Minute - time.Microsecond)
			synctest.Wait()
			if s := d.Stats(); s.Running != running {
				t.Errorf("%+v, want %d running until a minute has passed", s, running)
			}
			time.Sleep(time.Microsecond)
			running = min(running+4, 9*4)
		}
		if s := d.Stats(); s.Slow != 36 {
			t.Errorf("%+v, want all of them slow", s)
		}
		stop()
		if s := d.Stats(); s.Running != 0 || s.Slow != 0 || s.Ready[5] != 64 {
			t.Errorf("%+v, want none at work after Run", s)
		}
	})
}

// TestSlowTaskEnds has tasks end that no longer count: nothing starts in their stead, as nothing was held up by them.
func TestSlowTaskEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 4
		end := make(chan struct{})
		d.Update(jobs(4, "each", 5, func(context.Context) { <-end })...)
		d.run(t)
		time.Sleep(time.Minute)
		d.Update(jobs(10, "each", 5, hang)...)
		synctest.Wait()
		close(end)
		synctest.Wait()
		if s := d.Stats(); s.Running != 4 || s.Slow != 0 {
			t.Errorf("%+v, want four running", s)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := d.Stats(); s.Running != 8 || s.Slow != 4 {
			t.Errorf("%+v, want eight running, four of them slow", s)
		}
	})
}

// TestSuccessorOfSlowTask has all that is at work be slow, so that Run waits for none of it, when one of them ends and its
// goroutine begins another.
func TestSuccessorOfSlowTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 1
		end := make(chan struct{})
		d.Update(jobs(9, "each", 5, func(context.Context) { <-end })...)
		d.run(t)
		time.Sleep(95 * time.Second) // all nine are slow
		d.Update(jobs(2, "each", 6, hang)...)
		synctest.Wait()
		if s := d.Stats(); s.Running != 9 || s.Slow != 9 {
			t.Errorf("%+v, want nine slow ones", s)
		}
		close(end)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := d.Stats(); s.Running != 2 || s.Slow != 1 {
			t.Errorf("%+v, want two running, one of them slow", s)
		}
	})
}

// TestShareOfOneGroup has a group hang that has more tasks than there is room, and goes first.
func TestShareOfOneGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 8
		end := make(chan struct{})
		d.Update(jobs(30, "hangs", 0, func(context.Context) { <-end })...)
		d.Update(jobs(70, "hangs", 1, func(context.Context) { <-end })...)
		d.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if s := d.Stats(); s.Running != 54 || s.Ready[0] != 0 || s.Ready[1] != 46 {
			t.Errorf("%+v, want 54 running, three quarters of nine times eight", s)
		}
		others := jobs(100, "other", 9, nil)
		d.Update(others...)
		checkBegun(t, others, time.Now(), 0)
		close(end)
		synctest.Wait()
		_, most := d.working("hangs")
		if s := d.Stats(); s.Running != 0 || len(s.Ready) != 0 || most != 54 {
			t.Errorf("%+v, at most %d at work; want all of them to have run", s, most)
		}
	})
}

// TestReserve has all room taken for good.
func TestReserve(t *testing.T) {
	for _, test := range []struct{ workers, reserve int }{{1, 4}, {16, 4}, {40, 10}} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk()
			d.Workers, d.Urgent = test.workers, 2
			d.Update(jobs(1000, "each", 2, hang)...)
			d.run(t)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			all := 9 * test.workers
			if s := d.Stats(); s.Running != all {
				t.Errorf("%+v, want %d running", s, all)
			}
			urgent := jobs(20, "each", 1, func(context.Context) { time.Sleep(time.Second) })
			start := time.Now()
			d.Update(urgent...)
			synctest.Wait()
			if s := d.Stats(); s.Running != all+test.reserve || s.Ready[1] != 20-test.reserve {
				t.Errorf("%+v, want %d running", s, all+test.reserve)
			}
			time.Sleep(10 * time.Second)
			checkBegun(t, urgent, start, 10*time.Second)
			d.Update(jobs(1, "not urgent", 2, nil)...)
			synctest.Wait()
			if s := d.Stats(); s.Running != all {
				t.Errorf("%+v, want %d running", s, all)
			}
		})
	}
}

// TestMoreUrgentMoves has a task get the reserve by an Update while it is ready.
func TestMoreUrgentMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers, d.Urgent = 1, 1
		d.Update(jobs(20, "each", 1, hang)...)
		j := jobs(1, "j", 1, nil)
		d.Update(j...)
		d.run(t)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		d.Update(j[0].at(time.Now(), 0))
		checkBegun(t, j, time.Now(), 0)
	})
}

// TestFairness has a small group come after a large one: it gets the next workers.
func TestFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk()
		d.Workers = 10
		second := func(context.Context) { time.Sleep(time.Second) }
		large, small, smaller := jobs(1000, "large", 5, second), jobs(20, "small", 5, second), jobs(2, "smaller", 5, second)
		d.Update(large...)
		d.run(t)
		time.Sleep(10*time.Second + 1)
		start := time.Now()
		d.Update(small...)
		d.Update(smaller...)
		time.Sleep(time.Second)
		checkBegun(t, smaller, start, time.Second)
		ofSmall, _ := d.working("small")
		ofLarge, _ := d.working("large")
		if ofSmall != 4 || ofLarge != 4 {
			t.Errorf("%d and %d of the larger groups are at work, want four of each", ofSmall, ofLarge)
		}
		time.Sleep(3 * time.Second) // 4+5+5+5
		checkBegun(t, small[:19], start, 4*time.Second)
		if s := d.Stats(); s.Running != 10 {
			t.Errorf("%+v, want ten running", s)
		}
	})
}
