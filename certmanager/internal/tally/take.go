package tally

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
)

const (
	writeInterval = time.Second     // between two writes of one process for a fast limit
	sparePeriod   = 5 * time.Second // for which a process keeps what it does not use
	usualBatch    = 16              // tokens of a fast limit that are taken at once, at most; of large ones a twentieth
)

// An asking is that of one who wants a token.
type asking struct {
	class budget.Class
	done  chan struct{} // closed when err is set
	err   error
}

// spare are tokens that were taken and given back.
type spare struct {
	tokens int
	since  time.Time // when the last was given back
}

func (s *spare) add(now time.Time) {
	if now.Sub(s.since) >= sparePeriod {
		s.tokens = 0
	}
	s.tokens, s.since = s.tokens+1, now
}

// take reports whether there was one.
func (s *spare) take(now time.Time) bool {
	if s.tokens == 0 || now.Sub(s.since) >= sparePeriod {
		return false
	}
	s.tokens--
	return true
}

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
	a := t.ask(class)
	for {
		select {
		case <-a.done:
			return a.err
		default:
		}
		select {
		case <-a.done:
			return a.err
		case t.turn <- struct{}{}:
			t.grant(ctx, a)
			<-t.turn
		case <-ctx.Done():
		}
		if ctx.Err() == nil {
			continue
		}
		if t.withdraw(a) {
			return context.Cause(ctx)
		}
		<-a.done // another is at it
	}
}

func (t *Tally) ask(class budget.Class) *asking {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := &asking{class: class, done: make(chan struct{})}
	if t.spare.take(time.Now()) {
		close(a.done)
	} else {
		t.asked = append(t.asked, a)
	}
	return a
}

// withdraw reports whether the asking was not answered, and will not be.
func (t *Tally) withdraw(a *asking) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.asked, a)
	if i >= 0 {
		t.asked = slices.Delete(t.asked, i, i+1)
	}
	return i >= 0
}

// grant answers those who ask at the moment, the most urgent first, the one who calls it among them if its turn has come.
func (t *Tally) grant(ctx context.Context, own *asking) {
	if !t.pace(ctx) {
		return
	}
	batch := t.batch()
	var answers []error
	err := t.change(ctx, func(b budget.Bucket, now time.Time) budget.Bucket {
		answers = answers[:0]
		for _, a := range batch {
			if t.limit.Room(b, a.class, now) > 0 {
				b = t.limit.Take(b, 1, now)
				answers = append(answers, nil)
			} else {
				answers = append(answers, &SpentError{t.key, t.limit.Next(b, a.class, now)})
			}
		}
		return b
	})
	ended := err != nil && ctx.Err() != nil
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil && !ended && !errors.Is(err, errContended) { // the others would wait as long, one after another
		batch = append(batch, t.asked...)
		t.asked = nil
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
	t.mu.Lock()
	wait := writeInterval - time.Since(t.written)
	t.mu.Unlock()
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

// batch returns those to be answered next.
func (t *Tally) batch() []*asking {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.SortStableFunc(t.asked, func(a, b *asking) int { return int(b.class) - int(a.class) })
	n := 1
	if t.limit.IsFast() {
		n = max(usualBatch, t.limit.Count/20)
	}
	n = min(n, len(t.asked))
	batch := slices.Clone(t.asked[:n])
	t.asked = slices.Delete(t.asked, 0, n)
	return batch
}
