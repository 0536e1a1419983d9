package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// WaitOrder polls the order until its status is no longer the one it has in order, and returns it
// then; a valid one at once. It asks as often as the CA wants (Retry-After), or else after 100 ms and then
// ever less often, to every 5 s; if the CA wants to be asked only after the context's deadline it
// returns at once.
//
// An order that becomes invalid, or stays pending though a challenge of it has failed, is an
// [*OrderError] that says which identifiers failed and why. If the deadline comes first and the CA has told
// what keeps it from validating, an [*AuthorizationError] is found in the error.
func (c *Client) WaitOrder(ctx context.Context, order *Order) (*Order, error) {
	return (&orderWait{client: c, maxKnown: maxAuthorizations}).until(ctx, order)
}

const (
	// checkPolls is after how many polls of a pending order its challenges are checked.
	checkPolls = 5
	// acceptAgainAfter is when a challenge that the CA seems to have forgotten is accepted once more: CAs take
	// about ten seconds to fail for want of an answer.
	acceptAgainAfter = 50 * time.Second
	// maxPollInterval bounds what a CA can ask for between two polls: one that is asked each hour is not overrun,
	// and an order that is polled once a week is never done.
	maxPollInterval = time.Hour
	// maxProcessing is how long a CA may process an order. Some never finish: they lost their memory of it.
	maxProcessing = 45 * time.Minute
)

// An orderWait polls one order, as often as it has to be waited for.
type orderWait struct {
	client      *Client
	known       []string  // URLs of all authorizations that the CA has ever named for the order
	maxKnown    int       // URLs
	earlier     []string  // URLs of authorizations of this order, or one before it, that answers were presented for
	tasks       []*task   // whose answers are published
	finalizedAt time.Time // zero: not known

	began      time.Time
	polls      int
	hindrances []*AuthorizationError // what kept the CA from validating, as last seen
}

// until waits until the order's status is another.
func (w *orderWait) until(ctx context.Context, order *Order) (*Order, error) {
	w.know(order.Authorizations)
	switch order.Status {
	case StatusValid:
		return order, nil
	case StatusInvalid:
		return nil, w.invalid(ctx, order)
	}
	w.began, w.polls, w.hindrances = time.Now(), 0, nil
	asked := order.RetryAfter
	for failures := 0; ; w.polls++ {
		if order.Status == StatusProcessing && !w.finalizedAt.IsZero() && time.Since(w.finalizedAt) > maxProcessing {
			return nil, &OrderError{URL: order.URL, Err: fmt.Errorf("it is given up: the CA processes it since %s", w.finalizedAt.UTC().Format(time.RFC3339))}
		}
		if err := pausePoll(ctx, w.polls, asked); err != nil {
			return nil, w.late(ctx, order, err)
		}
		current, err := w.client.GetOrder(ctx, order.URL)
		if err != nil {
			if failures++; !passing(ctx, err) || failures > maxTries {
				return nil, err
			}
			asked = askedBy(err)
			continue
		}
		failures, asked = 0, current.RetryAfter
		w.know(current.Authorizations)
		if current.Status == StatusInvalid {
			return nil, w.invalid(ctx, current)
		}
		if isLater(current.Status, order.Status) || current.Status != order.Status && w.polls >= checkPolls {
			return current, nil
		}
		if current.Status == StatusPending && w.polls > 0 && w.polls%checkPolls == 0 {
			if err := w.check(ctx, current); err != nil {
				return nil, err
			}
			w.acceptAgain(ctx)
		}
	}
}

// know notes URLs of authorizations. CAs are known to drop those that failed from an invalid order.
func (w *orderWait) know(urls []string) {
	for _, url := range urls {
		if len(w.known) < w.maxKnown && !slices.Contains(w.known, url) {
			w.known = append(w.known, url)
		}
	}
}

// check returns why a pending order will stay so, or nil if that does not show: challenges have failed,
// or wait to be accepted once more.
func (w *orderWait) check(ctx context.Context, order *Order) error {
	// What can't be fetched does not keep the others from being told.
	authorizations, _ := w.client.getAuthorizations(ctx, w.known)
	failed, hindered := unproved(authorizations)
	if len(failed) > 0 {
		return &OrderError{URL: order.URL, Problem: order.Error, Authorizations: failed}
	}
	if len(hindered) > 0 {
		return fmt.Errorf("acme: wait for the order, which is pending: accept again: %w", authorizationErrors(hindered))
	}
	w.hindrances = nil
	for _, a := range authorizations {
		if a == nil {
			continue
		}
		if hindrance := a.hindrance(StatusProcessing); hindrance != nil {
			w.hindrances = append(w.hindrances, hindrance)
		}
		for _, t := range w.tasks {
			t.forgotten = t.forgotten || t.seemsForgotten(a, time.Now())
		}
	}
	return nil
}

// acceptAgain accepts once more the challenges that the CA has forgotten.
func (w *orderWait) acceptAgain(ctx context.Context) {
	for _, t := range w.tasks {
		if t.forgotten {
			t.forgotten, t.acceptedAt = false, time.Time{} // once
			// If that fails, the order's outcome tells.
			_, _ = w.client.AcceptChallenge(ctx, t.proof.URL, t.answer)
		}
	}
}

// late returns the error for a wait that the context ends: with what the CA has told by then, also if it keeps trying
// by itself.
func (w *orderWait) late(ctx context.Context, order *Order, err error) error {
	if order.Status == StatusPending && ctx.Err() == nil {
		if err := w.check(ctx, order); err != nil {
			return err
		}
	}
	waited := time.Since(w.began)
	if later, ok := errors.AsType[*RetryAfterError](err); ok && w.polls > 0 && later.RetryAfter <= time.Minute {
		err = context.DeadlineExceeded // which is what ended it: the CA was asked all the time
	}
	err = fmt.Errorf("acme: wait for the order, which is %s after %d polls in %v: %w", cmp.Or(order.Status, "of no known status"), w.polls, waited.Round(time.Second), err)
	if len(w.hindrances) > 0 {
		err = fmt.Errorf("%w: the CA keeps trying: %w", err, authorizationErrors(w.hindrances))
	}
	return err
}

// invalid returns the error for an order that the CA calls invalid.
func (w *orderWait) invalid(ctx context.Context, order *Order) error {
	failed := &OrderError{URL: order.URL, Problem: order.Error}
	for _, urls := range [][]string{w.known, w.earlier} {
		authorizations, _ := w.client.getAuthorizations(ctx, urls)
		failed.Authorizations, _ = unproved(authorizations)
		if failed.Problem != nil || len(failed.Authorizations) > 0 {
			return failed
		}
	}
	failed.Err = errors.New("it is invalid, and the CA does not tell why")
	return failed
}

// isLater reports whether the order advances from the earlier status to the other. If it does not, a
// replica of the CA may have answered that lags behind.
func isLater(status, earlier string) bool {
	course := []string{StatusPending, StatusReady, StatusProcessing, StatusValid}
	return slices.Index(course, status) > slices.Index(course, earlier)
}

// passing reports whether a poll that failed may do better when repeated.
func passing(ctx context.Context, err error) bool {
	problem, refused := errors.AsType[*Problem](err)
	return ctx.Err() == nil && !(refused && problem.final())
}

// askedBy returns the wait that the CA asks for if it refused a poll, or zero.
func askedBy(err error) time.Duration {
	if problem, ok := errors.AsType[*Problem](err); ok {
		return problem.RetryAfter
	}
	return 0
}

// pausePoll waits before the n-th poll. It returns a *RetryAfterError when the CA asks for a wait that would end
// after the deadline.
func pausePoll(ctx context.Context, n int, asked time.Duration) error {
	asked = min(asked, maxPollInterval)
	err := pause(ctx, pollInterval(n, asked))
	if asked > 0 && errors.Is(err, context.DeadlineExceeded) {
		return &RetryAfterError{asked}
	}
	return err
}

// pollInterval returns how long to wait before the n-th poll, counted from 0, when the CA asked for a
// certain wait or, with zero, did not.
func pollInterval(n int, asked time.Duration) time.Duration {
	const minInterval, maxInterval = 100 * time.Millisecond, 5 * time.Second
	if asked > 0 {
		return max(asked, minInterval)
	}
	d := min(minInterval<<min(n, 10), maxInterval)
	return d - d/10 + rand.N(d/5)
}
