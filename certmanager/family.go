package certmanager

import (
	"crypto/tls"
	"iter"
	"time"
)

// A family are the entries of one subject: the first, and its alternatives with other kinds of key. The zero value is empty.
type family struct{ first *entry }

// familyOf returns the entries of which one is the first, which may be nil.
func familyOf(first *entry) family { return family{first} }

// all returns the entries, in the order of preference.
func (f family) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for e := f.first; e != nil; e = e.alternative {
			if !yield(e) {
				return
			}
		}
	}
}

// has reports whether an entry is of the family.
func (f family) has(other *entry) bool {
	for a := range f.all() {
		if a == other {
			return true
		}
	}
	return false
}

// ofKind returns the entry with the kind of key, or nil.
func (f family) ofKind(keyType string) *entry {
	for a := range f.all() {
		if string(a.keyType()) == keyType {
			return a
		}
	}
	return nil
}

// unset takes a role from all, which it returns.
func (f family) unset(r role) (all []*entry) {
	for a := range f.all() {
		a.roles.unset(r)
		all = append(all, a)
	}
	return all
}

// choose returns the first that has a certificate that the client understands, or nil. One that has expired is chosen for
// want of another.
func (f family) choose(hello *tls.ClientHelloInfo) *entry {
	var expired *entry
	for a := f.first; a != nil; a = a.alternative {
		switch {
		case a.held() == nil || !f.isUnderstood(a, hello):
		case !a.roles.has(late) || time.Now().Before(a.end()):
			return a
		case expired == nil:
			expired = a
		}
	}
	return expired
}

// isUnderstood reports whether the client understands the alternative's kind of key. An only one is served to all clients.
func (f family) isUnderstood(a *entry, hello *tls.ClientHelloInfo) bool {
	return f.first.alternative == nil || a.algorithm.understoodBy(hello)
}

// ready returns the first alternative that has a certificate, or nil.
func (f family) ready() *entry {
	for a := f.first; a != nil; a = a.alternative {
		if a.held() != nil {
			return a
		}
	}
	return nil
}

// certificate returns what is in memory of the first alternative that has something there, or nil.
func (f family) certificate() *tls.Certificate {
	for a := f.first; a != nil; a = a.alternative {
		if s := a.served.Load(); s != nil {
			return &s.Certificate
		}
	}
	return nil
}

// unloadedFor returns the first alternative that would be served to the client if the storage had something for it, of which
// that is not known yet; nil: there is none.
func (f family) unloadedFor(hello *tls.ClientHelloInfo) *entry {
	for a := range f.all() {
		if !a.progress.isLoaded() && f.isUnderstood(a, hello) {
			return a
		}
	}
	return nil
}

// lacking returns the first alternative of which there is no certificate, or an expired one; nil: of all there is one.
func (f family) lacking() *entry {
	for a := range f.all() {
		if !time.Now().Before(a.end()) {
			return a
		}
	}
	return nil
}
