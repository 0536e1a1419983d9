package certmanager

import (
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/gate"
	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// isPressing reports whether the certificate can't wait for one issuer if there are others: it has ended or soon will, or a
// handshake waits.
func (a *attempt) isPressing() bool {
	s := a.entry.progress.snapshot(time.Now())
	return s.stage >= lifecycle.StageTenth || s.plan.Urgency == lifecycle.Handshake
}

// waiter returns the attempt as one that wants an order from the issuer.
func (a *attempt) waiter(issuer *gatedIssuer) waiter {
	now, held := time.Now(), a.entry.held()
	s := a.entry.progress.snapshot(now)
	urgency := s.plan.Urgency
	w := waiter{identifiers: a.entry.identifiers}
	w.last, _ = errors.AsType[*spentError](s.deferral)
	w.Alone, w.Owner = a.task.Commanded || urgency == lifecycle.Handshake, a.entry
	switch {
	case a.task.Commanded, s.stage >= lifecycle.StageTenth:
		w.Class = budget.Urgent
	case urgency == lifecycle.Handshake, held != nil:
		w.Class = budget.Early
	default:
		w.Class = budget.New
	}
	if held != nil && held.issuer == issuer.ID() && !held.imported {
		window := s.advice.window()
		w.obtained, w.replaces = held.obtainedAt(), now.Before(held.end()) && !now.Before(window.Start) && now.Before(window.End)
	}
	return w
}

// spent returns why the issuer is not to be asked for an order, by what is known of its budgets; nil: it may be.
func (a *attempt) spent(ctx context.Context, issuer *gatedIssuer) error {
	counts, ok := capability[interface {
		check(context.Context, waiter) error
	}](issuer)
	if !ok || a.hasBegun(issuer) {
		return nil
	}
	w := a.waiter(issuer)
	err := counts.check(ctx, w)
	a.places = append(a.places, placeOf(err))
	if err != nil && w.last == nil && a.work == nil && a.left.memory == nil && a.wasBegun(ctx, issuer) {
		return nil
	}
	return err
}

// wasBegun reports whether a process that is at work, or was killed at it, has left an order with the issuer that is paid for.
// That is asked of the storage once, before the certificate waits.
func (a *attempt) wasBegun(ctx context.Context, issuer *gatedIssuer) bool {
	left, err := a.peek(ctx, a.entry)
	return err == nil && left.HasBegun(issuer.ID())
}

// check returns why an order is not to be tried.
func (a *acmeIssuer) check(ctx context.Context, w waiter) error { return a.budgets.check(ctx, w) }

// hasBegun reports whether there is an order with the issuer to be resumed, as far as is known.
func (a *attempt) hasBegun(issuer *gatedIssuer) bool {
	if a.work != nil {
		return a.work.HasBegun(issuer.ID())
	}
	m := a.left.memory
	return m != nil && m.HasBegun(issuer.ID())
}

// nobodyToAsk returns why no issuer is to be asked at the moment, and until when; nil: one is, or somebody waits to be told,
// or a certificate has come that is to be stored. For a limit of one issuer the next is asked only if the certificate can't
// wait.
func (a *attempt) nobodyToAsk(ctx context.Context) (until time.Time, err error) {
	if a.task.Commanded || a.left.unsaved != nil {
		return until, nil
	}
	pressing := a.isPressing()
	for _, issuer := range ableOf(a.issuers, &a.entry.subject) {
		next, why := time.Time{}, error(nil)
		spent, isSpent := (*spentError)(nil), false
		if closed, ok := errors.AsType[*gate.ClosedError](issuer.closed(a.entry.end())); ok {
			next, why = yieldTo(a.entry, closed.Until), closed
		} else if spent, isSpent = errors.AsType[*spentError](a.spent(ctx, issuer)); isSpent {
			next, why = a.slot(spent), spent
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
func (a *attempt) slot(spent *spentError) time.Time {
	f := a.entry.held()
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
	i.places = append(i.places, spent.place)
	o = outcome{kind: lifecycle.Deferred, until: i.slot(spent), err: i.named(spent)}
	if i.task.Commanded {
		o.kind = lifecycle.Failed
	}
	return o, i.isPressing()
}
