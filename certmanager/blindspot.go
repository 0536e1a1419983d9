package certmanager

import (
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
)

// A blindSpot is a name and a type of challenge that the CA validates though it looks wrong from here.
type blindSpot struct{ name, challengeType string }

func spotOf(p acme.Proof) blindSpot { return blindSpot{orderedName(p), p.Type} }

func (s blindSpot) String() string { return s.challengeType + " for " + s.name }

// maxBlindSpots bounds those that are remembered, some hundred bytes each. The oldest is forgotten for one more: it
// is warned of again.
const maxBlindSpots = 10_000

// Where looks at several names, one after another, see too little in time, it is for want of a way back from here: the
// others are looked at again after a while.
const (
	maxSlowNames = 3
	slowPeriod   = time.Hour
)

// blindSpots are those that are known. The zero value has none.
type blindSpots struct {
	mu    sync.Mutex
	known map[blindSpot]bool // guarded by mu
	order []blindSpot        // as they came, from next on; guarded by mu
	next  int                // of order, to be forgotten next; guarded by mu

	slow map[string]slowness // by type of challenge; guarded by mu
}

// slowness is how many names in succession were not seen in time, and since when.
type slowness struct {
	names int
	last  time.Time
}

func (b *blindSpots) has(s blindSpot) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	slow := b.slow[s.challengeType]
	return b.known[s] || slow.names >= maxSlowNames && time.Since(slow.last) < slowPeriod
}

// sawInTime notes that a look by a type of challenge came to an end.
func (b *blindSpots) sawInTime(challengeType string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.slow, challengeType)
}

// add adds a blind spot; slow says that it was not seen in time.
func (b *blindSpots) add(s blindSpot, slow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.known[s] {
		return
	}
	if slow {
		if b.slow == nil {
			b.slow = make(map[string]slowness)
		}
		b.slow[s.challengeType] = slowness{b.slow[s.challengeType].names + 1, time.Now()}
	}
	if b.known == nil {
		b.known = make(map[blindSpot]bool)
	}
	b.known[s] = true
	if len(b.order) < maxBlindSpots {
		b.order = append(b.order, s)
		return
	}
	delete(b.known, b.order[b.next])
	b.order[b.next] = s
	b.next = (b.next + 1) % maxBlindSpots
}
