package certmanager

import "encoding/hex"

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
