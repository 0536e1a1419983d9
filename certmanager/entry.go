package certmanager

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/dispatch"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// An entry is one certificate under management, or one that is to be: handshakes wait for it. There may be a million.
type entry struct {
	dispatch.Place
	subject
	served atomic.Pointer[served] // nil: nothing yet

	mu       sync.Mutex // guards what follows; no other lock is taken under it
	state    lifecycle.State
	managed  bool // in the catalogue
	onDemand bool // a client wanted it, and nobody configured it
	wanted   bool // by handshakes, though not managed
	matter   *matter
}

// A matter is what is remembered of an entry while something is the matter with it.
type matter struct {
	task     lifecycle.Task      // under way
	working  bool                // it is
	failure  *Failure            // of the last attempt
	deferral error               // why the next one waits, though nothing failed
	work     *work               // that the storage has not taken
	unsaved  *record.Certificate // issued and served, but the storage has not taken it
	claim    *storage.Claim      // to a lease that another process has
	tries    int                 // of claim, in vain
	waiting  []chan<- error      // callers of Renew
	changed  chan struct{}       // closed at the end of the task under way or to come
}

// isNothing reports whether nothing is left of it.
func (m *matter) isNothing() bool {
	return !m.working && m.failure == nil && m.deferral == nil && m.work == nil && m.unsaved == nil && m.claim == nil &&
		m.tries == 0 && len(m.waiting) == 0 && m.changed == nil
}

func newEntry(s subject) *entry { return &entry{subject: s} }

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
	e.mu.Lock()
	defer e.mu.Unlock()
	p := e.state.Plan(time.Now())
	return p.Due, dispatch.Urgency(p.Urgency), e.managed || e.wanted
}

// matters returns what is the matter, to be written to. The caller holds e.mu.
func (e *entry) matters() *matter {
	if e.matter == nil {
		e.matter = new(matter)
	}
	return e.matter
}

// settle forgets the matter if nothing is left of it. The caller holds e.mu.
func (e *entry) settle() {
	if e.matter != nil && e.matter.isNothing() {
		e.matter = nil
	}
}

// begin marks a task as under way and returns it.
func (e *entry) begin() lifecycle.Task {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.matters()
	m.working, m.task = true, e.state.Begin()
	return m.task
}

// finish notes what came of the task, and tells those who wait.
func (e *entry) finish(o outcome) lifecycle.Report {
	e.mu.Lock()
	defer e.mu.Unlock()
	now, m := time.Now(), e.matters()
	report := e.state.Finish(lifecycle.Result{Kind: o.kind, Until: o.until, Hindered: m.hindered(o, now)}, now, rand.Float64())
	m.working, m.deferral, m.task = false, nil, lifecycle.Task{}
	switch o.kind {
	case lifecycle.Failed:
		m.failure = &Failure{Time: now, Err: o.err, Diagnoses: diagnosesOf(o.err)}
		if earlier, ok := errors.AsType[*earlierFailure](o.err); ok {
			m.failure.Time = earlier.time
		}
	case lifecycle.Deferred:
		m.deferral = o.err
	default:
		m.failure = nil
	}
	if m.claim == nil {
		m.tries = 0
	}
	if report.Answered {
		for _, waiting := range m.waiting {
			waiting <- o.err // has room for it
		}
		m.waiting = nil
	}
	m.tell()
	e.settle()
	return report
}

// offer makes r the certificate to be served if it is newer than the one there is.
func (e *entry) offer(r *record.Certificate) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if current := e.served.Load(); current != nil && !r.Obtained.After(current.obtainedAt()) {
		return false
	}
	s := newServed(r)
	e.state.Serve(r.NotBefore, r.End, renewal(r))
	e.served.Store(s)
	return true
}

// load notes that the storage was asked for what it has, which offer was called with.
func (e *entry) loaded() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.state.Loaded() {
		e.state.Finish(lifecycle.Result{Kind: lifecycle.Loaded}, time.Now(), 0)
	}
	if e.matter != nil {
		e.matter.tell()
		e.settle()
	}
}

// tell wakes the handshakes that wait.
func (m *matter) tell() {
	if m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// wait lets a handshake wait for the end of what is under way or to come, which becomes urgent; the caller is to have
// the dispatcher know. The function is to be called when it has waited.
func (e *entry) wait() (changed <-chan struct{}, waited func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.matters()
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	e.state.Await(1)
	return m.changed, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.state.Await(-1)
	}
}

// isLoaded reports whether the storage was asked.
func (e *entry) isLoaded() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Loaded()
}

// command has the next attempt replace the certificate whatever its age. The channel is sent the outcome.
func (e *entry) command() <-chan error {
	e.mu.Lock()
	defer e.mu.Unlock()
	done := make(chan error, 1)
	m := e.matters()
	m.waiting = append(m.waiting, done)
	e.state.Command()
	return done
}

// setManaged says whether the entry is in the catalogue, and whether it was configured.
func (e *entry) setManaged(managed, onDemand bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.managed, e.onDemand = managed, onDemand
}

// isOnDemand reports whether a client wanted the certificate and nobody configured it.
func (e *entry) isOnDemand() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.onDemand
}

// want says whether handshakes wait for the entry, which is not managed.
func (e *entry) want(wanted bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wanted = wanted
}

// has reports whether the name is one of the subject's own.
func (e *entry) has(name string) bool {
	return slices.ContainsFunc(e.identifiers, func(id acme.Identifier) bool { return id.Value == name })
}

// unavailable says why there is no certificate for the name, which is as a client sent it.
func (e *entry) unavailable(name string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := e.state.Plan(time.Now()).Due.UTC().Format(time.RFC3339)
	switch m := e.matter; {
	case m != nil && m.failure != nil:
		return fmt.Errorf("certmanager: %.100q has no certificate; the next attempt is due at %s; the last one failed: %w", name, next, m.failure.Err)
	case m != nil && m.deferral != nil:
		return fmt.Errorf("certmanager: %.100q has no certificate yet; the next attempt is due at %s: %w", name, next, m.deferral)
	case m != nil && m.working:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: it is being obtained", name)
	}
	return fmt.Errorf("certmanager: %.100q has no certificate yet: its turn comes", name)
}

// An outcome is what came of a task.
type outcome struct {
	kind   lifecycle.Kind
	until  time.Time // of what failed or was deferred: when to try again; see lifecycle.Result
	err    error     // why
	events []Event   // to be told once the outcome shows in the status
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

// unload has the storage asked again for what it has.
func (e *entry) unload() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.state.Unload()
}

// isManaged reports whether the entry is in the catalogue.
func (e *entry) isManaged() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.managed
}

// renewal returns when the certificate that is served is to be renewed.
func (e *entry) renewal() time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Renewal()
}

// end returns when the certificate that is served ends; zero if there is none.
func (e *entry) end() time.Time {
	if s := e.served.Load(); s != nil {
		return s.end()
	}
	return time.Time{}
}
