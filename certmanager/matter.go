package certmanager

import (
	"errors"
	"time"

	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// remember keeps the work in memory if the storage has not taken it.
func (e *entry) remember(w work, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.matters()
	if m.work = nil; err != nil {
		m.work = &w
	}
	e.settle()
}

// remembered returns what the storage has not taken.
func (e *entry) remembered() (w work, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.matter; m != nil && m.work != nil {
		return *m.work, true
	}
	return work{}, false
}

// unsaved returns the certificate that has come but could not be stored, or nil.
func (e *entry) unsaved() *record.Certificate {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.matter == nil {
		return nil
	}
	return e.matter.unsaved
}

// setUnsaved notes whether r could be stored.
func (e *entry) setUnsaved(r *record.Certificate, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.matters()
	if m.unsaved = nil; err != nil {
		m.unsaved = r
	}
	e.settle()
}

// takeClaim returns the claim that was kept, or nil.
func (e *entry) takeClaim() *storage.Claim {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.matter == nil {
		return nil
	}
	claim := e.matter.claim
	e.matter.claim = nil
	return claim
}

// keepClaim keeps a claim for the next try.
func (e *entry) keepClaim(claim *storage.Claim) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := e.matters()
	m.claim = claim
	m.tries++
}

// dropClaim gives a claim up that is not needed any more.
func (e *entry) dropClaim() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.matter != nil && e.matter.claim != nil {
		e.matter.claim.Withdraw()
		e.matter.claim = nil
	}
}

// claimTries returns how often the lease was claimed in vain.
func (e *entry) claimTries() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.matter == nil {
		return 0
	}
	return e.matter.tries
}

// isUrgent reports whether somebody waits for the certificate.
func (e *entry) isUrgent() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state.Plan(time.Now()).Urgency <= lifecycle.Commanded
}

// isFailing reports whether the last attempt that this process made or heard of failed.
func (e *entry) isFailing() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.matter != nil && e.matter.failure != nil
}

// isQuiet reports whether what goes wrong in the task under way was told lately.
func (e *entry) isQuiet() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.matter != nil && e.matter.task.Quiet
}

// setback returns when the next attempt is due, and why there is no certificate after the last; nil if it is only another
// process that is waited for, or one's turn.
func (e *entry) setback() (until time.Time, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	until = e.state.Plan(time.Now()).Due
	m := e.matter
	switch {
	case m == nil:
		return until, nil
	case m.failure != nil:
		return until, m.failure.Err
	case m.deferral != nil && !errors.Is(m.deferral, errHeld) && !errors.Is(m.deferral, gate.ErrUnanswered):
		return until, m.deferral
	}
	return until, nil
}
