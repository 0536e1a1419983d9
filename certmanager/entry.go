package certmanager

import (
	"context"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
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

	served   atomic.Pointer[served] // nil: nothing yet, or evicted
	roles    roles                  // beside it, for a handshake reads both
	evicted  atomic.Pointer[evicted]
	progress progress
	left     *carryover // by the last attempt for the next; nil: nothing. Only the task under way uses it
}

func newEntry(s subject, r role) *entry {
	e := &entry{subject: s}
	e.roles.set(r)
	if len(s.keyTypes) > 1 {
		s.keyTypes = s.keyTypes[1:]
		e.alternative = newEntry(s, r|alternate)
	}
	return e
}

// alternatives returns the entry and its alternatives, in the order of preference. It may be nil, which has none.
func (e *entry) alternatives() iter.Seq[*entry] {
	return func(yield func(*entry) bool) {
		for ; e != nil; e = e.alternative {
			if !yield(e) {
				return
			}
		}
	}
}

// hasAlternative reports whether other is the entry or an alternative of it. The entry may be nil.
func (e *entry) hasAlternative(other *entry) bool {
	for a := range e.alternatives() {
		if a == other {
			return true
		}
	}
	return false
}

// ofKind returns the alternative with the kind of key, or nil. The entry may be nil.
func (e *entry) ofKind(keyType string) *entry {
	for a := range e.alternatives() {
		if string(a.keyType()) == keyType {
			return a
		}
	}
	return nil
}

// unset takes a role from the entry and its alternatives, which it returns.
func (e *entry) unset(r role) (all []*entry) {
	for a := range e.alternatives() {
		a.roles.unset(r)
		all = append(all, a)
	}
	return all
}

// isOf reports whether the entry is of the subject. One of the same names with other kinds of key is not.
func (e *entry) isOf(s *subject) bool {
	return slices.Equal(e.keyTypes, s.keyTypes) && slices.Equal(e.identifiers, s.identifiers)
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
	if current := e.held(); current != nil && !record.Newer(r.Obtained, current.obtainedAt(), time.Now()) {
		if e.isEvicted() && current.obtained == r.Obtained.UnixNano() {
			e.publish(r) // it comes back
		}
		return false
	}
	e.progress.state.Serve(r.NotBefore, r.End, renewal(r))
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

// end returns when the certificate that is served ends; zero if there is none.
func (e *entry) end() time.Time {
	if f := e.held(); f != nil {
		return f.end()
	}
	return time.Time{}
}

// carryover returns what the last attempt left, to be written to.
func (e *entry) carryover() *carryover {
	if e.left == nil {
		e.left = new(carryover)
	}
	return e.left
}

// status returns how the certificate stands.
func (e *entry) status(now time.Time) Status {
	p, c := e.progress.snapshot(now), e.held()
	s := Status{
		Names: e.names(), KeyType: e.keyType(), OnDemand: e.roles.has(onDemand),
		State: p.standing(c, now), Action: actionOf(p.plan.Action), Next: p.plan.Due, Reason: p.reason(now),
		Attempts: p.attempts, Since: p.since, Failure: p.failure,
	}
	if p.deferral != nil {
		s.Deferred = strings.TrimPrefix(p.deferral.Error(), "certmanager: ")
	}
	if c != nil {
		s.Issuer, s.Serial, s.NotBefore, s.NotAfter, s.EndOf = c.issuer, e.serial(), time.Unix(c.begin, 0).UTC(), c.end(), c.endOf
		s.Challenges, s.Validated, s.Imported = c.challenges.types(), c.validatedAt(), c.imported
	}
	return s
}
