package tally

import (
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/storage"
)

// maxTallies bounds the buckets that are remembered, some hundred bytes each. What is forgotten is read again.
const maxTallies = 10_000

// A Book has the tallies of one issuer.
type Book struct {
	Store storage.Store

	mu      sync.Mutex
	tallies map[string]*Tally // by key; guarded by mu
}

// Tally returns that of the bucket whose record is at the key.
func (b *Book) Tally(key string, limit budget.Limit) *Tally {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tallies[key]
	if t == nil {
		if b.tallies == nil {
			b.tallies = make(map[string]*Tally)
		}
		if len(b.tallies) >= maxTallies {
			b.forget(time.Now())
		}
		t = &Tally{limit: limit, ledger: ledger{store: b.Store, key: key, turn: make(chan struct{}, 1)}}
		b.tallies[key] = t
	}
	return t
}

// forget forgets tallies that tell nothing, or else those that nobody uses at the moment. The caller holds b.mu.
func (b *Book) forget(now time.Time) {
	for _, tells := range []func(*Tally, time.Time) bool{(*Tally).tells, (*Tally).isUsed} {
		for key, t := range b.tallies {
			if !tells(t, now) {
				delete(b.tallies, key)
			}
		}
		if len(b.tallies) < maxTallies/2 {
			return
		}
	}
}

// tells reports whether something is known of the bucket, or it is used.
func (t *Tally) tells(now time.Time) bool {
	return t.asked.some() || t.ledger.last().Full.After(now)
}

// isUsed reports whether somebody waits for the bucket's record.
func (t *Tally) isUsed(time.Time) bool { return t.asked.some() }
