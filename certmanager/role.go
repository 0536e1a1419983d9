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
	unstored                   // what is served is not known to be stored
	claiming                   // it has claims to leases, which are to be withdrawn
	used                       // by a handshake, lately
	late                       // its renewal is due: what is served may have expired
	resident                   // among the residents
	pinned                     // not to be evicted at the moment
	gone                       // its name leads elsewhere: it is not renewed until a handshake asks for it
	recalled                   // a handshake has asked for it, though it was gone
	surveyed                   // on demand, and due, though this process was not asked for it
	seen                       // its record, by the comparison with the storage that is under way
	polling                    // this process asks the issuer when to renew what is served, or is the first to
	heeding                    // another process does, as far as is known
	choosing                   // it has alternatives, among which the client's hello decides
	alternate                  // of another entry, by which alone the catalogue leads to it
	starting                   // it is to be loaded since Run has begun, and was not yet
)

// roles are those of an entry. Managed, onDemand and forgotten change under the catalogue's lock; all are read without.
type roles struct{ bits atomic.Uint32 }

// has reports whether the entry is any of those.
func (r *roles) has(some role) bool { return r.bits.Load()&uint32(some) != 0 }

// areUsual reports whether handshakes are served without more ado.
func (r *roles) areUsual() bool { return r.bits.Load()&uint32(used|late|gone) == uint32(used) }

// set writes only if that changes something, for many handshakes read it at once.
func (r *roles) set(some role) {
	if r.bits.Load()&uint32(some) != uint32(some) {
		r.bits.Or(uint32(some))
	}
}

// put sets or unsets.
func (r *roles) put(some role, is bool) {
	if is {
		r.set(some)
	} else {
		r.unset(some)
	}
}

// take unsets one, and reports whether it was set: of several who take it, one is told so.
func (r *roles) take(one role) bool {
	return r.has(one) && r.bits.And(^uint32(one))&uint32(one) != 0
}

func (r *roles) unset(some role) {
	if r.has(some) {
		r.bits.And(^uint32(some))
	}
}
