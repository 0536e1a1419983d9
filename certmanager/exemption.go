package certmanager

import (
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
)

// An exemption is that of a name and a type of challenge from being checked: the CA validates it though it seems wrong
// from here.
type exemption struct{ name, challengeType string }

func exemptionOf(p acme.Proof) exemption { return exemption{orderedName(p), p.Type} }

func (s exemption) String() string { return s.challengeType + " for " + s.name }

// maxExemptions bounds those that are remembered, some hundred bytes each. The oldest is forgotten for one more: it
// is warned of again.
const maxExemptions = 10_000

// If several names, one after another, do not show in time, it is for want of a way back from here: the others are checked
// again after a while.
const (
	maxSlowNames = 3
	slowPeriod   = time.Hour
)

// exemptions are those that are known. The zero value has none.
type exemptions struct {
	mu    sync.Mutex
	known map[exemption]bool // guarded by mu
	order []exemption        // as they came, from next on; guarded by mu
	next  int                // of order, to be forgotten next; guarded by mu

	slow map[string]slowness // by type of challenge; guarded by mu
}

// slowness is how many names in succession did not show in time, and since when.
type slowness struct {
	names int
	last  time.Time
}

func (b *exemptions) has(s exemption) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	slow := b.slow[s.challengeType]
	return b.known[s] || slow.names >= maxSlowNames && time.Since(slow.last) < slowPeriod
}

// sawInTime notes that a check of a type of challenge came to an end.
func (b *exemptions) sawInTime(challengeType string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.slow, challengeType)
}

// add adds an exemption; slow says that the answer did not show in time.
func (b *exemptions) add(s exemption, slow bool) {
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
		b.known = make(map[exemption]bool)
	}
	b.known[s] = true
	if len(b.order) < maxExemptions {
		b.order = append(b.order, s)
		return
	}
	delete(b.known, b.order[b.next])
	b.order[b.next] = s
	b.next = (b.next + 1) % maxExemptions
}
