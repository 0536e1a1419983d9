package certmanager

import (
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/everseal/everseal/certmanager/internal/index"
)

// A catalogue leads from names to entries. What an entry serves changes without it. The zero value is empty.
type catalogue struct {
	index index.Index[*front]

	waiting atomic.Int32 // len(heirs), for those who would not lock mu for nothing

	mu    sync.Mutex        // held while names are added and removed; an entry's lock and the index's are taken under it
	heirs map[string]*entry // to names that an entry wanted on demand serves until they have a certificate
}

// lookup returns the entry for a name that a client asks for, by the name itself or the wildcard that covers it, or nil.
func (c *catalogue) lookup(name string) *entry {
	if f := c.front(name); f != nil {
		return f.entry
	}
	return nil
}

// front is lookup for what a handshake reads first.
func (c *catalogue) front(name string) *front {
	f, _ := c.index.Lookup(name)
	return f
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
	in := locked{c}
	names := make(map[string]*front, len(subjects))
	added := make([]*entry, 0, len(subjects))
	var configured []*entry
	for i := range subjects {
		s := &subjects[i]
		known, err := in.known(s, names)
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
			names[id.Value] = e.front
		}
	}
	for _, e := range configured {
		familyOf(e).unset(onDemand)
	}
	for name, f := range names {
		if holder := in.holder(name); holder != nil {
			// A certificate obtained on demand is served, and renewed without asking for leave, until the configured one comes.
			familyOf(holder).unset(onDemand)
			if c.heirs == nil {
				c.heirs = make(map[string]*entry)
			}
			c.heirs[name] = f.entry
			delete(names, name)
		}
	}
	in.countHeirs()
	c.index.PutMap(names)
	return added, nil
}

// adopt puts an entry that handshakes waited for under management, and reports whether it did: its name may have come
// to be configured meanwhile.
func (c *catalogue) adopt(e *entry) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	name := e.identifiers[0].Value
	if e.roles.has(forgotten) || c.heirs[name] != nil || in.holder(name) != nil {
		return false
	}
	for a := range familyOf(e).all() {
		a.roles.set(managed | onDemand)
	}
	c.index.Put(name, e.front)
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
	in := locked{c}
	defer in.countHeirs()
	var former []*entry
	for _, id := range e.identifiers {
		heir := c.heirs[id.Value]
		if !familyOf(heir).has(e) {
			continue
		}
		delete(c.heirs, id.Value)
		if holder := in.holder(id.Value); holder != nil {
			former = append(former, familyOf(holder).unset(managed)...)
		}
		c.index.Put(id.Value, heir.front)
	}
	return former
}

// evict ends the management of entries and their alternatives, and returns those that it ended for.
func (c *catalogue) evict(entries ...*entry) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	all := in.withAlternatives(entries)
	in.remove(all)
	return all
}

// all returns the entries, in an order that differs from one manager to the next.
func (c *catalogue) all() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for name, f := range c.index.All() {
			e := f.entry
			if name != e.identifiers[0].Value {
				continue
			}
			for a := e; a != nil; a = a.alternative { // as its family's iterator does, which takes memory for each of a million
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
