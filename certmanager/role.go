package certmanager

import "sync/atomic"

// A role is something that an entry is.
type role uint32

const (
	managed   role = 1 << iota // in the catalogue
	onDemand                   // a client wanted it, and nobody configured it
	wanted                     // by handshakes that wait, though not managed
	lapsed                     // wanted in vain: its work is to be deleted
	forgotten                  // by Forget: what an attempt under way comes to is not served, and no other follows
	unkept                     // what is served is not known to be stored
	claiming                   // it has claims to leases, which are to be withdrawn
)

// roles are those of an entry. They change under the catalogue's lock, but for wanted, unkept and claiming, and are read without.
type roles struct{ bits atomic.Uint32 }

// has reports whether the entry is any of those.
func (r *roles) has(some role) bool { return r.bits.Load()&uint32(some) != 0 }

func (r *roles) set(some role) { r.bits.Or(uint32(some)) }

func (r *roles) unset(some role) { r.bits.And(^uint32(some)) }
