package certmanager

import (
	"bytes"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// A holding is the certificate that an entry has: in memory, or in the storage alone. It changes under the lock of the
// entry's progress, and is read without. The zero value is none.
type holding struct {
	evicted atomic.Pointer[evicted]
	served  atomic.Pointer[served] // nil: nothing yet, or evicted
}

// isEvicted reports whether the storage alone has the certificate.
func (h *holding) isEvicted() bool { return h.served.Load() == nil && h.evicted.Load() != nil }

// held returns what is known of the certificate there is, or nil.
func (h *holding) held() *facts {
	if s := h.served.Load(); s != nil {
		return &s.facts
	}
	if v := h.evicted.Load(); v != nil {
		return &v.facts
	}
	if s := h.served.Load(); s != nil { // which has just come back
		return &s.facts
	}
	return nil
}

// serial returns the serial number of the certificate there is in hexadecimal, or "".
func (h *holding) serial() string {
	if s := h.served.Load(); s != nil {
		return s.serial()
	}
	if v := h.evicted.Load(); v != nil {
		return hex.EncodeToString(v.serial[:v.length])
	}
	return ""
}

// publish has handshakes served with r. The caller holds the progress's lock.
func (h *holding) publish(r *record.Certificate) {
	h.served.Store(newServed(r))
	h.evicted.Store(nil)
}

// end returns when the certificate that is served ends; zero if there is none.
func (h *holding) end() time.Time {
	if f := h.held(); f != nil {
		return f.end()
	}
	return time.Time{}
}

// serves reports whether the certificate, in DER, is what is served.
func (h *holding) serves(der []byte) bool {
	if s := h.served.Load(); s != nil {
		return bytes.Equal(s.Certificate.Certificate[0], der)
	}
	serial := h.serial()
	return serial != "" && serial == serialOf(der)
}
