package dispatch

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const day = 24 * time.Hour

// A job is a task that is planned from outside, and not planned once it has begun.
type job struct {
	Place
	name, group string
	work        func(ctx context.Context) // after it was noted; may be nil

	mu      sync.Mutex
	due     time.Time
	urgency Urgency
	planned bool
	begun   []time.Time // when it was run
}

func (j *job) Plan() (time.Time, Urgency, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.due, j.urgency, j.planned
}

func (j *job) Group() string { return j.group }

// at plans the job.
func (j *job) at(due time.Time, urgency Urgency) *job {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.due, j.urgency, j.planned = due, urgency, true
	return j
}

// A desk is a dispatcher of jobs, and what it did.
type desk struct {
	Dispatcher[*job]
	mu     sync.Mutex
	begun  []string // names, in order
	atWork map[string]int
	most   map[string]int // at work at once, by group
}

func newDesk() *desk {
	d := &desk{atWork: make(map[string]int), most: make(map[string]int)}
	d.Do = func(ctx context.Context, j *job) {
		j.mu.Lock()
		j.planned = false
		j.begun = append(j.begun, time.Now())
		j.mu.Unlock()
		d.count(j, 1)
		defer d.count(j, -1)
		if j.work != nil {
			j.work(ctx)
		}
	}
	return d
}

func (d *desk) count(j *job, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if by > 0 {
		d.begun = append(d.begun, j.name)
	}
	d.atWork[j.group] += by
	d.most[j.group] = max(d.most[j.group], d.atWork[j.group])
}

// working returns how many jobs of a group are at work, and were at most.
func (d *desk) working(group string) (now, most int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.atWork[group], d.most[group]
}

// run has the dispatcher run until the test ends, or the function that it returns is called.
func (d *desk) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		d.Run(ctx)
		close(done)
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return stop
}

// expect checks which jobs have begun, in order.
func (d *desk) expect(t *testing.T, names ...string) {
	t.Helper()
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.Equal(d.begun, names) {
		t.Errorf("begun: %q, want %q", d.begun, names)
	}
}

// hang is work that does not end before its context does.
func hang(ctx context.Context) { <-ctx.Done() }

// jobs makes n jobs that are due at once. The group "each" is one for each job.
func jobs(n int, group string, urgency Urgency, work func(ctx context.Context)) []*job {
	all := make([]*job, n)
	for i := range all {
		g := group
		if group == "each" {
			g = fmt.Sprint("each ", i)
		}
		all[i] = &job{name: fmt.Sprint(g, i), group: g, work: work, urgency: urgency, planned: true}
	}
	return all
}

// checkBegun checks that all jobs were run, within a time.
func checkBegun(t *testing.T, all []*job, since time.Time, within time.Duration) {
	t.Helper()
	synctest.Wait()
	for _, j := range all {
		j.mu.Lock()
		begun := j.begun
		j.mu.Unlock()
		if len(begun) != 1 || begun[0].Sub(since) > within {
			t.Errorf("%s begun at %v, want once within %v of %v", j.name, begun, within, since)
			return
		}
	}
}
