package certmanager

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/schedule"
)

const (
	besidePolls       = 16                    // questions to one issuer at once, at most
	pollSpread        = 20 * time.Millisecond // that each certificate adds to the time over which many are asked about
	maxPollSpread     = 6 * time.Hour
	unsupportedPeriod = 24 * time.Hour // after which an issuer is asked again that tells nothing
)

// Polls are the questions to one issuer when to renew what it has signed. What fails for one of them is believed to fail for
// all: they wait, and one asks. The zero value is that of an issuer that was not asked yet.
type polls struct {
	mu       sync.Mutex // guards what follows
	out      int        // under way
	sound    bool       // the last that has ended was answered
	failures int        // in a row
	failed   time.Time  // when the last of them was
	until    time.Time  // before which none is made
	waiting  int        // that were turned away since the last answer

	pace time.Duration // from the end of one to that of the next, when there is no room for more
	slot time.Time     // of the last that was turned away for want of room
}

// open reports whether questions may be asked at the moment, or says when to try again.
func (p *polls) open(now time.Time) (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opens(now)
}

// enter lets a question be asked if there is room, after which leave is to be called, or says when to try again.
func (p *polls) enter(now time.Time, room int) (until time.Time, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until, ok := p.opens(now); !ok {
		return until, false
	}
	if !p.sound {
		room = 1
	}
	if p.out >= room {
		return p.nextSlot(now), false
	}
	p.out++
	return time.Time{}, true
}

// opens is open for who holds p.mu.
func (p *polls) opens(now time.Time) (until time.Time, ok bool) {
	if now.Before(p.until) && !now.Before(p.failed) { // unless the clock was set back
		return p.turnAway(p.until), false
	}
	return time.Time{}, true
}

// turnAway returns when one is to try again that is turned away until a time. The caller holds p.mu.
func (p *polls) turnAway(until time.Time) time.Time {
	p.waiting++
	return until.Add(spreadOf(p.waiting))
}

// nextSlot returns when one is to try again for which there is no room: as many come back as there is room for by then, for each
// reads the storage before. The caller holds p.mu.
func (p *polls) nextSlot(now time.Time) time.Time {
	if p.slot.Before(now) {
		p.slot = now
	}
	p.slot = p.slot.Add(max(p.pace*3/4, pollSpread)) // rather too early than that nobody comes
	if last := now.Add(maxPollSpread); p.slot.After(last) {
		p.slot = last
		return now.Add(rand.N(maxPollSpread))
	}
	return p.slot
}

// leave says that a question has ended that was let in at a time.
func (p *polls) leave(since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pace = (p.pace + time.Since(since)/time.Duration(p.out)) / 2
	p.out--
}

// answer notes that a question was answered.
func (p *polls) answer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sound, p.failures, p.waiting, p.until = true, 0, 0, time.Time{}
}

// fail notes that a question, asked at a time, was not, and returns when to ask again: not before the issuer's word, if it has
// one. Questions that were asked at once fail as one.
func (p *polls) fail(asked, now time.Time, wait time.Duration) (until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures > 0 && asked.Before(p.failed) {
		return p.until
	}
	p.failures++
	p.close(now, max(schedule.PollBackoff(p.failures, rand.Float64()), min(wait, maxPollInterval)))
	return p.until
}

// refuse notes that the issuer tells nobody when to renew, and returns when to ask again.
func (p *polls) refuse(now time.Time) (until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.close(now, unsupportedPeriod)
	return p.until
}

// close has no question asked for a while. The caller holds p.mu.
func (p *polls) close(now time.Time, wait time.Duration) {
	p.sound, p.failed, p.until = false, now, now.Add(wait)
}

// spreadOf returns a random time by which one of n certificates waits longer than another.
func spreadOf(n int) time.Duration {
	return rand.N(min(time.Duration(max(n, 1))*pollSpread, maxPollSpread))
}
