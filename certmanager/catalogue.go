package certmanager

import (
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/everseal/everseal/certmanager/internal/index"
)

// A catalogue leads from names to entries. What an entry serves changes without it. The zero value is empty.
type catalogue struct {
	index index.Index[*entry]

	waiting atomic.Int32 // len(heirs), for those who would not lock mu for nothing

	mu    sync.Mutex        // held while names are added and removed; an entry's lock and the index's are taken under it
	heirs map[string]*entry // to names that an entry wanted on demand serves until they have a certificate
}

// lookup returns the entry for a name that a client asks for, by the name itself or the wildcard that covers it, or nil.
func (c *catalogue) lookup(name string) *entry {
	e, _ := c.index.Lookup(name)
	return e
}

// covering returns the entry for the name, or that of the wildcard that covers it, or nil: one that is configured before
// one that serves until that has a certificate.
func (c *catalogue) covering(name string) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.heirs[name]; e != nil {
		return e
	}
	return c.lookup(name)
}

// serving returns the entry whose certificates handshakes for the name get, or nil.
func (c *catalogue) serving(name string) *entry {
	e := c.lookup(name)
	if e == nil || familyOf(e).ready() != nil {
		return e
	}
	// What is still to come for the name itself does not hide the wildcard that covers it.
	_, parent, _ := strings.Cut(name, ".")
	if wildcard := c.lookup("*." + parent); familyOf(wildcard).ready() != nil {
		return wildcard
	}
	return nil
}

// add puts the subjects that are new under management, all or none, and returns their entries.
func (c *catalogue) add(subjects []subject) ([]*entry, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	names := make(map[string]*entry, len(subjects))
	added := make([]*entry, 0, len(subjects))
	var configured []*entry
	for i := range subjects {
		s := &subjects[i]
		known, err := c.known(s, names)
		if err != nil {
			return nil, err
		}
		if known != nil {
			configured = append(configured, known)
			continue
		}
		e := newEntry(*s, managed)
		added = slices.AppendSeq(added, familyOf(e).all())
		for _, id := range s.identifiers {
			names[id.Value] = e
		}
	}
	for _, e := range configured {
		familyOf(e).unset(onDemand)
	}
	for name, e := range names {
		if holder := c.holder(name); holder != nil {
			// A certificate obtained on demand is served, and renewed without asking for leave, until the configured one comes.
			familyOf(holder).unset(onDemand)
			if c.heirs == nil {
				c.heirs = make(map[string]*entry)
			}
			c.heirs[name] = e
			delete(names, name)
		}
	}
	c.countHeirs()
	c.index.PutMap(names)
	return added, nil
}

// known returns the entry of the subject, or nil. A name may be in one certificate only, but one that a client wanted
// gives way to one that is configured. The caller holds c.mu.
func (c *catalogue) known(s *subject, added map[string]*entry) (*entry, error) {
	for _, id := range s.identifiers {
		other := added[id.Value]
		if other == nil {
			other = c.heirs[id.Value]
		}
		if other == nil {
			other = c.holder(id.Value)
		}
		switch {
		case other == nil:
		case other.equals(s):
			return other, nil
		case !other.roles.has(onDemand):
			return nil, fmt.Errorf("certmanager: %s is a name of two certificates, that of %v and that of %v: name it once, with all kinds of key", id.Value, other, s)
		}
	}
	return nil, nil
}

// holder returns the entry that has the name itself, or nil.
func (c *catalogue) holder(name string) *entry {
	if e := c.lookup(name); e != nil && e.has(name) {
		return e
	}
	return nil
}

// adopt puts an entry that handshakes waited for under management, and reports whether it did: its name may have come
// to be configured meanwhile.
func (c *catalogue) adopt(e *entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := e.identifiers[0].Value
	if e.roles.has(forgotten) || c.heirs[name] != nil || c.holder(name) != nil {
		return false
	}
	for a := range familyOf(e).all() {
		a.roles.set(managed | onDemand)
	}
	c.index.Put(name, e)
	return true
}

// inherit gives the names that an entry is heir to over to it, now that it or an alternative has a certificate, and returns
// the entries that had them.
func (c *catalogue) inherit(e *entry) []*entry {
	if c.waiting.Load() == 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.countHeirs()
	var former []*entry
	for _, id := range e.identifiers {
		heir := c.heirs[id.Value]
		if !familyOf(heir).has(e) {
			continue
		}
		delete(c.heirs, id.Value)
		if holder := c.holder(id.Value); holder != nil {
			former = append(former, familyOf(holder).unset(managed)...)
		}
		c.index.Put(id.Value, heir)
	}
	return former
}

// evict ends the management of entries and their alternatives, and returns those that it ended for.
func (c *catalogue) evict(entries ...*entry) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.withAlternatives(entries)
	c.remove(all)
	return all
}

// withAlternatives returns the entries and all alternatives. The caller holds c.mu.
func (c *catalogue) withAlternatives(entries []*entry) []*entry {
	all := make([]*entry, 0, len(entries))
	for _, e := range entries {
		first := e
		for _, other := range []*entry{c.holder(e.identifiers[0].Value), c.heirs[e.identifiers[0].Value]} {
			if familyOf(other).has(e) {
				first = other
			}
		}
		all = slices.AppendSeq(all, familyOf(first).all())
	}
	return all
}

// remove ends the management of entries, among which are all alternatives. The caller holds c.mu.
func (c *catalogue) remove(entries []*entry) {
	defer c.countHeirs()
	for _, e := range entries {
		for _, id := range e.identifiers {
			if c.heirs[id.Value] == e {
				delete(c.heirs, id.Value)
			}
		}
	}
	var gone []string
	for _, e := range entries {
		for _, id := range e.identifiers {
			if c.holder(id.Value) != e {
				continue
			}
			if heir := c.heirs[id.Value]; heir != nil {
				delete(c.heirs, id.Value)
				c.index.Put(id.Value, heir)
				continue
			}
			gone = append(gone, id.Value)
		}
		e.roles.unset(managed)
	}
	c.index.DeleteAll(gone)
}

// countHeirs is called when heirs has changed. The caller holds c.mu.
func (c *catalogue) countHeirs() { c.waiting.Store(int32(len(c.heirs))) }

// all returns the entries, in no particular order.
func (c *catalogue) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for name, e := range c.index.All() {
			if name != e.identifiers[0].Value {
				continue
			}
			for a := range familyOf(e).all() {
				if !yield(a) {
					return
				}
			}
		}
		c.mu.Lock()
		heirs := make([]*entry, 0, len(c.heirs))
		for name, e := range c.heirs {
			if name == e.identifiers[0].Value {
				heirs = slices.AppendSeq(heirs, familyOf(e).all())
			}
		}
		c.mu.Unlock()
		for _, e := range heirs {
			if !yield(e) {
				return
			}
		}
	}
}
