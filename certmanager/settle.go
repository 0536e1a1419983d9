package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// firstPollWait is for how long a first question when to renew a certificate is waited for. Those about many are spread.
const firstPollWait = time.Minute

// Settle returns once nothing is due any more for the names, with any kind of key; without names, for all that are managed when
// it is called. It is for programs that do what is due and end: beside Run it waits until each certificate was
// loaded, and obtained or renewed if it is time, and its issuer asked when to renew it, or until that has failed or has to wait
// for something else than another attempt or process that is at work.
//
// It returns nil if all are served and no attempt failed. The error says of each of the others, twenty at most, what failed,
// also if it is served still, or what it waits for. It comes at once if a name is not managed, or when Run or ctx ends, and
// after ten seconds if Run has not begun.
func (m *Manager) Settle(ctx context.Context, names ...string) error {
	if m.store == nil {
		return errNotMade
	}
	return m.waiting.settleAll(ctx, names)
}

// settleAll is Manager.Settle.
func (w waiting) settleAll(ctx context.Context, names []string) error {
	wanted, err := w.wanted(names)
	if err != nil {
		return err
	}
	for _, name := range wanted {
		if err := w.settle(ctx, name); err != nil {
			return fmt.Errorf("certmanager: %s: %w", name, err)
		}
	}
	var errs []error
	n := 0
	for _, name := range wanted {
		if err := w.unsettled(name); err == nil {
			continue
		} else if n++; n <= maxUnserved {
			errs = append(errs, err)
		}
	}
	if n > maxUnserved {
		errs = append(errs, fmt.Errorf("certmanager: and %d more", n-maxUnserved))
	}
	return errors.Join(errs...)
}

// settle returns nil once nothing is due for the name, or why that can't be waited for.
func (w waiting) settle(ctx context.Context, name string) error {
	stopped, err := w.awaitRun(ctx)
	if err != nil {
		return err
	}
	for e := range familyOf(w.catalogue.covering(name)).all() {
		for !isSettled(e) {
			changed := e.progress.changes()
			if isSettled(e) {
				break // meanwhile
			}
			select {
			case <-changed:
			case <-stopped:
				return errEnded
			case <-ctx.Done():
				s := e.progress.snapshot(time.Now())
				return s.ended(ctx.Err())
			}
		}
	}
	return nil
}

// isSettled reports whether nothing is due for the entry, or under way.
func isSettled(e *entry) bool {
	if e.roles.has(forgotten) {
		return true
	}
	now := time.Now()
	s, next := e.progress.snapshot(now), e.progress.plan(now)
	if next.Action == lifecycle.Poll && !e.roles.has(polling|heeding) {
		next.Due = next.Due.Add(-firstPollWait)
	}
	if s.working || !e.progress.isLoaded() || !next.Due.After(now) {
		return false
	}
	return s.deferral == nil || s.setback() != nil
}

// unsettled returns what has failed for a name, or what it waits for while it is not served; nil: all is well.
func (w waiting) unsettled(name string) error {
	for e := range familyOf(w.catalogue.covering(name)).all() {
		if s := e.progress.snapshot(time.Now()); s.failure != nil {
			return s.failure.Err
		}
	}
	if w.serves(name) {
		return nil
	}
	if err := w.why(name); err != nil {
		return err
	}
	return fmt.Errorf("certmanager: %s is not served", name)
}
