package certmanager

import (
	"context"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

const (
	besideReadings     = 64          // of stored revocations at once
	besideRevocations  = 16          // that CAs are asked for at once: there may be many stored
	revocationInterval = time.Minute // between tries to list those that are stored
)

// Pursuits are the revocations that Run pursues, as is stored and as callers want: each once, whoever wants it.
type pursuits struct {
	wishes   chan wish     // from callers to Run
	reading  chan struct{} // has room for those that are read
	revoking chan struct{} // has room for those that CAs are asked for

	mu    sync.Mutex // guards what follows, and who waits for each; no other lock is taken under it
	byKey map[string]*pursuit
}

// A wish is to have pursued what is stored.
type wish struct {
	key  string       // in the storage
	done chan<- error // is sent what came of the next try; has room for it; nil: nobody waits
}

func newPursuits() pursuits {
	return pursuits{
		wishes:  make(chan wish),
		reading: make(chan struct{}, besideReadings), revoking: make(chan struct{}, besideRevocations),
		byKey: make(map[string]*pursuit),
	}
}

// servePursuits pursues what is stored, and what callers store, until ctx ends.
func (m *Manager) servePursuits(ctx context.Context, tasks *sync.WaitGroup) {
	begin := func(w wish) {
		if p, isNew := m.pursuits.join(w); isNew {
			tasks.Go(func() { m.pursue(ctx, p) })
		}
	}
	tasks.Go(func() {
		for ctx.Err() == nil && !m.resumePursuits(ctx, begin) {
			_ = pause(ctx, revocationInterval)
		}
	})
	for {
		select {
		case w := <-m.pursuits.wishes:
			begin(w)
		case <-ctx.Done():
			return
		}
	}
}

// resumePursuits begins with what is stored, and reports whether the storage has told all of it.
func (m *Manager) resumePursuits(ctx context.Context, begin func(wish)) bool {
	for key, err := range m.store.List(ctx, record.RevocationPrefix) {
		if err != nil {
			return false
		}
		begin(wish{key: key})
	}
	return true
}

// join returns the pursuit that a wish is for, and whether it is to begin. A caller is for its next try, which is now.
func (all *pursuits) join(w wish) (p *pursuit, isNew bool) {
	all.mu.Lock()
	defer all.mu.Unlock()
	p = all.byKey[w.key]
	if isNew = p == nil; isNew {
		p = &pursuit{key: w.key, wanted: make(chan struct{}, 1)}
		all.byKey[w.key] = p
	}
	if w.done != nil {
		p.waiting = append(p.waiting, w.done)
		note(p.wanted)
	}
	return p, isNew
}

// callers returns those that wait for the try that begins.
func (all *pursuits) callers(p *pursuit) []chan<- error {
	all.mu.Lock()
	defer all.mu.Unlock()
	callers := p.waiting
	p.waiting = nil
	select {
	case <-p.wanted:
	default:
	}
	return callers
}

// leave ends a pursuit that is done, or that Run leaves undone as it is stored, and reports whether it has: a caller may have
// come meanwhile whom Run can still serve.
func (all *pursuits) leave(p *pursuit, runEnds bool) bool {
	all.mu.Lock()
	defer all.mu.Unlock()
	if len(p.waiting) > 0 && !runEnds {
		return false
	}
	delete(all.byKey, p.key)
	return true
}
