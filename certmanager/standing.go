package certmanager

import (
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A standing is how an attempt stands with the issuers that it may ask.
type standing struct{ *attempt }

// isPressing reports whether the certificate can't wait for one issuer if there are others: it has ended or soon will, or a
// handshake waits.
func (s standing) isPressing() bool {
	state := s.entry.progress.snapshot(time.Now())
	return state.stage >= lifecycle.StageTenth || state.plan.Urgency == lifecycle.Handshake
}

// waiter returns the attempt as one that wants an order from the issuer.
func (s standing) waiter(issuer *gatedIssuer) waiter {
	now, held := time.Now(), s.entry.held()
	state := s.entry.progress.snapshot(now)
	urgency := state.plan.Urgency
	w := waiter{identifiers: s.entry.identifiers}
	w.last, _ = errors.AsType[*spentError](state.deferral)
	w.Alone, w.Owner = s.task.Commanded || urgency == lifecycle.Handshake, s.entry
	switch {
	case s.task.Commanded, state.stage >= lifecycle.StageTenth:
		w.Class = budget.Urgent
	case urgency == lifecycle.Handshake, held != nil:
		w.Class = budget.Early
	default:
		w.Class = budget.New
	}
	if held != nil && held.issuer == issuer.ID() && !held.imported {
		window := state.advice.window()
		w.obtained, w.replaces = held.obtainedAt(), now.Before(held.end()) && !now.Before(window.Start) && now.Before(window.End)
	}
	return w
}

// spent returns why the issuer is not to be asked for an order, by what is known of its budgets; nil: it may be.
func (s standing) spent(ctx context.Context, issuer *gatedIssuer) error {
	counts, ok := capability[interface {
		check(context.Context, waiter) error
	}](issuer)
	if !ok || s.hasBegun(issuer) {
		return nil
	}
	w := s.waiter(issuer)
	err := counts.check(ctx, w)
	s.places = append(s.places, placeOf(err))
	if err != nil && w.last == nil && s.work == nil && s.left.memory == nil && s.wasBegun(ctx, issuer) {
		return nil
	}
	return err
}

// wasBegun reports whether a process that is at work, or was killed at it, has left an order with the issuer that is paid for.
// That is asked of the storage once, before the certificate waits.
func (s standing) wasBegun(ctx context.Context, issuer *gatedIssuer) bool {
	left, err := peekWork(ctx, s.store, s.entry, s.issuers[0].ID())
	return err == nil && left.HasBegun(issuer.ID())
}

// check returns why an order is not to be tried.
func (a *acmeIssuer) check(ctx context.Context, w waiter) error { return a.budgets.check(ctx, w) }

// hasBegun reports whether there is an order with the issuer to be resumed, as far as is known.
func (s standing) hasBegun(issuer *gatedIssuer) bool {
	if s.work != nil {
		return s.work.HasBegun(issuer.ID())
	}
	m := s.left.memory
	return m != nil && m.HasBegun(issuer.ID())
}

// nobodyToAsk returns why no issuer is to be asked at the moment, and until when; nil: one is, or somebody waits to be told,
// or a certificate has come that is to be stored. For a limit of one issuer the next is asked only if the certificate can't
// wait.
func (s standing) nobodyToAsk(ctx context.Context) (until time.Time, err error) {
	if s.task.Commanded || s.left.unsaved != nil {
		return until, nil
	}
	pressing := s.isPressing()
	for _, issuer := range ableOf(s.issuers, &s.entry.subject) {
		next, why := time.Time{}, error(nil)
		spent, isSpent := (*spentError)(nil), false
		if closed, ok := errors.AsType[*gate.ClosedError](issuer.closed(s.entry.end())); ok {
			next, why = yieldTo(s.entry, closed.Until), closed
		} else if spent, isSpent = errors.AsType[*spentError](s.spent(ctx, issuer)); isSpent {
			next, why = s.slot(spent), spent
		} else {
			return time.Time{}, nil
		}
		if err == nil || next.Before(until) {
			until, err = next, why
		}
		if isSpent && !pressing {
			break
		}
	}
	return until, err
}

// slot returns when one that waits for a budget is to come again: at its slot, or when its certificate is about to end, and
// is more urgent.
func (s standing) slot(spent *spentError) time.Time {
	f := s.entry.held()
	if f == nil {
		return spent.until
	}
	tenth := time.Unix(f.notAfter-(f.notAfter-f.begin)/10, 0)
	if time.Now().Before(tenth) {
		return earlier(spent.until, tenth)
	}
	return spent.until
}

// notYet is the outcome when the issuer's budget is spent: nothing failed. Who waits for this one is told so.
func (i *issuance) notYet(spent *spentError) (o outcome, next bool) {
	at := standing{i.attempt}
	i.places = append(i.places, spent.place)
	o = outcome{kind: lifecycle.Deferred, until: at.slot(spent), err: i.named(spent)}
	if i.task.Commanded {
		o.kind = lifecycle.Failed
	}
	return o, at.isPressing()
}
