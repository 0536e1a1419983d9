package acme

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Bounds of the clean-up, which has to be done also when the context has ended.
const (
	cleanUpTimeout         = time.Minute
	cleanUpTimeoutPerProof = 5 * time.Second // more for each answer: some providers take one after another
)

// authorize proves control of all identifiers of a pending order and returns the order as it is then.
func (i *issuance) authorize(ctx context.Context, order *Order) (*Order, error) {
	r := i.request
	if limit := maxAuthorizationsFor(len(r.Identifiers)); len(order.Authorizations) > limit {
		return nil, &OrderError{URL: order.URL, Err: fmt.Errorf("it has %d authorizations, more than %d", len(order.Authorizations), limit)}
	}
	authorizations, err := i.client.getAuthorizations(ctx, order.Authorizations)
	if err != nil {
		return nil, err
	}
	if err := i.chooseSolvers(ctx, order, authorizations); err != nil {
		return nil, err
	}
	if len(i.tasks) == 0 {
		return i.until(ctx, order)
	}
	step := Step{Action: ActionPresent, OrderURL: order.URL}
	for _, task := range i.tasks {
		step.Proofs = append(step.Proofs, task.proof)
	}
	if err := r.before(ctx, step); err != nil {
		return nil, err
	}
	r.Presented = slices.DeleteFunc(slices.Clone(r.Presented), func(p Proof) bool {
		return slices.ContainsFunc(step.Proofs, func(q Proof) bool { return p.URL == q.URL })
	})
	defer r.cleanUp(ctx, step.Proofs, presentedBy(i.tasks))
	defer func() { i.tasks = nil }() // their answers are taken away
	if err := i.present(ctx); err != nil {
		return nil, err
	}
	if err := i.accept(ctx, order.URL); err != nil {
		return nil, err
	}
	order, err = i.outcome(ctx, order)
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
func (i *issuance) outcome(ctx context.Context, order *Order) (*Order, error) {
	order.RetryAfter = 0
	over := false
	for _, task := range i.tasks {
		order.RetryAfter = max(order.RetryAfter, task.retryAfter)
		over = over || task.refused
	}
	if over {
		err := i.check(ctx, order)
		if _, failed := errors.AsType[*OrderError](err); err != nil && !failed {
			i.settle(ctx) // the order is good still
		}
		if err != nil {
			return nil, err
		}
	}
	return i.until(ctx, order)
}

// chooseSolvers makes a task for each authorization that is pending.
func (i *issuance) chooseSolvers(ctx context.Context, order *Order, authorizations []*Authorization) error {
	// NewProof needs both; what it complains of then is the order's fault.
	if _, err := i.client.kid(ctx); err != nil {
		return err
	}
	if _, err := i.client.GetDirectory(ctx); err != nil {
		return err
	}
	failed := &OrderError{URL: order.URL}
	for _, a := range authorizations {
		if failure := a.failure(); failure != nil {
			failed.Authorizations = append(failed.Authorizations, failure)
			continue
		}
		if a.Status != StatusPending {
			continue
		}
		task, err := i.choose(ctx, a)
		if _, hindered := errors.AsType[*SolverError](err); hindered {
			return err // the order is good still
		}
		if err != nil {
			return &OrderError{URL: order.URL, Err: err}
		}
		i.tasks = append(i.tasks, task)
	}
	if len(failed.Authorizations) > 0 {
		return failed
	}
	return nil
}

// choose returns a task for the first solver that can answer one of the challenges. It answers for nothing that
// was not ordered.
func (i *issuance) choose(ctx context.Context, a *Authorization) (*task, error) {
	a = i.request.asOrdered(a)
	if !i.request.ordered(a) {
		return nil, fmt.Errorf("an authorization is for %.260q, which was not ordered", a.name())
	}
	var unusable error
	for _, solver := range i.request.Solvers {
		able, err := supports(solver, a.Identifier, a.Wildcard)
		if err != nil {
			failed := Proof{Challenge: Challenge{Type: solver.Type()}, Identifier: a.Identifier, Wildcard: a.Wildcard}
			return nil, &SolverError{Proof: failed, Err: err}
		}
		if !able {
			continue
		}
		for _, challenge := range a.Challenges {
			if challenge.Type != solver.Type() {
				continue
			}
			proof, err := i.client.NewProof(ctx, a, challenge)
			if challenge.URL == "" {
				err = fmt.Errorf("%s: the CA's challenge %s can't be read, or has no URL", printable(a.name(), 260), printable(challenge.Type, 40))
			}
			if err == nil {
				return newTask(solver, proof, challenge), nil
			}
			unusable = cmp.Or(unusable, err)
		}
	}
	return nil, cmp.Or(unusable, noSolver(i.request.Solvers, a))
}

// asOrdered returns the authorization with its identifier in the form in which it was ordered: an authorization
// need not say again what the order has said.
func (r *Request) asOrdered(a *Authorization) *Authorization {
	ordered := *a
	ordered.Identifier.Value = a.Identifier.canonical().Value
	names := func(id Identifier) bool { return id.Type == TypeDNS && id.Value == ordered.Identifier.Value }
	wildcard := func(id Identifier) bool { return id.Type == TypeDNS && id.Value == "*."+ordered.Identifier.Value }
	if !a.Wildcard && !slices.ContainsFunc(r.Identifiers, names) && slices.ContainsFunc(r.Identifiers, wildcard) {
		ordered.Wildcard = true
	}
	return &ordered
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
		if challenge.Type != "" {
			offered = append(offered, printable(challenge.Type, 40))
		}
	}
	for _, solver := range solvers {
		have = append(have, solver.Type())
	}
	return fmt.Errorf("%s: no solver for any challenge that the CA offers (%s); the solvers are for: %s",
		printable(a.name(), 260), cmp.Or(strings.Join(offered, ", "), "none"), cmp.Or(strings.Join(have, ", "), "none"))
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
		if s.Type() != p.Type {
			continue
		}
		if able, err := supports(s, p.Identifier, p.Wildcard); able || err != nil {
			solvers = append(solvers, s)
		}
	}
	return solvers
}

// cleanUp takes the answers away, also when ctx has ended.
func (r *Request) cleanUp(ctx context.Context, proofs []Proof, by func(Proof) []Solver) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUpTimeout+time.Duration(len(proofs))*cleanUpTimeoutPerProof)
	defer cancel()
	type failure struct {
		proof Proof
		err   error
	}
	var mu sync.Mutex
	var failures []failure // guarded by mu
	failed := func(p Proof, err error) {
		mu.Lock()
		defer mu.Unlock()
		failures = append(failures, failure{p, err})
	}
	var group errgroup.Group
	group.SetLimit(sideBySide)
	for _, proof := range proofs {
		solvers := by(proof)
		if len(solvers) == 0 {
			failed(proof, fmt.Errorf("acme: no solver is for %s any more", printable(proof.Type, 40)))
		}
		for _, solver := range solvers {
			group.Go(func() error {
				if err := cleanUp(ctx, solver, proof); err != nil {
					failed(proof, err)
				}
				return nil
			})
		}
	}
	_ = group.Wait()
	if r.CleanUpFailed == nil {
		return
	}
	for _, f := range failures { // here, so that a panic is one in the caller's goroutine
		r.CleanUpFailed(f.proof, f.err)
	}
}
