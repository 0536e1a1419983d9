package certmanager

import (
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
)

// errForgotten is why work on a certificate has ended.
var errForgotten = errors.New("it was forgotten meanwhile")

// Forget ends the management of the certificates that have one of the names, and serving them: all names of such a
// certificate go with it, and a wildcard goes by its own name alone. Once it has returned, handshakes for them are
// answered as those for any name that is not managed: unrecognized_name, or with Config.OnDemand set the question
// again. An attempt under way is ended, and what it comes to all the same is stored but not served. Nothing is deleted,
// see [Manager.Delete]; [Manager.Manage] manages the names again.
//
// Any number of names can be given. One that is not managed is no error; if one is malformed, nothing is forgotten.
// Other processes, and this one when it is started again, go by their own Config.
func (m *Manager) Forget(names ...string) error {
	if m.store == nil {
		return errNotMade
	}
	normal, err := normalizeAll(names)
	if err != nil {
		return err
	}
	m.forget(normal)
	return nil
}

// normalizeAll returns the names as the catalogue has them.
func normalizeAll(names []string) ([]string, error) {
	normal := make([]string, len(names))
	for i, name := range names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return nil, fmt.Errorf("certmanager: %w", err)
		}
		normal[i] = id.Value
	}
	return normal, nil
}

// forget ends all that is done for the names, and returns the entries that had them.
func (m *Manager) forget(names []string) []*entry {
	entries := m.catalogue.forget(names)
	wanted := m.admission.forgetDemands(names)
	entries = append(entries, m.catalogue.discard(wanted)...)
	m.obtainer.abandon(entries, errForgotten)
	return entries
}

// abandon ends the work on entries that are managed no more.
func (o *obtainer) abandon(entries []*entry, why error) {
	for _, e := range entries {
		o.loading.one(e)
		abandon(&e.progress, fmt.Errorf("certmanager: %v: %w", &e.subject, why))
	}
	o.unqueue(entries...)
	o.update(entries...)
}

// abandon ends the task under way, and tells all who wait for one why there will be none.
func abandon(p *progress, why error) {
	p.mu.Lock()
	if m := p.matter; m != nil && m.cancel != nil {
		m.cancel(why)
	}
	p.mu.Unlock()
	dismiss(p, why)
}

// dismiss tells all who wait for a task why there will be none. One that is under way goes on.
func dismiss(p *progress, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.matter
	if m == nil {
		return
	}
	for _, waiting := range m.waiting {
		waiting <- why // has room for it
	}
	m.waiting = nil
	p.settle()
}

// forget ends the management of the entries that have the names, and returns them.
func (c *catalogue) forget(names []string) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	var entries []*entry
	for _, name := range names {
		for _, e := range []*entry{in.holder(name), c.heirs[name]} {
			if e == nil || e.roles.has(forgotten) {
				continue
			}
			for a := range familyOf(e).all() {
				a.roles.set(forgotten)
				entries = append(entries, a)
			}
		}
	}
	in.remove(entries)
	return entries
}

// discard ends the management of entries, and keeps those that handshakes wait for from being managed. It returns them with
// their alternatives.
func (c *catalogue) discard(entries []*entry) []*entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	all := in.withAlternatives(entries)
	for _, e := range all {
		e.roles.set(forgotten)
	}
	in.remove(all) // those that were adopted meanwhile
	return all
}

// forgetDemands has handshakes for the names begin anew, and returns the entries of what was under way for them.
func (a *admission) forgetDemands(names []string) []*entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byName) == 0 && len(a.negatives) == 0 {
		return nil
	}
	var entries []*entry
	for _, name := range names {
		delete(a.negatives, name)
		d := a.byName[name]
		if d == nil {
			continue
		}
		delete(a.byName, name)
		d.forgotten.Store(true)
		if e := d.entry.Load(); e != nil {
			entries = append(entries, e)
		}
	}
	return entries
}
