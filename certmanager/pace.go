package certmanager

import (
	"sync"
	"time"
)

// Pauses between two lines about what happens again and again.
const (
	minTellPause = time.Minute
	maxTellPause = 12 * time.Hour
)

// A pace thins what would be told again and again: it is told at once, then after a minute, two, four, and in the end
// twice a day. After half a day without, it is new again. The zero value has told nothing.
type pace struct {
	mu    sync.Mutex    // guards what follows
	pause time.Duration // before the next; zero: nothing was told
	told  time.Time     // the last one that was
	last  time.Time     // the last one
	kept  int           // back since
}

// tell reports whether something that has happened is to be told, and how often the like was kept back before.
func (p *pace) tell(now time.Time) (told bool, kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer func() { p.last = now }()
	if since := now.Sub(p.told); p.pause != 0 && since >= 0 && since < p.pause {
		p.kept++
		return false, 0
	}
	if now.Sub(p.last) >= maxTellPause {
		p.pause = 0
	}
	p.pause = min(max(2*p.pause, minTellPause), maxTellPause)
	kept, p.told, p.kept = p.kept, now, 0
	return true, kept
}

// tellEachMinute is tell for what is no failure that goes on: once a minute is not too often.
func (p *pace) tellEachMinute(now time.Time) (told bool, kept int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := now.Sub(p.told); p.pause != 0 && since >= 0 && since < minTellPause {
		p.kept++
		return false, 0
	}
	p.pause = minTellPause
	kept, p.told, p.kept = p.kept, now, 0
	return true, kept
}

// reset says that it is over.
func (p *pace) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pause, p.kept = 0, 0
}

// isTold reports whether it was told, and is not over.
func (p *pace) isTold() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pause != 0
}

// commonFailures are what fails for all certificates alike, and how often that is told. The zero value is ready for use.
type commonFailures struct {
	mu    sync.Mutex // guards what follows
	paces map[commonFailure]*pace
}

// A commonFailure is what fails, and of which issuer.
type commonFailure struct {
	reason Reason
	issuer string
}

// of returns the pace of what is told of a failure.
func (f *commonFailures) of(reason Reason, issuer string) *pace {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch reason {
	case ReasonIssuer, reasonTimes, reasonPolls, reasonRescheduled:
	default:
		issuer = ""
	}
	key := commonFailure{reason, issuer}
	if f.paces == nil {
		f.paces = make(map[commonFailure]*pace)
	}
	p := f.paces[key]
	if p == nil {
		p = new(pace)
		f.paces[key] = p
	}
	return p
}
