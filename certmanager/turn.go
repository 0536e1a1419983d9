package certmanager

import (
	"context"
	"errors"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
)

// A takenPlace is the error of a solver whose answer has to wait for another order's (see [solver.TLSALPN01.WithDeferral]).
type takenPlace interface {
	error
	RetryAfter() time.Duration
	Check(ctx context.Context) error
}

// An awaitedTurn is what attempts wait for one after the other: that a place of an answer is free.
type awaitedTurn struct {
	place takenPlace
	since time.Time // when the first of them found it taken
}

// isOver reports whether the turn was waited for as long as an attempt may take.
func (t *awaitedTurn) isOver(now time.Time) bool { return now.Sub(t.since) >= issueTimeout }

// A turnError is why an attempt is deferred that waits for the turn of an answer.
type turnError struct{ error }

func (e turnError) Unwrap() error { return e.error }

// A turnWait is part of attempts: it defers one for as long as it waits for the turn of an answer.
type turnWait struct{ *attempt }

// check returns the outcome of an attempt for which the place of its answer is still taken. That is seen without the lease
// and without the CA: they are not needed before. What can't be found out is tried.
func (a turnWait) check(ctx context.Context) (o outcome, waits bool) {
	turn := a.left.turn
	if turn == nil || turn.isOver(time.Now()) {
		return outcome{}, false
	}
	limited, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	err := guard(ctx, a.logger, "the Check of a solver's error", func() error { return turn.place.Check(limited) })
	if _, taken := errors.AsType[takenPlace](err); !taken {
		return outcome{}, false
	}
	return a.deferred(a.named(err)), true
}

// is reports whether an attempt has failed because the place of its answer is taken, and may be made again when that
// is free. What has waited for as long as an attempt may take has failed: perhaps another solver fares better.
func (a turnWait) is(err error) bool {
	_, taken := errors.AsType[takenPlace](err)
	return taken && (a.left.turn == nil || !a.left.turn.isOver(time.Now()))
}

// deferred is the outcome when the place of an answer is taken, as the error says: nothing has failed, and what was ordered is
// resumed when it is free.
func (a turnWait) deferred(err error) outcome {
	place, _ := errors.AsType[takenPlace](err)
	if a.left.turn == nil {
		a.left.turn = &awaitedTurn{since: time.Now()}
	}
	a.left.turn.place = place
	return outcome{kind: lifecycle.Deferred, until: time.Now().Add(place.RetryAfter()), err: turnError{err}}
}
