package certmanager

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A progress is how far the work on an entry is, and who waits for it.
type progress struct {
	mu     sync.Mutex // guards what follows; no other lock is taken under it
	state  lifecycle.State
	advice advice  // of the issuer
	matter *matter // nil: nothing is the matter
}

// A matter is what there is to know of the work while some is under way, waits or has failed.
type matter struct {
	task     lifecycle.Task          // under way
	working  bool                    // it is
	failure  *Failure                // of the last attempt
	deferral error                   // why the next one waits, though nothing failed
	cancel   context.CancelCauseFunc // ends the task under way; nil: none is, or nothing ends it
	waiting  []chan<- error          // callers of Renew
	changed  chan struct{}           // closed at the end of the task under way or to come
}

// An outcome is what came of a task.
type outcome struct {
	kind   lifecycle.Kind
	until  time.Time // of what failed or was deferred: when to try again; see lifecycle.Result
	err    error     // why
	events []Event   // to be told once the outcome shows in the status

	hindered bool // it was deferred for what is wrong with all certificates, or with another process
}

// plan returns what is due next.
func (p *progress) plan(now time.Time) lifecycle.Plan {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Plan(now)
}

// matters returns what is the matter, to be written to. The caller holds p.mu.
func (p *progress) matters() *matter {
	if p.matter == nil {
		p.matter = new(matter)
	}
	return p.matter
}

// settle wakes the handshakes that wait, and forgets the matter if nothing is left of it. The caller holds p.mu.
func (p *progress) settle() {
	m := p.matter
	m.wake()
	if m == nil {
		return
	}
	if !m.working && m.failure == nil && m.deferral == nil && len(m.waiting) == 0 {
		p.matter = nil
	}
}

// wake wakes the handshakes that wait. The caller holds the progress's lock.
func (m *matter) wake() {
	if m != nil && m.changed != nil {
		close(m.changed)
		m.changed = nil
	}
}

// begin marks a task as under way, which cancel ends, and returns it.
func (p *progress) begin(cancel context.CancelCauseFunc) lifecycle.Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	m := p.matters()
	m.working, m.task, m.cancel = true, p.state.Begin(time.Now()), cancel
	return m.task
}

// finish notes what came of the task, and tells those who wait.
func (p *progress) finish(o outcome) lifecycle.Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, m := time.Now(), p.matters()
	_, waited := errors.AsType[*earlierFailure](o.err)
	report := p.state.Finish(lifecycle.Result{Kind: o.kind, Until: o.until, Hindered: o.hindered, Waited: waited}, now, rand.Float64())
	m.working, m.deferral, m.task, m.cancel = false, nil, lifecycle.Task{}, nil
	switch o.kind {
	case lifecycle.Failed:
		m.failure = &Failure{Time: now, Kind: failureKindOf(o.err), Err: o.err, Diagnoses: diagnosesOf(o.err)}
		if earlier, ok := errors.AsType[*earlierFailure](o.err); ok {
			m.failure.Time = earlier.time
		}
	case lifecycle.Deferred:
		m.deferral = o.err
	default:
		m.failure = nil
	}
	if report.Answered {
		for _, waiting := range m.waiting {
			waiting <- o.err // has room for it
		}
		m.waiting = nil
	}
	p.settle()
	return report
}

// loaded notes that the storage was asked for what it has.
func (p *progress) loaded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.state.Loaded() {
		p.state.Finish(lifecycle.Result{Kind: lifecycle.Loaded}, time.Now(), 0)
	}
	p.settle()
}

// isLoaded reports whether the storage was asked.
func (p *progress) isLoaded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.Loaded()
}

// changes returns a channel that is closed at the end of what is under way or to come.
func (p *progress) changes() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.matters().change()
}

// change returns a channel that is closed at the end of what is under way or to come.
func (m *matter) change() <-chan struct{} {
	if m.changed == nil {
		m.changed = make(chan struct{})
	}
	return m.changed
}

// change changes the state.
func (p *progress) change(f func(*lifecycle.State)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.state)
}

// wait lets a handshake wait for the end of what is under way or to come, which becomes urgent; the caller is to have
// the dispatcher know. The function is to be called when it has waited.
func (p *progress) wait() (changed <-chan struct{}, waited func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.Await(1)
	return p.matters().change(), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.state.Await(-1)
	}
}

// errCommanded is why a poll has ended.
var errCommanded = errors.New("the certificate is replaced at once")

// command has the next attempt replace the certificate whatever its age; a poll is not waited for. The channel is sent the outcome.
func (p *progress) command() <-chan error {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := make(chan error, 1)
	m := p.matters()
	m.waiting = append(m.waiting, done)
	p.state.Command()
	if m.working && m.task.Action == lifecycle.Poll && m.cancel != nil {
		m.cancel(errCommanded)
	}
	return done
}

// A snapshot is a progress as it stands.
type snapshot struct {
	plan     lifecycle.Plan
	renewal  time.Time // of what is served
	poll     time.Time // when its issuer is asked next whether that stands; zero: it is not
	advice   advice
	stage    lifecycle.Stage
	working  bool
	queued   bool // it is to be replaced when its turn comes
	task     lifecycle.Task
	attempts int
	since    time.Time
	failure  *Failure
	deferral error
}

// snapshot returns how things stand.
func (p *progress) snapshot(now time.Time) snapshot {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := snapshot{plan: p.state.Work(now), renewal: p.state.Renewal(), poll: p.state.NextPoll(), advice: p.advice, stage: p.state.Stage(now), queued: p.state.Queued()}
	s.attempts, s.since = p.state.Failures()
	if m := p.matter; m != nil {
		s.working, s.task, s.failure, s.deferral = m.working, m.task, m.failure, m.deferral
	}
	return s
}

// standing returns the state of an entry that serves c.
func (s *snapshot) standing(c *facts, now time.Time) State {
	working := s.working && s.task.Action != lifecycle.Load && s.task.Action != lifecycle.Poll
	switch {
	case c == nil && working:
		return StateObtaining
	case c == nil:
		return StateWaiting
	case now.After(c.end()):
		return StateExpired
	case working:
		return StateRenewing
	}
	return StateValid
}

// reason returns why what comes next waits until it is due; empty: it waits for nothing but that.
func (s *snapshot) reason(now time.Time) Reason {
	switch {
	case s.working, !s.plan.Due.After(now):
		return ""
	case s.deferral != nil:
		return reasonOf(s.deferral)
	case s.failure != nil:
		return reasonOf(s.failure.Err)
	}
	return ""
}

// setback returns why there is no certificate after an attempt; nil if it is only another process or order that is waited for,
// the storage's probe, or one's turn.
func (s *snapshot) setback() error {
	switch {
	case s.failure != nil:
		return s.failure.Err
	case errors.Is(s.deferral, errHeld), errors.Is(s.deferral, errProbing), errors.Is(s.deferral, gate.ErrUnanswered), errors.As(s.deferral, new(turnError)):
		return nil
	}
	return s.deferral
}

// ended returns the error for whoever can't wait any longer: it says what was waited for, if it was not the work itself.
func (s *snapshot) ended(err error) error {
	if s.deferral == nil {
		return err
	}
	return fmt.Errorf("%w: %w", s.deferral, err)
}

// unavailable says why there is no certificate for the name, which is as a client sent it.
func (s *snapshot) unavailable(name string) error {
	next := s.plan.Due.UTC().Format(time.RFC3339)
	switch {
	case s.failure != nil:
		return fmt.Errorf("certmanager: %.100q has no certificate; the next attempt is due at %s; the last one failed: %w", name, next, s.failure.Err)
	case s.deferral != nil:
		return fmt.Errorf("certmanager: %.100q has no certificate yet; the next attempt is due at %s: %w", name, next, s.deferral)
	case s.working:
		return fmt.Errorf("certmanager: %.100q has no certificate yet: it is being obtained", name)
	}
	return fmt.Errorf("certmanager: %.100q has no certificate yet: its turn comes", name)
}
