package certmanager

import (
	"encoding/hex"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// An evicted is what memory has of a certificate that is in the storage alone.
type evicted struct {
	facts
	serial [20]byte // at most as long (RFC 5280 §4.1.2.2)
	length uint8    // of serial
}

// newEvicted returns what remains of what is served.
func newEvicted(s *served) *evicted {
	v := &evicted{facts: s.facts}
	serial, _ := hex.DecodeString(s.serial()) // which is hexadecimal
	v.length = uint8(copy(v.serial[:], serial))
	return v
}

// evict takes the certificate out of memory, and reports whether it is. What the storage does not have, or the task under
// way needs, stays.
func (e *entry) evict() bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	s := e.served.Load()
	if s == nil {
		return true
	}
	if m := e.progress.matter; m != nil && m.working || e.roles.has(unkept|pinned|wanted) {
		return false
	}
	e.evicted.Store(newEvicted(s))
	e.served.Store(nil)
	return true
}

// isEvicted reports whether the storage alone has the certificate.
func (e *entry) isEvicted() bool { return e.served.Load() == nil && e.evicted.Load() != nil }

// held returns what is known of the certificate there is, or nil.
func (e *entry) held() *facts {
	if s := e.served.Load(); s != nil {
		return &s.facts
	}
	if v := e.evicted.Load(); v != nil {
		return &v.facts
	}
	if s := e.served.Load(); s != nil { // which has just come back
		return &s.facts
	}
	return nil
}

// serial returns the serial number of the certificate there is in hexadecimal, or "".
func (e *entry) serial() string {
	if s := e.served.Load(); s != nil {
		return s.serial()
	}
	if v := e.evicted.Load(); v != nil {
		return hex.EncodeToString(v.serial[:v.length])
	}
	return ""
}

// publish has handshakes served with r. The caller holds the progress's lock.
func (e *entry) publish(r *record.Certificate) {
	e.served.Store(newServed(r))
	e.evicted.Store(nil)
}

// lose is for an evicted certificate that the storage does not have any more: it is to be loaded, or obtained, anew. It
// reports whether it was evicted.
func (e *entry) lose() bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	if !e.isEvicted() {
		return false
	}
	e.evicted.Store(nil)
	e.progress.state.Lose()
	return true
}
