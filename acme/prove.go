package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the clean-up, which has to be done also when the context has ended.
const (
	cleanUpTime      = time.Minute
	cleanUpProofTime = 5 * time.Second // more for each answer: some providers take one after another
)

// authorize proves control of all identifiers of a pending order and returns the order as it is then.
func (c *Client) authorize(ctx context.Context, r *Request, order *Order) (*Order, error) {
	// There need not be one for each identifier, but many more are not what was ordered.
	if most := 2*len(r.Identifiers) + 10; len(order.Authorizations) > most {
		return nil, &OrderError{URL: order.URL, Err: fmt.Errorf("it has %d authorizations, more than %d", len(order.Authorizations), most)}
	}
	authorizations, err := c.getAuthorizations(ctx, order)
	if err != nil {
		return nil, err
	}
	tasks, err := c.chooseSolvers(ctx, r, order, authorizations)
	if err != nil {
		return nil, err
	}
	if len(tasks) == 0 {
		return c.WaitOrder(ctx, order)
	}
	step := Step{Action: ActionPresent, OrderURL: order.URL}
	for _, task := range tasks {
		step.Proofs = append(step.Proofs, task.proof)
	}
	if err := r.before(ctx, step); err != nil {
		return nil, err
	}
	r.Presented = slices.DeleteFunc(slices.Clone(r.Presented), func(p Proof) bool {
		return slices.ContainsFunc(step.Proofs, func(q Proof) bool { return p.URL == q.URL })
	})
	defer r.cleanUp(ctx, step.Proofs, presentedBy(tasks))
	if err := c.proveAll(ctx, tasks); err != nil {
		return nil, err
	}
	order, err = c.outcome(ctx, order, tasks)
	var unproved *AuthorizationError
	if errors.As(err, &unproved) && r.Explain != nil {
		if explained := r.Explain(ctx, err, slices.Clone(step.Proofs)); explained != nil {
			err = explained
		}
	}
	return order, err
}

// outcome returns the order once its validations have an outcome. A CA that validates while it answers has
// told that some failed, and may leave the order pending all the same.
func (c *Client) outcome(ctx context.Context, order *Order, tasks []*task) (*Order, error) {
	order.RetryAfter = 0
	over := false
	for _, task := range tasks {
		order.RetryAfter = max(order.RetryAfter, task.retryAfter)
		over = over || task.status == StatusInvalid
	}
	if over {
		if failed, _ := c.unprovedAuthorizations(ctx, order); len(failed) > 0 {
			return nil, &OrderError{URL: order.URL, Authorizations: failed}
		}
	}
	return c.WaitOrder(ctx, order)
}

// A task is one proof to be given by one solver.
type task struct {
	solver        Solver
	proof         Proof
	authorization string        // URL
	accepted      bool          // the CA has been told
	retryAfter    time.Duration // its answer: when to look for the outcome
	status        string        // its answer: the challenge's; empty: it was told before
}

// chooseSolvers returns a task for each authorization that is pending.
func (c *Client) chooseSolvers(ctx context.Context, r *Request, order *Order, authorizations []*Authorization) ([]*task, error) {
	// NewProof needs both; what it complains of then is the order's fault.
	if _, err := c.kid(ctx); err != nil {
		return nil, err
	}
	if _, err := c.GetDirectory(ctx); err != nil {
		return nil, err
	}
	var tasks []*task
	failed := &OrderError{URL: order.URL}
	for _, a := range authorizations {
		if failure := a.failure(); failure != nil {
			failed.Authorizations = append(failed.Authorizations, failure)
			continue
		}
		if a.Status != StatusPending {
			continue
		}
		solver, proof, err := c.choose(ctx, r, a)
		if err != nil {
			return nil, &OrderError{URL: order.URL, Err: err}
		}
		// An earlier attempt may have told the CA already, which then looks for the answer at any time.
		accepted := proof.Status == StatusProcessing || proof.Status == StatusValid
		tasks = append(tasks, &task{solver: solver, proof: proof, authorization: a.URL, accepted: accepted})
	}
	if len(failed.Authorizations) > 0 {
		return nil, failed
	}
	return tasks, nil
}

// choose returns the first solver that can answer one of the challenges, with the proof to answer by. It
// answers for nothing that was not ordered.
func (c *Client) choose(ctx context.Context, r *Request, a *Authorization) (Solver, Proof, error) {
	if !r.ordered(a) {
		return nil, Proof{}, fmt.Errorf("an authorization is for %.260q, which was not ordered", a.name())
	}
	var unusable error
	for _, solver := range r.Solvers {
		if !Supports(solver, a.Identifier, a.Wildcard) {
			continue
		}
		for _, challenge := range a.Challenges {
			if challenge.Type != solver.Type() || challenge.URL == "" {
				continue
			}
			proof, err := c.NewProof(ctx, a, challenge)
			if err == nil {
				return solver, proof, nil
			}
			unusable = cmp.Or(unusable, err)
		}
	}
	return nil, Proof{}, cmp.Or(unusable, noSolver(r.Solvers, a))
}

// ordered reports whether the authorization is for one of the identifiers, or a domain above it that may
// stand for it.
func (r *Request) ordered(a *Authorization) bool {
	return slices.ContainsFunc(r.Identifiers, func(id Identifier) bool {
		if id.Type != a.Identifier.Type {
			return false
		}
		if id.Value == a.name() {
			return true
		}
		ancestor, proved := id.AncestorDomain, a.Identifier.Value
		return ancestor != "" && isSubdomain(id.Value, proved) && (proved == ancestor || isSubdomain(proved, ancestor))
	})
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
func (c *Client) proveAll(ctx context.Context, tasks []*task) error {
	present := func(ctx context.Context, t *task) error { return t.solver.Present(ctx, t.proof) }
	wait := func(ctx context.Context, t *task) error { return waitPresented(ctx, t.solver, t.proof) }
	for _, stage := range []func(context.Context, *task) error{present, wait} {
		group, stageCtx := errgroup.WithContext(ctx)
		if err := eachTask(group, tasks, func(t *task) error { return stage(stageCtx, t) }); err != nil {
			return err
		}
	}
	err := eachTask(new(errgroup.Group), tasks, func(t *task) error { return c.accept(ctx, t) })
	if err != nil {
		c.settle(ctx, tasks)
	}
	return err
}

// eachTask calls f for the tasks side by side and returns an error of one of them.
func eachTask(group *errgroup.Group, tasks []*task, f func(*task) error) error {
	group.SetLimit(sideBySide)
	for _, t := range tasks {
		group.Go(func() error {
			if err := f(t); err != nil {
				return fmt.Errorf("acme: %s: %s: %w", printable(t.proof.name(), 260), t.solver.Type(), inner{err})
			}
			return nil
		})
	}
	return group.Wait()
}

// settle waits a while for the validations that have begun, where another was refused: their answers are not
// to be taken away under the CA's eyes, which would count as failures.
func (c *Client) settle(ctx context.Context, tasks []*task) {
	const settleTime = 30 * time.Second
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_ = eachTask(new(errgroup.Group), tasks, func(t *task) error {
		if t.status == "" {
			return nil
		}
		_, err := c.WaitAuthorization(ctx, t.authorization)
		return err
	})
}

// accept tells the CA that an answer is in place, unless it was told before. Where it refuses, an
// earlier try may have reached it and only its answer was lost: then the order's outcome is what counts.
func (c *Client) accept(ctx context.Context, t *task) error {
	if t.accepted {
		return nil
	}
	answer, err := payload(ctx, t.solver, t.proof)
	if err != nil {
		return err
	}
	challenge, err := c.AcceptChallenge(ctx, t.proof.URL, answer)
	if err == nil {
		t.retryAfter, t.status = challenge.RetryAfter, challenge.Status
		return nil
	}
	if ctx.Err() != nil {
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

// presentedBy returns which solver has presented a proof of the tasks.
func presentedBy(tasks []*task) func(Proof) []Solver {
	return func(p Proof) []Solver {
		for _, t := range tasks {
			if t.proof.URL == p.URL {
				return []Solver{t.solver}
			}
		}
		return nil
	}
}

// able returns the solvers that may have presented a proof in an earlier attempt.
func (r *Request) able(p Proof) []Solver {
	var solvers []Solver
	for _, s := range r.Solvers {
		if s.Type() == p.Type && Supports(s, p.Identifier, p.Wildcard) {
			solvers = append(solvers, s)
		}
	}
	return solvers
}

// cleanUp takes the answers away, also when ctx has ended.
func (r *Request) cleanUp(ctx context.Context, proofs []Proof, by func(Proof) []Solver) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTime+time.Duration(len(proofs))*cleanUpProofTime)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for _, proof := range proofs {
		solvers := by(proof)
		if len(solvers) == 0 && r.CleanUpFailed != nil {
			r.CleanUpFailed(proof, fmt.Errorf("acme: no solver is for %s any more", printable(proof.Type, 40)))
		}
		for _, solver := range solvers {
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
