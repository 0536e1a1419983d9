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
	if len(tasks) > 0 {
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
func (c *Client) chooseSolvers(ctx context.Context, r *Request, order *Order, authorizations []*Authorization) ([]task, error) {
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
		solver, challenge, err := r.choose(a)
		if err != nil {
			return nil, &OrderError{URL: order.URL, Err: err}
		}
		// An earlier attempt may have told the CA already, which then looks for the answer at any time.
		t := task{solver: solver, authorization: a.URL, accepted: challenge.Status == StatusProcessing || challenge.Status == StatusValid}
		challenge.Error = nil // nothing an answer needs
		t.proof = Proof{Challenge: challenge, Identifier: a.Identifier, Wildcard: a.Wildcard, AccountURL: account, DirectoryURL: c.directoryURL()}
		if challenge.Token != "" {
			if t.proof.KeyAuthorization, err = c.KeyAuthorization(challenge.Token); err != nil {
				return nil, err
			}
		}
		tasks = append(tasks, t)
	}
	if len(failed.Authorizations) > 0 {
		return nil, failed
	}
	return tasks, nil
}

// choose returns the first solver that can answer one of the challenges, with that challenge. What a
// solver is given may end in a file's name or a zone: it is of the order, and a token is a token.
func (r *Request) choose(a *Authorization) (Solver, Challenge, error) {
	const longestToken = 512
	if !slices.Contains(r.Identifiers, Identifier{Type: a.Identifier.Type, Value: a.name()}) {
		return nil, Challenge{}, fmt.Errorf("an authorization is for %q, which was not ordered", printable(a.name(), 260))
	}
	for _, solver := range r.Solvers {
		if !Supports(solver, a.Identifier, a.Wildcard) {
			continue
		}
		for _, challenge := range a.Challenges {
			if challenge.Type != solver.Type() {
				continue
			}
			tokenless := challenge.Type != TypeHTTP01 && challenge.Type != TypeTLSALPN01 && challenge.Type != TypeDNS01 && challenge.Type != TypeDNSAccount01 && challenge.Token == ""
			if !tokenless && (len(challenge.Token) > longestToken || !isBase64URL(challenge.Token)) {
				return nil, Challenge{}, fmt.Errorf("%s: the token %q of %s is not base64url", printable(a.name(), 260), printable(challenge.Token, 60), challenge.Type)
			}
			return solver, challenge, nil
		}
	}
	return nil, Challenge{}, noSolver(r.Solvers, a)
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
			if solver.Type() != proof.Type || !Supports(solver, proof.Identifier, proof.Wildcard) {
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
