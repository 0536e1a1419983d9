package certmanager_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/dispatch"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/schedule"
	"github.com/everseal/everseal/certmanager/internal/tally"
	"github.com/everseal/everseal/storage"
)

// A bareManager is what decides when which of a great many certificates is renewed, and nothing else of a Manager: lifecycle,
// dispatcher and budget. What it obtains are times.
type bareManager struct {
	dispatcher dispatch.Dispatcher[*bareName]
	budget     *tally.Tally
	ca         bareCA
	stop       func()
}

// A bareCA is a CA that says when it wants certificates replaced, and counts orders as Let's Encrypt does.
type bareCA struct {
	limit     budget.Limit  // of new orders; of those that replace what it wants replaced there is none (RFC 9773 §5)
	work      time.Duration // that an order takes at most
	retry     time.Duration // after which it is asked again about a certificate
	pulled    acme.Window   // in which the certificates that are pulled forward are to be replaced
	issued    perHour
	questions perHour

	mu       sync.Mutex
	full     time.Time // when the bucket of orders is full again; guarded by mu
	excesses int       // orders beyond the limit; guarded by mu
}

// A bareName is a certificate of a bareManager.
type bareName struct {
	dispatch.Place
	group int32
	kind  bareKind

	mu       sync.Mutex // guards what follows
	state    lifecycle.State
	last     schedule.Span // of the certificate that there is
	renewed  int32         // how often
	late     time.Duration // the longest that a renewal came after it was due
	deferred time.Time     // until when it waits for the budget; zero: it does not
}

// A bareKind is what is special about a name.
type bareKind uint8

const (
	usual    bareKind = iota
	pulled            // its certificate is pulled forward
	imported          // its first certificate is not the CA's own, so that an order costs what a new one does
	counted           // all its orders do
)

// A perHour counts what happens within each hour, and within the fullest second.
type perHour struct {
	mu     sync.Mutex
	began  time.Time
	hours  []int
	second int64
	within int
	peak   int // within a second
}

func (p *perHour) add(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.began.IsZero() {
		p.began = now
	}
	for hour := int(now.Sub(p.began) / time.Hour); hour >= len(p.hours); {
		p.hours = append(p.hours, 0)
	}
	p.hours[len(p.hours)-1]++
	if second := now.Unix(); second != p.second {
		p.second, p.within = second, 0
	}
	p.within++
	p.peak = max(p.peak, p.within)
}

// from returns how many there were from an hour on, and those of the fullest of the hours.
func (p *perHour) from(hour int) (sum, peak int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.hours[min(hour, len(p.hours)):] {
		sum, peak = sum+n, max(peak, n)
	}
	return sum, peak
}

// order makes an order, and reports whether the CA has counted it beyond its limit.
func (c *bareCA) order(exempt bool) {
	now := time.Now()
	if !exempt {
		c.mu.Lock()
		if c.full = c.full.Add(c.limit.Interval()); c.full.Before(now.Add(c.limit.Interval())) {
			c.full = now.Add(c.limit.Interval())
		}
		if c.full.Sub(now) > c.limit.Per {
			c.excesses++
		}
		c.mu.Unlock()
	}
	c.issued.add(now)
	if c.work > 0 {
		time.Sleep(rand.N(c.work))
	}
}

// window returns when the CA wants a certificate replaced.
func (c *bareCA) window(n *bareName) schedule.Span {
	if n.kind == pulled && n.renewed == 0 {
		return schedule.Span(c.pulled)
	}
	third := n.last.End.Add(-yearLifetime / 3)
	return schedule.Span{Start: third.Add(-day), End: third.Add(day)}
}

func newBareManager(t *testing.T, limit budget.Limit) *bareManager {
	m := &bareManager{ca: bareCA{limit: limit, retry: day}, budget: (&tally.Book{Store: new(storage.Memory)}).Tally("budgets/ca/default/orders", limit)}
	m.dispatcher.Do, m.dispatcher.Urgent = m.do, dispatch.Urgency(lifecycle.Loading)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		m.dispatcher.Run(ctx)
		close(ended)
	}()
	m.stop = func() { cancel(); <-ended }
	return m
}

func (n *bareName) Plan() (due time.Time, urgency dispatch.Urgency, planned bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := n.state.Plan(time.Now())
	return p.Due, dispatch.Urgency(p.Urgency), true
}

func (n *bareName) Group() string { return strconv.Itoa(int(n.group)) }

// do does what is due for a name.
func (m *bareManager) do(ctx context.Context, n *bareName) {
	n.mu.Lock()
	task := n.state.Begin(time.Now())
	n.mu.Unlock()
	result := lifecycle.Result{Kind: lifecycle.Polled}
	if task.Action == lifecycle.Poll {
		m.poll(n)
	} else {
		result = m.obtain(ctx, n)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Finish(result, time.Now(), rand.Float64())
}

// poll asks when to renew.
func (m *bareManager) poll(n *bareName) {
	now := time.Now()
	m.ca.questions.add(now)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.state.Move(schedule.Suggested(m.ca.window(n), n.last, n.state.Renewal(), rand.Float64()))
	n.state.PollAt(now.Add(m.ca.retry + rand.N(m.ca.retry/16)))
}

// obtain obtains a certificate, as soon as the budget has an order for it.
func (m *bareManager) obtain(ctx context.Context, n *bareName) lifecycle.Result {
	n.mu.Lock()
	due, has, left := n.state.Renewal(), !n.last.End.IsZero(), time.Until(n.last.End)
	exempt := has && n.kind != counted && (n.kind != imported || n.renewed > 0)
	w := tally.Waiter{Class: budget.New, Waited: !n.deferred.IsZero()}
	n.mu.Unlock()
	switch {
	case has && left < yearLifetime/10:
		w.Class = budget.Urgent
	case has:
		w.Class = budget.Early
	}
	if !exempt {
		if err := m.pay(ctx, w); err != nil {
			until, _ := m.budget.Slot(w, time.Now())
			n.mu.Lock()
			defer n.mu.Unlock()
			n.deferred = until
			return lifecycle.Result{Kind: lifecycle.Deferred, Until: until}
		}
	}
	began := time.Now()
	m.ca.order(exempt)
	n.mu.Lock()
	defer n.mu.Unlock()
	if has {
		n.renewed++
		n.late = max(n.late, began.Sub(due))
	}
	n.serve(time.Now())
	n.state.PollAt(time.Now().Add(schedule.FirstPoll(0, rand.Float64())))
	return lifecycle.Result{Kind: lifecycle.Obtained}
}

// errWaits is why an order is not to be made at the moment.
var errWaits = errors.New("others wait")

// pay takes an order from the budget.
func (m *bareManager) pay(ctx context.Context, w tally.Waiter) error {
	if now := time.Now(); m.budget.Next(w, now).After(now) {
		return errWaits
	}
	return m.budget.Take(ctx, w.Class)
}

// serve has a certificate that is good from a time on. The caller holds n.mu.
func (n *bareName) serve(begin time.Time) {
	n.last = schedule.Span{Start: begin, End: begin.Add(yearLifetime)}
	n.deferred = time.Time{}
	n.state.Serve(begin, n.last.End, schedule.Renewal(begin, n.last.End, rand.Float64()))
}

// bareNames returns so many names of domains with fifty each, which the storage was asked for.
func bareNames(n int) []*bareName {
	all := make([]*bareName, n)
	some := make([]bareName, n)
	for i := range all {
		all[i] = &some[i]
		all[i].group = int32(i / 50)
		all[i].state.Finish(lifecycle.Result{Kind: lifecycle.Loaded}, time.Time{}, 0)
	}
	return all
}
