package certmanager

import (
	"sync"
	"sync/atomic"
)

// Residents are the entries whose certificates are in memory, of which Config.MaxLoaded bounds the number. One that no
// handshake has asked for since the hand came by last is evicted; what is asked for gets a second chance. The zero value,
// with most set, is ready for use.
type residents struct {
	most    int         // zero: there is no bound, and nothing is kept here
	failing atomic.Bool // the storage could not be read lately: what is evicted would be lost to handshakes

	mu   sync.Mutex // guards what follows; only entries' locks are taken under it
	ring []*entry
	hand int // of ring, where to look next
}

// maxSteps bounds the entries that are looked at for one that is added, so that the bound may be passed by a few.
const maxSteps = 256

// add is for an entry whose certificate has come into memory, or may have.
func (r *residents) add(e *entry) {
	if r.most == 0 || e.served.Load() == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !e.roles.has(resident) {
		e.roles.set(resident)
		r.ring = append(r.ring, e)
	}
	for steps := 0; steps < maxSteps && len(r.ring) > r.most && !r.failing.Load(); steps++ {
		r.step()
	}
}

// step looks at one entry. The caller holds r.mu.
func (r *residents) step() {
	if r.hand >= len(r.ring) {
		r.hand = 0
	}
	e := r.ring[r.hand]
	switch managed := e.roles.has(managed); {
	case managed && e.roles.has(used):
		e.roles.unset(used)
		r.hand++
	case managed && !e.evict():
		r.hand++
	default:
		last := len(r.ring) - 1
		r.ring[r.hand], r.ring[last] = r.ring[last], nil
		r.ring = r.ring[:last]
		e.roles.unset(resident)
	}
}

// keep is for an entry whose certificate was read or obtained for another reason than a handshake. If it was evicted before,
// and no handshake has asked for it meanwhile, it is again.
func (r *residents) keep(e *entry, wasEvicted bool) {
	if !wasEvicted || r.failing.Load() || e.roles.has(used) || !e.evict() {
		r.add(e)
	}
}

// read notes whether the storage could be read.
func (r *residents) read(err error) { r.failing.Store(err != nil) }
