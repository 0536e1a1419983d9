package certmanager

import (
	"crypto/tls"
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
	served   atomic.Pointer[served] // nil: nothing yet, or evicted
	roles    roles                  // beside it, for a handshake reads both
	evicted  atomic.Pointer[evicted]
	progress progress
	left     *carryover // by the last attempt for the next; nil: nothing. Only the task under way uses it
}

func newEntry(s subject, r role) *entry {
	e := &entry{subject: s}
	e.roles.set(r)
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
	return p.Due, dispatch.Urgency(p.Urgency), e.roles.has(managed | wanted | lapsed)
}

// has reports whether the name is one of the subject's own.
func (e *entry) has(name string) bool {
	return slices.ContainsFunc(e.identifiers, func(id acme.Identifier) bool { return id.Value == name })
}

// offer makes r the certificate to be served if it is newer than the one there is.
func (e *entry) offer(r *record.Certificate) bool {
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
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

// begin marks a task as under way and returns it.
func (e *entry) begin() lifecycle.Task {
	e.progress.mu.Lock()
	e.noteLate()
	e.progress.mu.Unlock()
	return e.progress.begin()
}

// finish notes what came of the task.
func (e *entry) finish(o outcome) lifecycle.Report {
	report := e.progress.finish(o)
	e.progress.mu.Lock()
	defer e.progress.mu.Unlock()
	e.noteLate()
	return report
}

// certificate returns what is served, or nil. The entry may be nil.
func (e *entry) certificate() *tls.Certificate {
	if e == nil {
		return nil
	}
	if s := e.served.Load(); s != nil {
		return &s.Certificate
	}
	return nil
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
		Names: e.names(), KeyType: e.keyType, OnDemand: e.roles.has(onDemand),
		State: p.standing(c, now), Action: actionOf(p.plan.Action), Next: p.plan.Due, Reason: p.reason(now),
		Attempts: p.attempts, Since: p.since, Failure: p.failure,
	}
	if p.deferral != nil {
		s.Deferred = strings.TrimPrefix(p.deferral.Error(), "certmanager: ")
	}
	if c != nil {
		s.Issuer, s.Serial, s.NotBefore, s.NotAfter, s.EndOf = c.issuer, e.serial(), time.Unix(c.begin, 0).UTC(), c.end(), c.endOf
	}
	return s
}
