package certmanager

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/count"
)

// Counters are what Manager.Counts reads. What they are asked to count makes nobody wait.
type counters struct {
	since      time.Time
	handshakes count.Spread // by place in outcomes
	requests   requestCounter
	calls      callCounter
	attempts   attemptCounter
}

// outcomes are those of handshakes, in the order in which they are counted.
func outcomes() []Outcome {
	return []Outcome{OutcomeServed, OutcomeChallenge, OutcomeFallback, OutcomeUnknown, OutcomeFailed}
}

// The places of outcomes.
const (
	outcomeServed uint8 = iota
	outcomeChallenge
	outcomeFallback
	outcomeUnknown
	outcomeFailed
	outcomeNone // of the handshake itself: it is counted elsewhere
)

// An attemptCounter counts what came of attempts.
type attemptCounter struct {
	mu                sync.Mutex // guards what follows; nothing else is locked under it
	obtained, renewed int64
	failures          map[FailureKind]int64
	days              count.Days[Day]
}

// count counts the event, if it tells of an attempt of this manager's.
func (a *attemptCounter) count(e *Event) {
	if e.Kind != EventObtained && (e.Kind != EventFailed || errors.As(e.Err, new(*earlierFailure))) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	day := a.days.At(time.Now())
	switch {
	case e.Kind == EventFailed:
		if a.failures == nil {
			a.failures = make(map[FailureKind]int64)
		}
		a.failures[failureKindOf(e.Err)]++
		day.Failed++
	case e.Renewal:
		a.renewed++
		day.Renewed++
	default:
		a.obtained++
		day.Obtained++
	}
}

// read adds what was counted to c.
func (a *attemptCounter) read(c *Counts) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.Obtained, c.Renewed, c.Failures = a.obtained, a.renewed, make(map[FailureKind]int64)
	for _, kind := range failureKinds() {
		c.Failures[kind] = a.failures[kind]
	}
	a.days.All(time.Now(), func(date time.Time, counted Day) {
		counted.Date = date
		c.Days = append(c.Days, counted)
	})
}

// failureKindOf returns what an attempt failed for.
func failureKindOf(err error) FailureKind {
	if earlier, ok := errors.AsType[*earlierFailure](err); ok && slices.Contains(failureKinds(), earlier.kind) {
		return earlier.kind
	}
	problem, refused := errors.AsType[*acme.Problem](err)
	switch reason := reasonOf(err); {
	case reason == ReasonStorage:
		return FailureStorage
	case reason == ReasonKeys:
		return FailureKeys
	case reason == ReasonPolicy:
		return FailurePolicy
	case errors.Is(err, acme.ErrRateLimited), refused && problem.Status == http.StatusTooManyRequests:
		return FailureRateLimit
	case errors.As(err, new(*acme.SolverError)):
		return FailureSolver
	case reason == ReasonIssuer:
		return FailureIssuer
	case errors.As(err, new(*acme.AuthorizationError)):
		return FailureValidation
	case refused, reason == ReasonPaused:
		return FailureRefusal
	}
	return FailureOther
}
