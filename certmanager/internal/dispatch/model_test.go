package dispatch

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A model is what a dispatcher does, found without heaps or lists, by looking at all tasks each time.
type model struct {
	tasks   []*modelled
	workers int
	urgent  Urgency
	count   int // numbers what becomes ready, and what joins a queue
}

type modelled struct {
	*job
	end     chan struct{} // has its work return
	state   state
	due     time.Time
	urgency Urgency
	joined  int // its queue
	ready   int
	since   time.Time
	begun   time.Time
}

func (m *model) update(t *modelled, now time.Time) {
	due, urgency, planned := t.Plan()
	was := t.state
	switch {
	case was == running || was == leaving:
		t.state = running
	case !planned:
		t.state = idle
	case due.After(now):
		t.state, t.due, t.urgency = waiting, due, urgency
	case was != ready:
		m.makeReady(t, urgency, now)
	case t.urgency != urgency:
		m.count++
		t.urgency, t.joined = urgency, m.count
	}
}

func (m *model) makeReady(t *modelled, urgency Urgency, now time.Time) {
	m.count++
	t.state, t.urgency, t.since, t.ready, t.joined = ready, urgency, now, m.count, m.count
}

func (m *model) remove(t *modelled) {
	if t.state == running || t.state == leaving {
		t.state = leaving
	} else {
		t.state = idle
	}
}

func (m *model) finish(t *modelled, now time.Time) {
	again := t.state == running
	t.state = idle
	if again {
		m.update(t, now)
	}
}

// sleep lets time pass, until all that happens by then has happened.
func (m *model) sleep(from, until time.Time) {
	for now := from; ; {
		for _, t := range slices.SortedFunc(slices.Values(m.tasks), func(a, b *modelled) int { return a.due.Compare(b.due) }) {
			if t.state == waiting && !t.due.After(now) {
				m.makeReady(t, t.urgency, now)
			}
		}
		for m.start(now) {
		}
		next := until.Add(1)
		for _, t := range m.tasks {
			if t.state == waiting && t.due.Before(next) {
				next = t.due
			}
			if slow := t.begun.Add(defaultPatience); m.atWork(t) && slow.After(now) && slow.Before(next) {
				next = slow
			}
		}
		if next.After(until) {
			return
		}
		now = next
	}
}

func (m *model) atWork(t *modelled) bool { return t.state == running || t.state == leaving }

// running counts the tasks at work of one group, or of all, and those that are slow.
func (m *model) running(group string, now time.Time) (all, slow int) {
	for _, t := range m.tasks {
		if m.atWork(t) && (group == "" || t.group == group) {
			all++
			if now.Sub(t.begun) >= defaultPatience {
				slow++
			}
		}
	}
	return all, slow
}

// start starts one task, if there is any to be started.
func (m *model) start(now time.Time) bool {
	heads := make(map[string]*modelled)
	for _, t := range m.tasks {
		if of, _ := m.running(t.group, now); t.state != ready || of >= m.workers*27/4 {
			continue
		}
		queue := fmt.Sprint(t.group, t.urgency)
		if head := heads[queue]; head == nil || t.joined < head.joined {
			heads[queue] = t
		}
	}
	if len(heads) == 0 {
		return false
	}
	first := slices.MinFunc(slices.Collect(maps.Values(heads)), func(a, b *modelled) int {
		ofA, _ := m.running(a.group, now)
		ofB, _ := m.running(b.group, now)
		return cmp.Or(cmp.Compare(a.urgency, b.urgency), cmp.Compare(ofA, ofB), cmp.Compare(a.ready, b.ready))
	})
	all, slow := m.running("", now)
	room := m.workers
	if first.urgency < m.urgent {
		room += max(4, room/4)
	}
	if all-min(slow, 8*m.workers) >= room {
		return false
	}
	first.state, first.begun = running, now
	return true
}

// check compares the model to the dispatcher.
func (m *model) check(t *testing.T, d *Dispatcher[*job]) {
	t.Helper()
	now := time.Now()
	var want Stats
	byUrgency := make(map[Urgency]int)
	groups := make(map[string]bool)
	oldest := now
	d.mu.Lock()
	for i, task := range m.tasks {
		if task.Place.state != task.state {
			t.Errorf("task %d has state %d, want %d", i, task.Place.state, task.state)
		}
		switch task.state {
		case waiting:
			want.Waiting++
			if want.NextDue.IsZero() || task.due.Before(want.NextDue) {
				want.NextDue = task.due
			}
		case ready:
			byUrgency[task.urgency]++
			if task.since.Before(oldest) {
				oldest = task.since
			}
		}
		if task.state == ready || m.atWork(task) {
			groups[task.group] = true
		}
	}
	held := &d.agenda.ready
	for i, q := range held.heads.queues {
		if int(q.position) != i || i > 0 && held.heads.queues.Less(i, (i-1)/2) {
			t.Errorf("the heads are in disorder at %d", i)
		}
	}
	if len(held.groups.byName) != len(groups) || int(held.entries.used) > 1+len(m.tasks) {
		t.Errorf("%d groups, want %d; %d entries", len(held.groups.byName), len(groups), held.entries.used)
	}
	d.mu.Unlock()
	want.Running, want.Slow = m.running("", now)
	got := d.Stats()
	if got.Waiting != want.Waiting || got.Running != want.Running || got.Slow != want.Slow || !got.NextDue.Equal(want.NextDue) ||
		!maps.Equal(got.Ready, byUrgency) || (got.Oldest-now.Sub(oldest)).Abs() > time.Microsecond {
		t.Errorf("%+v, want %+v, ready %v, the oldest since %v", got, want, byUrgency, now.Sub(oldest))
	}
}

// replan gives a task another plan at random. No two have the same due time in the future, so that it is certain which is
// ready first.
func (t *modelled) replan(r *rand.Rand, now time.Time, number int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.job.due = now.Add(time.Duration(r.IntN(40)-20)*time.Second + time.Duration(number)*time.Microsecond)
	t.job.urgency = Urgency(r.IntN(4))
	t.planned = r.IntN(10) > 0
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			ends := make(map[*job]chan struct{})
			m := &model{workers: 1 + r.IntN(3), urgent: Urgency(r.IntN(3))}
			for i := range 60 {
				j := &job{group: fmt.Sprint(min(i%7, 3))}
				ends[j] = make(chan struct{})
				m.tasks = append(m.tasks, &modelled{job: j, end: ends[j]})
			}
			d := &Dispatcher[*job]{Workers: m.workers, Urgent: m.urgent, Do: func(_ context.Context, j *job) { <-ends[j] }}
			ctx, cancel := context.WithCancel(t.Context())
			go d.Run(ctx)
			for range 1000 {
				m.step(r, d)
				synctest.Wait()
				m.check(t, d)
				if t.Failed() {
					break
				}
			}
			cancel()
			for _, task := range m.tasks {
				close(task.end)
			}
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// step does something at random to the dispatcher and the model.
func (m *model) step(r *rand.Rand, d *Dispatcher[*job]) {
	number := r.IntN(len(m.tasks))
	t, now := m.tasks[number], time.Now()
	switch r.IntN(12) {
	case 0, 1, 2:
		t.replan(r, now, number)
		d.Update(t.job)
		m.update(t, now)
	case 3:
		var several []*job
		for i, t := range m.tasks[number:] {
			t.replan(r, now, number+i)
			several = append(several, t.job)
			m.update(t, now)
		}
		d.Update(several...)
	case 4:
		t.replan(r, now, number) // nobody is told
	case 5:
		d.Remove(t.job)
		m.remove(t)
	case 6, 7, 8, 9:
		if m.atWork(t) {
			t.end <- struct{}{}
			m.finish(t, now)
		}
	case 10:
		if r.IntN(10) == 0 {
			m.setBack(d, time.Hour)
		}
	case 11:
		sleep := time.Duration(1+r.IntN(5000)) * time.Millisecond
		time.Sleep(sleep)
		m.sleep(now, now.Add(sleep))
		return
	}
	m.sleep(now, now)
}

// setBack has it look as if the wall clock had been set back.
func (m *model) setBack(d *Dispatcher[*job], by time.Duration) {
	d.mu.Lock()
	d.clock.wall = d.clock.wall.Add(by)
	d.mu.Unlock()
	d.Update()
	for _, t := range m.tasks {
		if t.state == waiting {
			t.due = t.due.Add(-by)
		}
	}
}
