package certmanager

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/dispatch"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// An entry is one certificate under management, or one that handshakes wait for. There may be a million.
type entry struct {
	dispatch.Place
	subject
	alternative *entry // for the same names with the next kind of key; nil: there is none. The catalogue leads to the first

	*front
	progress progress
	left     *carryover // by the last attempt for the next; nil: nothing. Only the task under way uses it
}

func newEntry(s subject, r role) *entry {
	e := &entry{subject: s, front: &front{algorithm: s.keyType().algorithm()}}
	e.entry = e
	e.roles.set(r)
	if len(s.keyTypes) > 1 {
		e.roles.set(choosing)
		s.keyTypes = s.keyTypes[1:]
		e.alternative = newEntry(s, r|alternate)
	}
	return e
}

// Group returns the registered domain: names under one share what is slow or broken about it.
func (e *entry) Group() string {
	id := e.identifiers[0]
	if id.Type != acme.TypeDNS {
		return id.Value
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(id.Value)
	if err != nil {
		return id.Value
	}
	return domain
}

// Plan returns what the dispatcher wants to know.
func (e *entry) Plan() (due time.Time, urgency dispatch.Urgency, planned bool) {
	p := e.progress.plan(time.Now())
	if e.roles.has(lapsed) {
		p.Urgency = lifecycle.Early
	}
	planned = e.roles.has(managed|wanted|lapsed) && !e.roles.has(forgotten) || e.roles.has(forgotten) && e.roles.has(claiming)
	return p.Due, dispatch.Urgency(p.Urgency), planned
}

// has reports whether the name is one of the subject's own.
func (e *entry) has(name string) bool {
	return slices.ContainsFunc(e.identifiers, func(id acme.Identifier) bool { return id.Value == name })
}

// offer makes r the certificate to be served if it is newer than the one there is.
func (e *entry) offer(r *record.Certificate) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	if e.roles.has(forgotten) {
		return false
	}
	if current := e.held(); current != nil && !current.isCopied() && !record.Newer(r.Obtained, current.obtainedAt(), time.Now()) {
		if e.isEvicted() && current.obtained == r.Obtained.UnixNano() {
			e.publish(r) // it comes back
		}
		return false
	}
	e.progress.state.Serve(r.NotBefore, r.End, renewal(r))
	e.progress.state.Stagger(rand.Float64())
	e.progress.advice = advice{}
	e.publish(r)
	e.roles.unset(gone)
	e.noteLate()
	return true
}

// noteLate notes whether the renewal is due. Until then what is served has not expired, and a handshake need not look at
// the clock, which would cost it more than all the rest. The caller holds the progress's lock.
func (e *entry) noteLate() {
	e.roles.put(late, e.held() != nil && !time.Now().Before(e.progress.state.Renewal()))
}

// begin marks a task as under way and returns it. Forgetting the entry cancels it.
func (e *entry) begin(cancel context.CancelCauseFunc) lifecycle.Task {
	e.progress.mu.Lock()
	e.noteLate()
	e.progress.mu.Unlock()
	return e.progress.begin(cancel)
}

// finish notes what came of the task.
func (e *entry) finish(o outcome) lifecycle.Report {
	report := e.progress.finish(o)
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	e.noteLate()
	return report
}

// evict takes the certificate out of memory, and reports whether it is. What the storage does not have, or the task under
// way needs, stays.
func (e *entry) evict() bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	s := e.served.Load()
	if s == nil {
		return true
	}
	if m := e.progress.matter; m != nil && m.working || e.roles.has(unstored|pinned|wanted) {
		return false
	}
	if s.isCopied() {
		e.served.Store(nil)
		return true
	}
	e.evicted.Store(newEvicted(s))
	e.served.Store(nil)
	return true
}

// lose is for an evicted certificate that the storage does not have any more: it is to be loaded, or obtained, anew. It
// reports whether it was evicted.
func (e *entry) lose() bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	if !e.isEvicted() {
		return false
	}
	e.evicted.Store(nil)
	e.progress.state.Lose()
	return true
}
