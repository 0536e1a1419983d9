package certmanager

import "crypto/tls"

// A front is what a handshake reads of an entry, in few bytes apart from it: those of a million entries lie close together, and
// what is read of them is found sooner.
type front struct {
	holding
	roles roles
	entry *entry
}

// certificateFor returns what the client is to be served with, of the first kind of key that it understands, if that is in
// memory and there is nothing else to be thought of; nil: there is, or there is no entry.
func (f *front) certificateFor(hello *tls.ClientHelloInfo) *tls.Certificate {
	if f != nil && f.roles.has(choosing) {
		e := familyOf(f.entry).choose(hello)
		if e == nil {
			return nil
		}
		f = e.front
	}
	if f == nil || !f.roles.areUsual() {
		return nil
	}
	if s := f.served.Load(); s != nil {
		return &s.Certificate
	}
	return nil
}
