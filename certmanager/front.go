package certmanager

import "crypto/tls"

// A front is what a handshake reads of an entry, in few bytes apart from it: those of a million entries lie close together, and
// what is read of them is found sooner.
type front struct {
	holding
	roles     roles
	algorithm algorithm // of the key
	entry     *entry
}

// certificateFor returns what the client is to be served with, of the first kind of key that it understands, if that is in
// memory and there is nothing else to be thought of; nil: there is, or there is no entry.
func (f *front) certificateFor(hello *tls.ClientHelloInfo) *tls.Certificate {
	switch {
	case f == nil:
		return nil
	case !f.roles.has(choosing):
		return f.usual()
	case f.algorithm.understoodBy(hello):
		if c := f.usual(); c != nil {
			return c
		}
	}
	if e := familyOf(f.entry).choose(hello); e != nil {
		return e.usual()
	}
	return nil
}

// usual returns the certificate if handshakes are served with it without more ado, or nil.
func (f *front) usual() *tls.Certificate {
	if !f.roles.areUsual() {
		return nil
	}
	if s := f.served.Load(); s != nil {
		return &s.Certificate
	}
	return nil
}
