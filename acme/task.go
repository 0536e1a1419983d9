package acme

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// A task is one proof to be given by one solver.
type task struct {
	solver Solver
	proof  Proof
	before *Problem // what the CA had to say of the challenge beforehand

	presented  bool            // its answer is published
	accepted   bool            // by an earlier attempt: the CA may validate at any time
	answer     json.RawMessage // that the CA was sent; nil: an empty object
	acceptedAt time.Time       // when the CA was told; zero: it was told before, or twice
	retryAfter time.Duration   // its answer: when to poll for the outcome
	begun      bool            // its answer: it will validate
	refused    bool            // its answer: it has validated, in vain
	forgotten  bool            // as the CA was seen to do
}

func newTask(s Solver, p Proof, challenge Challenge) *task {
	return &task{solver: s, proof: p, before: challenge.Error,
		accepted: challenge.Status == StatusProcessing || challenge.Status == StatusValid}
}

// note takes from the CA's answer what to expect. One that validates while it answers has put a challenge that
// it could not validate back to pending, with a fresh error.
func (t *task) note(challenge *Challenge) {
	t.acceptedAt, t.retryAfter = time.Now(), challenge.RetryAfter
	fresh := challenge.Error.says() && (t.before == nil || challenge.Error.Error() != t.before.Error())
	t.refused = challenge.Status == StatusInvalid || challenge.Status == StatusPending && fresh
	t.begun = !t.refused
}

// seemsForgotten reports whether the CA seems to have lost that the challenge was accepted: it is pending, as the CA
// answered it then, a while later and without a word.
func (t *task) seemsForgotten(a *Authorization, now time.Time) bool {
	if t.acceptedAt.IsZero() || now.Sub(t.acceptedAt) < acceptAgainAfter || a.URL != t.proof.AuthorizationURL || a.Status != StatusPending {
		return false
	}
	return slices.ContainsFunc(a.Challenges, func(challenge Challenge) bool {
		return challenge.URL == t.proof.URL && challenge.Status == StatusPending && !challenge.Error.says()
	})
}

// present publishes the answers and waits until the CA can be expected to see them.
func (i *issuance) present(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	err := eachTask(group, i.tasks, func(t *task) error {
		err := present(groupCtx, t.solver, t.proof)
		t.presented = err == nil
		return t.failed(err)
	})
	if err != nil {
		return err
	}
	group, groupCtx = errgroup.WithContext(ctx)
	return eachTask(group, i.tasks, func(t *task) error { return t.failed(waitPresented(groupCtx, t.solver, t.proof)) })
}

// failed returns the error of the task's solver.
func (t *task) failed(err error) error {
	if err == nil {
		return nil
	}
	return &SolverError{Proof: t.proof, Presented: t.presented, Err: err}
}

// accept tells the CA of the answers that it was not told of before.
func (i *issuance) accept(ctx context.Context, orderURL string) error {
	step := Step{Action: ActionAccept, OrderURL: orderURL}
	for _, t := range i.tasks {
		if !t.accepted {
			step.Proofs = append(step.Proofs, t.proof)
		}
	}
	if len(step.Proofs) == 0 {
		return nil
	}
	if err := i.request.before(ctx, step); err != nil {
		return err
	}
	err := eachTask(new(errgroup.Group), i.tasks, func(t *task) error { return i.client.accept(ctx, t) })
	if err != nil {
		i.settle(ctx)
	}
	return err
}

// eachTask calls f for the tasks side by side and returns an error of one of them.
func eachTask(group *errgroup.Group, tasks []*task, f func(*task) error) error {
	group.SetLimit(sideBySide)
	for _, t := range tasks {
		group.Go(func() error { return f(t) })
	}
	return group.Wait()
}

// settle waits a while for the validations that have begun, if another was refused: their answers are not
// to be taken away under the CA's eyes, which would count as failures.
func (i *issuance) settle(ctx context.Context) {
	const settleTimeout = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	_ = eachTask(new(errgroup.Group), i.tasks, func(t *task) error {
		if !t.begun {
			return nil
		}
		_, err := i.client.WaitAuthorization(ctx, t.proof.AuthorizationURL)
		return err
	})
}

// accept tells the CA that an answer is published, unless it was told before. If it refuses, an earlier try may have
// reached it and only its answer was lost: then the order's outcome is what counts.
func (c *Client) accept(ctx context.Context, t *task) error {
	if t.accepted {
		return nil
	}
	var err error
	if t.answer, err = payload(ctx, t.solver, t.proof); err != nil {
		return t.failed(err)
	}
	challenge, err := c.AcceptChallenge(ctx, t.proof.URL, t.answer)
	if err == nil {
		t.note(challenge)
		return nil
	}
	refused := fmt.Errorf("acme: %s%w", about(t.proof.name(), t.proof.Type), inner{err})
	if ctx.Err() != nil {
		return refused
	}
	a, getErr := c.GetAuthorization(ctx, t.proof.AuthorizationURL)
	if getErr != nil {
		return refused
	}
	pending := func(other Challenge) bool { return other.URL == t.proof.URL && other.Status == StatusPending }
	if a.Status == StatusPending && slices.ContainsFunc(a.Challenges, pending) {
		return refused
	}
	return nil
}
