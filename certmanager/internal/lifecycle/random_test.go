package lifecycle_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A course is a random one: a state, and what is known to have happened to it.
type course struct {
	t     *testing.T
	r     *rand.Rand
	state lifecycle.State
	now   time.Time

	loaded   bool
	served   int       // certificates so far
	begin    time.Time // of the last, as what follows
	expiry   time.Time
	renewal  time.Time
	held     bool      // until a time
	until    time.Time // zero: it is of the state's choosing
	failures int
	since    time.Time       // when the first of them was
	failed   time.Time       // when the last was
	stage    lifecycle.Stage // told last
	awaited  int
	callers  []int // what each wants replaced: how many were served when it came
	fresh    bool  // one came after the last task had begun
	queued   bool
	poll     time.Time // when the next is due; zero: none is
}

func TestRandomCourses(t *testing.T) {
	for seed := range uint64(1000) {
		c := &course{t: t, r: rand.New(rand.NewPCG(seed, 1)), now: begun}
		for range 60 {
			c.pass()
			c.check()
			c.happen()
			c.check()
			if c.r.IntN(2) == 0 {
				c.task()
				c.check()
			}
			if t.Failed() {
				t.Fatalf("with seed %d", seed)
			}
		}
		c.recover()
		if t.Failed() {
			t.Fatalf("with seed %d, in the end", seed)
		}
	}
}

// pass lets time pass, or has the clock set.
func (c *course) pass() {
	switch c.r.IntN(8) {
	case 0:
		c.now = c.now.Add(time.Duration(c.r.Int64N(int64(200 * day))))
	case 1:
		c.now = begun.AddDate(c.r.IntN(9000)-1000, 0, 0)
	case 2:
		c.now = begun
	case 3, 4:
		if due := c.state.Plan(c.now).Due; due.After(c.now) && due.Year() > 1677 && due.Year() < 2262 {
			c.now = due
		}
	default:
		c.now = c.now.Add(time.Duration(c.r.Int64N(int64(time.Minute))))
	}
}

// happen has something happen besides tasks, or nothing.
func (c *course) happen() {
	switch c.r.IntN(12) {
	case 0, 1, 2:
		c.state.Command()
		c.callers, c.fresh = append(c.callers, c.served), true
	case 6:
		c.state.Queue()
		c.queued = !c.loaded || c.served > 0
	case 7:
		if c.served > 0 {
			c.poll = c.now.Add(time.Duration(c.r.Int64N(int64(50 * day))))
			c.state.PollAt(c.poll)
		}
	case 8:
		if c.served > 0 {
			c.renewal = c.renewal.Add(time.Duration(c.r.Int64N(int64(20*day))) - 10*day)
			c.state.Move(c.renewal)
		}
	case 3:
		c.state.Await(1)
		c.awaited++
	case 4, 5:
		if c.awaited > 0 {
			c.state.Await(-1)
			c.awaited--
		}
	}
}

// task has the state's task done, with random things happening meanwhile, unless it is the end of the process.
func (c *course) task() {
	if c.r.IntN(20) == 0 {
		c.state.Unload()
		c.loaded, c.held = false, false
	}
	polls := c.polls()
	task := c.state.Begin(c.now)
	c.fresh = false
	if polls != (task.Action == lifecycle.Poll) {
		c.t.Errorf("%+v in the course %+v", task, c)
	}
	last := -1
	if n := len(c.callers); n > 0 {
		last = c.callers[n-1]
	}
	if task.Queued != c.queued || task.Commanded != (last >= 0) || task.Forced != (last == c.served) {
		c.t.Errorf("%+v with %d served and callers %v", task, c.served, c.callers)
	}
	c.happen()
	kind := lifecycle.Loaded
	if task.Action == lifecycle.Poll {
		kind = lifecycle.Polled
	} else if c.loaded {
		kind = []lifecycle.Kind{lifecycle.Obtained, lifecycle.Current, lifecycle.Deferred, lifecycle.Failed, lifecycle.Failed}[c.r.IntN(5)]
	} else if c.r.IntN(4) == 0 {
		kind = lifecycle.Failed
	}
	if kind == lifecycle.Obtained || c.r.IntN(4) == 0 {
		c.serve()
	}
	c.happen()
	var until time.Time
	if kind == lifecycle.Deferred || c.r.IntN(2) == 0 {
		until = c.now.AddDate(0, 0, c.r.IntN(100)-10)
	}
	if c.r.IntN(10) == 0 {
		until = begun.AddDate(c.r.IntN(9000)-1000, 0, 0)
	}
	c.end(kind, until)
}

func (c *course) serve() {
	end := c.now.Add(time.Duration(1 + c.r.Int64N(int64(100*day))))
	if c.r.IntN(10) == 0 {
		end = begun.AddDate(c.r.IntN(7900)-2000, 0, 0)
	}
	c.renewal = end.AddDate(0, 0, -c.r.IntN(40))
	c.begin, c.expiry = c.now, end
	c.state.Serve(c.begin, c.expiry, c.renewal)
	c.served++
	c.stage, c.poll = 0, time.Time{}
	c.queued = c.queued && !c.loaded
}

// polls reports whether the next thing is a poll.
func (c *course) polls() bool {
	idle := c.loaded && c.served > 0 && c.failures == 0 && !c.held && len(c.callers) == 0 && !c.queued && c.awaited == 0
	renewal := within(c.renewal)
	return idle && !c.poll.IsZero() && within(c.poll).Before(renewal) && within(c.now).Before(renewal)
}

// end has the task end, and compares what the state reports with what is known.
func (c *course) end(kind lifecycle.Kind, until time.Time) {
	report := c.state.Finish(lifecycle.Result{Kind: kind, Until: until}, c.now, c.r.Float64())
	answered := false
	switch kind {
	case lifecycle.Loaded:
		c.loaded, c.held, c.failures = true, false, 0
		c.queued = c.queued && c.served > 0
		for i := range c.callers {
			c.callers[i] = c.served
		}
	case lifecycle.Deferred:
		c.held, c.until = true, until
	case lifecycle.Polled:
		if least := within(c.now.Add(time.Second)); !c.poll.IsZero() && within(c.poll).Before(least) {
			c.poll = least
		}
	case lifecycle.Failed:
		if c.held, c.until = true, until; c.failures == 0 {
			c.since = c.now
		}
		c.failures++
		c.failed = c.now
		answered = c.loaded && len(c.callers) > 0
	default:
		c.held, c.failures, c.stage = false, 0, 0
		answered = len(c.callers) > 0 && c.callers[len(c.callers)-1] != c.served
	}
	if report.Answered != answered {
		c.t.Errorf("result %d with %d served: %+v to %v", kind, c.served, report, c.callers)
	}
	if answered {
		c.callers = nil
	}
	if kind != lifecycle.Failed && (report.Tell || report.Stage != 0) {
		c.t.Errorf("result %d is told: %+v", kind, report)
	}
	if kind == lifecycle.Failed {
		stage := c.stageNow()
		const farthest = math.MaxInt64 / int64(time.Second) // that a state keeps
		late := c.now.Unix() - max(-farthest, min(farthest, c.renewal.Unix()))
		lifetime := c.expiry.Unix() - c.begin.Unix()
		few := c.failures <= 3 || c.now.Unix()-c.since.Unix() < lifetime/1000
		early := stage == lifecycle.StageThird && few && late < lifetime/50
		if told := stage > c.stage && !early; (report.Stage == stage && stage != 0) != told || !report.Tell && (told || c.failures <= 3) {
			c.t.Errorf("failure %d, at stage %d after %d: %+v", c.failures, stage, c.stage, report)
		}
		if stage < c.stage || report.Stage != 0 {
			c.stage = stage
		}
	}
}

// stageNow returns the stage of what is served.
func (c *course) stageNow() lifecycle.Stage {
	left, lifetime := c.expiry.Unix()-c.now.Unix(), c.expiry.Unix()-c.begin.Unix()
	switch {
	case c.served == 0:
		return 0
	case left <= 0:
		return lifecycle.StageExpired
	case 10*left <= lifetime:
		return lifecycle.StageTenth
	case 3*left <= lifetime:
		return lifecycle.StageThird
	}
	return 0
}

// check compares the plan with what is known.
func (c *course) check() {
	c.t.Helper()
	p := c.state.Plan(c.now)
	if c.polls() {
		if p.Action != lifecycle.Poll || p.Urgency != lifecycle.Polling || !p.Due.Equal(within(c.poll)) {
			c.t.Errorf("%+v in the course %+v, want a poll at %v", p, c, c.poll)
		}
		p = c.state.Work(c.now)
	}
	action := lifecycle.Obtain
	switch {
	case !c.loaded:
		action = lifecycle.Load
	case c.failures > 0:
		action = lifecycle.Retry
	case c.served > 0:
		action = lifecycle.Renew
	}
	if p.Action != action || p.Urgency > lifecycle.Early || c.awaited > 0 != (p.Urgency == lifecycle.Handshake) {
		c.t.Errorf("%+v in the course %+v", p, c)
	}
	if n, since := c.state.Failures(); n != c.failures || n > 0 && since.Unix() != c.since.Unix() {
		c.t.Errorf("%d failures since %v, want %d since %v", n, since, c.failures, c.since)
	}
	due := c.now
	switch {
	case c.loaded && len(c.callers) > 0 && (c.fresh || !c.held), c.loaded && c.queued && !c.held:
	case c.held && c.until.IsZero():
		least, most := within(c.failed.Add(time.Second/2)), within(c.failed.Add(10*time.Minute))
		if p.Due.Before(least) || p.Due.After(most) {
			c.t.Errorf("due at %v after a failure at %v", p.Due, c.failed)
		}
		return
	case c.held:
		due = within(c.until)
	case c.loaded && c.served > 0:
		due = within(c.renewal)
	}
	if !p.Due.Equal(due) {
		c.t.Errorf("due at %v, want %v, in the course %+v", p.Due, due, c)
	}
}

// within returns the time, or the first or last one that 64 bits of nanoseconds tell.
func within(t time.Time) time.Time {
	first, last := time.Unix(0, -1<<63), time.Unix(0, 1<<63-1)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}

// recover has all go well from now on: nobody is left waiting, and what is due at last is a renewal.
func (c *course) recover() {
	c.poll = time.Time{}
	c.state.PollAt(c.poll)
	for n := range 4 {
		if due := c.state.Plan(c.now).Due; due.After(c.now) {
			c.now = due
		}
		if c.loaded && c.failures == 0 && !c.held && len(c.callers) == 0 && c.served > 0 && n > 0 {
			break
		}
		c.state.Begin(c.now)
		c.fresh = false
		kind := lifecycle.Loaded
		if c.loaded {
			kind = lifecycle.Obtained
			c.serve()
		}
		c.end(kind, time.Time{})
	}
	if len(c.callers) > 0 || c.state.Plan(c.now).Action != lifecycle.Renew {
		c.t.Errorf("callers %v are left, the plan is %+v", c.callers, c.state.Plan(c.now))
	}
}
