package solver

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/everseal/everseal/acme"
)

// WithDeferral returns t for a caller that has other work than to wait. If another order's answer has the place, Present and
// Wait return at once, with an error in which errors.As finds one with these methods:
//
//	// RetryAfter returns how long to wait before Check is called.
//	RetryAfter() time.Duration
//
//	// Check returns nil if the place seems to be free by now, so that Present is to be called again. If it is not,
//	// the error is another one with these methods; else it is the Storage's. It costs one Load.
//	Check(ctx context.Context) error
//
// What was seen of the other answer is kept from one call to the next: that it was left by a killed process is found out as
// soon as by who waits.
func (t *TLSALPN01) WithDeferral() acme.Solver { return &deferring{TLSALPN01: t} }

// A deferring is a TLSALPN01 that does not wait for turns.
type deferring struct {
	*TLSALPN01
	sights sights
}

func (d *deferring) Present(ctx context.Context, p acme.Proof) error { return d.present(ctx, p, d.try) }

func (d *deferring) Wait(ctx context.Context, p acme.Proof) error { return d.wait(ctx, p, d.try) }

// try stores the answer if the place is free. If it is not, the error is a *turnError.
func (d *deferring) try(ctx context.Context, t *turn) (ownAnswer, error) {
	d.sights.recall(t)
	own, wait, err := t.try(ctx)
	if err == nil && wait == 0 {
		d.sights.forget(t)
		return own, nil
	}
	d.sights.keep(t)
	if err == nil {
		err = &turnError{*t, wait, &d.sights}
	}
	return ownAnswer{}, err
}

// A turnError is why an answer is not published yet: another order's has the place.
type turnError struct {
	turn   turn // as it stood
	wait   time.Duration
	sights *sights
}

// Error says what the answer waits for.
func (e *turnError) Error() string { return fmt.Sprintf("solver: %v", &e.turn) }

// RetryAfter returns how long to wait before the place is checked again.
func (e *turnError) RetryAfter() time.Duration { return e.wait }

// Check returns nil if the place is free, a *turnError if it is not, or another error if that could not be found out.
func (e *turnError) Check(ctx context.Context) error {
	t := e.turn
	e.sights.recall(&t)
	_, wait, err := t.check(ctx)
	e.sights.keep(&t)
	switch {
	case err != nil:
		return fmt.Errorf("solver: check the place of the answer for %q: %w", t.answer.Identifier, err)
	case wait > 0:
		return &turnError{t, wait, e.sights}
	}
	return nil
}

// keepPeriod is after which nobody comes back to a place: long after whoever was seen there counts as gone.
const keepPeriod = 10 * answerTerm

// Sights are what was seen of places, by key. They are of the places and not of those who want them: it does not matter who has
// seen a record first. The zero value is empty.
type sights struct {
	mu    sync.Mutex       // guards what follows; not held while the storage is asked
	kept  map[string]sight // by key
	limit int              // how many there may be before those that are over are dropped
}

// recall gives the turn what was seen of its place before.
func (s *sights) recall(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kept, ok := s.kept[t.key]; ok {
		t.sight = kept
	}
}

// keep notes what the turn has seen of its place, if anybody has it.
func (s *sights) keep(t *turn) {
	if t.seen == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = make(map[string]sight)
	}
	s.kept[t.key] = t.sight
	if len(s.kept) <= s.limit {
		return
	}
	for key, kept := range s.kept {
		if time.Since(kept.since) >= keepPeriod {
			delete(s.kept, key)
		}
	}
	s.limit = 2*len(s.kept) + 100
}

// forget drops what was seen of the turn's place, for it has had its turn.
func (s *sights) forget(t *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, t.key)
}
