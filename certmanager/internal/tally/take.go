package tally

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

const (
	writeInterval = time.Second // between two writes of one process for a fast limit
	usualBatch    = 16          // tokens of a fast limit that are taken at once, at most; of large ones a twentieth
)

// errAgain is the answer when another's ctx has ended while it asked the storage for all.
var errAgain = errors.New("ask again")

// Take takes a token. The error is a [*SpentError] if there is none for the class, or else that of the storage or of ctx.
func (t *Tally) Take(ctx context.Context, class budget.Class) error {
	for ctx.Err() == nil {
		if err := t.takeOnce(ctx, class); err != errAgain {
			return err
		}
	}
	return context.Cause(ctx)
}

func (t *Tally) takeOnce(ctx context.Context, class budget.Class) error {
	a := t.asked.ask(class)
	for {
		select {
		case <-a.done:
			return a.err
		default:
		}
		select {
		case <-a.done:
			return a.err
		case t.ledger.turn <- struct{}{}:
			t.grant(ctx, a)
			<-t.ledger.turn
		case <-ctx.Done():
		}
		if ctx.Err() == nil {
			continue
		}
		if t.asked.withdraw(a) {
			return context.Cause(ctx)
		}
		<-a.done // another is at it
	}
}

// grant answers those who ask at the moment, the most urgent first, the one who calls it among them if its turn has come.
func (t *Tally) grant(ctx context.Context, own *asking) {
	if !t.pace(ctx) {
		return
	}
	n := 1
	if t.limit.IsFast() {
		n = max(usualBatch, t.limit.Count/20)
	}
	batch := t.asked.next(n)
	var answers []error
	err := t.ledger.change(ctx, func(b budget.Bucket, now time.Time) budget.Bucket {
		answers = answers[:0]
		for _, a := range batch {
			if t.limit.Room(b, a.class, now) > 0 {
				b = t.limit.Take(b, 1, now)
				answers = append(answers, nil)
			} else {
				answers = append(answers, &SpentError{t.ledger.key, t.limit.Next(b, a.class, now)})
			}
		}
		return b
	})
	ended := err != nil && ctx.Err() != nil
	if err != nil && !ended && !errors.Is(err, errContended) { // the others would wait as long, one after another
		batch = append(batch, t.asked.next(math.MaxInt)...)
	}
	for i, a := range batch {
		switch {
		case err == nil:
			a.err = answers[i]
		case ended && a != own: // it is not theirs that has ended
			a.err = errAgain
		default:
			a.err = err
		}
		close(a.done)
	}
}

// pace waits until the record of a fast limit may be written again. It reports false if ctx ends before.
func (t *Tally) pace(ctx context.Context) bool {
	wait := t.ledger.untilWrite()
	if !t.limit.IsFast() || wait <= 0 || wait > writeInterval {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(wait):
		return true
	case <-ctx.Done():
		return false
	}
}
