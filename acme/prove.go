package acme

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// cleanUpTime bounds the clean-up, which has to be done also when the context has ended.
const cleanUpTime = time.Minute

// authorize proves control of all identifiers of a pending order and returns the order as it is then.
func (c *Client) authorize(ctx context.Context, r *Request, order *Order) (*Order, error) {
	authorizations, err := c.getAuthorizations(ctx, order)
	if err != nil {
		return nil, err
	}
	tasks, err := c.chooseSolvers(ctx, r.Solvers, order, authorizations)
	if err != nil {
		return nil, err
	}
	if len(tasks) > 0 {
		step := Step{Action: ActionPresent, OrderURL: order.URL}
		for _, task := range tasks {
			step.Proofs = append(step.Proofs, task.proof)
		}
		if err := r.before(ctx, step); err != nil {
			return nil, err
		}
		defer r.cleanUp(ctx, step.Proofs)
		if err := c.proveAll(ctx, tasks); err != nil {
			return nil, err
		}
	}
	return c.WaitOrder(ctx, order)
}

// A task is one proof to be given by one solver.
type task struct {
	solver        Solver
	proof         Proof
	authorization string // URL
	accepted      bool   // the CA has been told
}

// chooseSolvers returns a task for each authorization that is pending.
func (c *Client) chooseSolvers(ctx context.Context, solvers []Solver, order *Order, authorizations []*Authorization) ([]task, error) {
	account, err := c.kid(ctx)
	if err != nil {
		return nil, err
	}
	var tasks []task
	failed := &OrderError{URL: order.URL}
	for _, a := range authorizations {
		if failure := a.failure(); failure != nil {
			failed.Authorizations = append(failed.Authorizations, failure)
			continue
		}
		if a.Status != StatusPending {
			continue
		}
		solver, challenge := choose(solvers, a)
		if solver == nil {
			return nil, &OrderError{URL: order.URL, Err: noSolver(solvers, a)}
		}
		proof := Proof{Challenge: challenge, Identifier: a.Identifier, Wildcard: a.Wildcard, AccountURL: account, DirectoryURL: c.directoryURL()}
		if proof.Token != "" {
			if proof.KeyAuthorization, err = c.KeyAuthorization(proof.Token); err != nil {
				return nil, err
			}
		}
		// An earlier attempt may have told the CA already, which then looks for the answer at any time.
		tasks = append(tasks, task{solver, proof, a.URL, challenge.Status != StatusPending})
	}
	if len(failed.Authorizations) > 0 {
		return nil, failed
	}
	return tasks, nil
}

// choose returns the first solver that can answer one of the challenges, with that challenge.
func choose(solvers []Solver, a *Authorization) (Solver, Challenge) {
	for _, solver := range solvers {
		if !Supports(solver, a.Identifier, a.Wildcard) {
			continue
		}
		for _, challenge := range a.Challenges {
			if challenge.Type == solver.Type() {
				return solver, challenge
			}
		}
	}
	return nil, Challenge{}
}

func noSolver(solvers []Solver, a *Authorization) error {
	var offered, have []string
	for _, challenge := range a.Challenges {
		offered = append(offered, printable(challenge.Type, 40))
	}
	for _, solver := range solvers {
		have = append(have, solver.Type())
	}
	return fmt.Errorf("%s: no solver for any challenge that the CA offers (%s); the solvers are for: %s",
		printable(a.name(), 260), strings.Join(offered, ", "), strings.Join(have, ", "))
}

// proveAll puts all answers in place, waits until they can be seen, and tells the CA.
func (c *Client) proveAll(ctx context.Context, tasks []task) error {
	stages := []func(context.Context, task) error{
		func(ctx context.Context, t task) error { return t.solver.Present(ctx, t.proof) },
		func(ctx context.Context, t task) error { return waitPresented(ctx, t.solver, t.proof) },
		c.accept,
	}
	for _, stage := range stages {
		group, stageCtx := errgroup.WithContext(ctx)
		group.SetLimit(sideBySide)
		for _, t := range tasks {
			group.Go(func() error {
				if err := stage(stageCtx, t); err != nil {
					return fmt.Errorf("acme: %s: %s: %w", printable(t.proof.name(), 260), t.solver.Type(), inner{err})
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// accept tells the CA that an answer is in place, unless it was told before. Where it refuses, an
// earlier try may have reached it and only its answer was lost: then the order's outcome is what counts.
func (c *Client) accept(ctx context.Context, t task) error {
	if t.accepted {
		return nil
	}
	_, err := c.AcceptChallenge(ctx, t.proof.URL)
	if err == nil || ctx.Err() != nil {
		return err
	}
	a, getErr := c.GetAuthorization(ctx, t.authorization)
	if getErr != nil {
		return err
	}
	pending := func(other Challenge) bool { return other.URL == t.proof.URL && other.Status == StatusPending }
	if a.Status == StatusPending && slices.ContainsFunc(a.Challenges, pending) {
		return err
	}
	return nil
}

// cleanUp takes the answers away, also when ctx has ended.
func (r *Request) cleanUp(ctx context.Context, proofs []Proof) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for _, proof := range proofs {
		for _, solver := range r.Solvers {
			if solver.Type() != proof.Type {
				continue
			}
			group.Go(func() error {
				if err := solver.CleanUp(ctx, proof); err != nil && r.CleanUpFailed != nil {
					r.CleanUpFailed(proof, err)
				}
				return nil
			})
		}
	}
	_ = group.Wait()
}
