package certmanager

import (
	"fmt"
	"slices"
)

// A locked is the catalogue for who holds its lock.
type locked struct{ *catalogue }

// known returns the entry of the subject, or nil. A name may be in one certificate only, but one that a client wanted
// gives way to one that is configured.
func (c locked) known(s *subject, added map[string]*front) (*entry, error) {
	for _, id := range s.identifiers {
		var other *entry
		if f := added[id.Value]; f != nil {
			other = f.entry
		}
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
func (c locked) holder(name string) *entry {
	if e := c.lookup(name); e != nil && e.has(name) {
		return e
	}
	return nil
}

// withAlternatives returns the entries and all alternatives.
func (c locked) withAlternatives(entries []*entry) []*entry {
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

// remove ends the management of entries, among which are all alternatives.
func (c locked) remove(entries []*entry) {
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
				c.index.Put(id.Value, heir.front)
				continue
			}
			gone = append(gone, id.Value)
		}
		e.roles.unset(managed)
	}
	c.index.DeleteAll(gone)
}

// countHeirs is called when heirs has changed.
func (c locked) countHeirs() { c.waiting.Store(int32(len(c.heirs))) }
