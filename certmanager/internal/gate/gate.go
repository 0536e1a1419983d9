package gate

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

const (
	maxFresh       = 8                // passes out at once in the first second, while nothing has answered
	freshPeriod    = time.Second      // after which twice as many may be out
	maxDoublings   = 20               // of maxFresh: more than anybody has attempts
	firstProbe     = 10 * time.Second // after an outage was seen: it may have been a moment's, as when a machine starts before its network
	probeInterval  = time.Minute      // between two passes while the gate is closed
	maxOutageWait  = time.Hour        // that an issuer out of order is believed to ask for, unless for a limit
	maxRefusalWait = 8 * 24 * time.Hour
)

// A Gate is before one issuer. The zero value is that of an issuer that has not been asked yet. It is safe for
// concurrent use and must not be copied.
type Gate struct {
	mu       sync.Mutex
	entered  uint64    // passes given out so far; each has its number. This and what follows are guarded by mu
	out      int       // passes not done
	busy     time.Time // since when some pass has been out
	answered uint64    // entered, when the issuer last answered; 0: it never did
	closing  *closing  // nil: open
	refusals int       // in a row
}

// A closing is a gate's being closed.
type closing struct {
	until   time.Time // when the next probe may enter
	least   time.Time // before this none may, however soon its certificate ends
	at      time.Time // when the gate was closed last
	limit   bool      // the issuer's word on when is to be obeyed whole
	since   time.Time // when the gate was closed for the first time since the last answer
	err     error     // why
	refusal bool      // the issuer refuses all, and is not out of order
	entered uint64    // Gate.entered when it was closed last
}

// A ClosedError says that an issuer is not to be asked at the moment. It wraps what the issuer failed with.
type ClosedError struct {
	Until time.Time // when to try again
	Since time.Time // when it began
	Err   error     // why; ErrUnanswered: nothing has failed yet
}

// Error says until when the issuer is not asked, and why.
func (e *ClosedError) Error() string {
	if e.Err == nil {
		return "the issuer is not asked at the moment"
	}
	return fmt.Sprintf("the issuer is not asked before %s: %v", e.Until.UTC().Format(time.RFC3339), e.Err)
}

// Unwrap returns why.
func (e *ClosedError) Unwrap() error { return e.Err }

// ErrUnanswered is why attempts are kept back while a fresh issuer has yet to answer.
var ErrUnanswered = errors.New("it has not answered yet, and enough others are asking it")

// Enter lets an attempt pass, which must call [Pass.Done] in the end, or returns a [*ClosedError]. The end is that of the
// certificate that the attempt is to replace; zero: there is none.
func (g *Gate) Enter(now, end time.Time) (*Pass, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.out == 0 {
		g.busy = now
	}
	if err := g.closed(now, end); err != nil {
		return nil, err
	}
	if c := g.closing; c != nil {
		c.least = now.Add(probeInterval)
		c.prolong(c.least)
	}
	g.entered++
	g.out++
	return &Pass{gate: g, number: g.entered}, nil
}

// Closed returns what Enter would at the moment, and lets nothing pass: nil, or a [*ClosedError].
func (g *Gate) Closed(now, end time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed(now, end)
}

// Probing reports whether the issuer has not answered since the gate closed.
func (g *Gate) Probing() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closing != nil
}

// Out returns how many passes are not done.
func (g *Gate) Out() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out
}

func (g *Gate) closed(now, end time.Time) error {
	switch c := g.closing; {
	case c != nil && now.Before(c.untilFor(end)):
		return &ClosedError{Until: c.untilFor(end), Since: c.since, Err: c.err}
	case c != nil || g.answered > 0 || g.out == 0:
		return nil
	}
	periods := max(0, min(maxDoublings, now.Sub(g.busy)/freshPeriod))
	if g.out < maxFresh<<periods {
		return nil
	}
	return &ClosedError{Until: g.busy.Add((periods + 1) * freshPeriod), Since: g.busy, Err: ErrUnanswered}
}

// untilFor returns when one may enter whose certificate ends at a time.
func (c *closing) untilFor(end time.Time) time.Time {
	left := end.Sub(c.at)
	if c.limit || left <= 0 {
		return c.until
	}
	half := c.at.Add(left / 2)
	if half.Before(c.least) {
		half = c.least
	}
	if half.Before(c.until) {
		return half
	}
	return c.until
}

// shut closes the gate for a while of its own choosing, or for longer if the issuer asks.
func (g *Gate) shut(now time.Time, own, asked time.Duration, why Result) {
	since := now
	if g.closing != nil {
		since = g.closing.since
	}
	g.closing = &closing{
		until: now.Add(max(own, asked)), least: now.Add(own), at: now, limit: why.Limit, since: since, err: why.Err,
		refusal: why.Outcome == Refusal, entered: g.entered,
	}
}

// refuse closes the gate for a refusal. That of several attempts at once is one.
func (g *Gate) refuse(now time.Time, p *Pass, r Result) {
	wait := min(r.RetryAfter, maxRefusalWait)
	if c := g.closing; c != nil && c.refusal && p.number <= c.entered {
		c.prolong(now.Add(wait))
		return
	}
	g.refusals++
	g.shut(now, schedule.RefusalBackoff(g.refusals, r.Spread), wait, r)
}

// fail closes the gate for an outage, if it is news.
func (g *Gate) fail(now time.Time, p *Pass, r Result) {
	if p.number <= g.answered {
		return
	}
	wait := min(r.RetryAfter, maxOutageWait)
	if r.Limit {
		wait = min(r.RetryAfter, maxRefusalWait)
	}
	if c := g.closing; c != nil && p.number <= c.entered {
		c.prolong(now.Add(wait))
		return
	}
	least := probeInterval
	if g.closing == nil {
		least = firstProbe
	}
	g.shut(now, least, wait, r)
}

func (c *closing) prolong(until time.Time) {
	if until.After(c.until) {
		c.until = until
	}
}

// answer notes that the issuer has answered the pass.
func (g *Gate) answer(p *Pass) {
	g.answered = g.entered
	if c := g.closing; c == nil || c.refusal && p.number <= c.entered {
		return
	}
	g.closing, g.refusals = nil, 0
}
