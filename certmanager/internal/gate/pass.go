package gate

import "time"

// A Pass is an attempt that was let in. Its methods are safe for concurrent use.
type Pass struct {
	gate   *Gate
	number uint64
	done   bool // guarded by gate.mu
}

// An Outcome is what an attempt shows of the issuer, whatever it was for the attempt.
type Outcome int

// The outcomes.
const (
	Unknown Outcome = iota // nothing: the attempt was broken off, or failed for what is not the issuer's
	Answer                 // it works: it has issued, or refused this attempt alone
	Outage                 // it could not be reached, or failed itself
	Refusal                // it refuses all attempts alike
)

// A Result is how an attempt ended.
type Result struct {
	Outcome    Outcome
	Err        error         // with Outage and Refusal
	RetryAfter time.Duration // with Outage and Refusal: the wait that the issuer asks for; zero: it does not
	Limit      bool          // with Outage and Refusal: it is a limit on how often the issuer may be asked
	Spread     float64       // with Refusal: in [0,1), chooses the wait (see schedule.RefusalBackoff)
}

// Answered tells that the issuer has shown that it works, though the attempt is not done. It may be called any
// number of times; after Done it does nothing.
func (p *Pass) Answered() {
	p.gate.mu.Lock()
	defer p.gate.mu.Unlock()
	if !p.done {
		p.gate.answer(p)
	}
}

// Done tells how the attempt ended. Only the first call counts.
func (p *Pass) Done(now time.Time, r Result) {
	g := p.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if p.done {
		return
	}
	p.done = true
	g.out--
	switch r.Outcome {
	case Answer:
		g.answer(p)
	case Outage:
		g.fail(now, p, r)
	case Refusal:
		g.refuse(now, p, r)
	}
}
