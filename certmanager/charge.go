package certmanager

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/tally"
)

// A charge is what an order has cost of the budgets. The zero value is nothing.
type charge struct {
	purses []purse
}

// take takes what an order costs, or nothing: the error is a *spentError then, or that of the storage. Of names that have
// failed, it is seen first whether they may fail once more.
func (b *budgets) take(ctx context.Context, w waiter, hasFailed bool) (charge, error) {
	if hasFailed && !b.isExempt(w) {
		for _, p := range b.ofFailures(w.identifiers) {
			if err := p.Refresh(ctx); err != nil {
				return charge{}, storageFailure(err)
			}
			now := time.Now()
			if p.waiter = (tally.Waiter{Class: w.Class, Alone: true}); p.Next(p.waiter, now).After(now) {
				return charge{}, p.spent(now)
			}
		}
	}
	var c charge
	for _, p := range b.costs(w) {
		err := p.Take(ctx, w.Class)
		if err == nil {
			p.giveBack = p.GiveBack(time.Now()) // not of a time before it was taken: it might not come back
			c.purses = append(c.purses, p)
			continue
		}
		c.giveBack(ctx, func(*purse) bool { return true })
		if errors.As(err, new(*tally.SpentError)) {
			p.waiter = w.Waiter
			p.waiter.Waited = w.last != nil && w.last.key == p.key
			return charge{}, p.spent(time.Now())
		}
		return charge{}, storageFailure(err)
	}
	return c, nil
}

// giveBack gives back what was taken, as far as it is unused. What the storage does not take is lost, and comes back as all
// does.
func (c *charge) giveBack(ctx context.Context, isUnused func(*purse) bool) {
	settleEach(ctx, c.purses, func(ctx context.Context, p *purse) error {
		if isUnused(p) {
			return p.giveBack(ctx)
		}
		return nil
	})
	c.purses = nil
}

// settleEach calls f for one purse after another, also when ctx has ended. It gives up the rest when one fails for long: a
// storage that does not answer is not waited for once for each.
func settleEach(ctx context.Context, purses []purse, f func(context.Context, *purse) error) {
	_ = attend(ctx, endPatience, func(ctx context.Context) (err error) {
		for len(purses) > 0 && err == nil {
			if err = f(ctx, &purses[0]); err == nil {
				purses = purses[1:]
			}
		}
		return err
	})
}

// A failedOrder is an order that has come to no certificate.
type failedOrder struct {
	identifiers []acme.Identifier
	err         error
	ordered     bool // the CA has made it
	finalized   bool // the CA was asked for the certificate, and may have issued it
}

// settle sees to the budgets after an order has failed: what the CA did not count is given back, what it did is counted, and
// what it says of a limit holds for all.
func (b *budgets) settle(ctx context.Context, c *charge, f failedOrder) {
	err, ordered := f.err, f.ordered
	limited, isLimit := b.limitOf(err, f.identifiers)
	if isLimit {
		if wait := retryAfter(err); wait > 0 {
			until := time.Now().Add(wait)
			_ = attend(ctx, endPatience, func(ctx context.Context) error { return limited.Correct(ctx, until) })
		}
	}
	_, refused := errors.AsType[*acme.Problem](err)
	refused = refused && !acme.IsOutage(err) && !ordered
	dead := ordered && !f.finalized && isOfOrder(err)
	c.giveBack(ctx, func(p *purse) bool {
		switch {
		case isLimit && p.key == limited.key:
			return false
		case p.which == newOrders:
			return refused // without a word, the order may have been made
		}
		return dead || !ordered
	})
	settleEach(ctx, b.ofFailures(failedIdentifiers(err)), func(ctx context.Context, p *purse) error { return p.Count(ctx) })
}

// failedIdentifiers returns those whose validation the CA has failed.
func failedIdentifiers(err error) (failed []acme.Identifier) {
	switch e := err.(type) {
	case nil:
		return nil
	case *acme.AuthorizationError:
		if e.Problem == nil && e.Status != acme.StatusInvalid {
			return nil
		}
		return []acme.Identifier{{Type: acme.TypeDNS, Value: e.Identifier}}
	case interface{ Unwrap() error }:
		return failedIdentifiers(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			for _, id := range failedIdentifiers(err) {
				if !slices.Contains(failed, id) {
					failed = append(failed, id)
				}
			}
		}
	}
	return failed
}

// takeAccount takes what a new account costs.
func (b *budgets) takeAccount(ctx context.Context) (charge, error) {
	p, counted := b.purse(newAccounts, "", "")
	if !counted {
		return charge{}, nil
	}
	switch err := p.Take(ctx, budget.Urgent); {
	case errors.As(err, new(*tally.SpentError)):
		p.waiter = tally.Waiter{Class: budget.Urgent, Alone: true}
		return charge{}, p.spent(time.Now())
	case err != nil:
		return charge{}, storageFailure(err)
	}
	p.giveBack = p.GiveBack(time.Now())
	return charge{[]purse{p}}, nil
}

// settleAccount sees to the budget after the CA has refused to make an account.
func (b *budgets) settleAccount(ctx context.Context, c *charge, err error) {
	problem, _ := errors.AsType[*acme.Problem](err)
	isLimit := problem.Type == acme.ErrRateLimited && countableOf(problem.Detail) == newAccounts
	if wait := retryAfter(err); isLimit && wait > 0 && len(c.purses) > 0 {
		until := time.Now().Add(wait)
		_ = attend(ctx, endPatience, func(ctx context.Context) error { return c.purses[0].Correct(ctx, until) })
	}
	c.giveBack(ctx, func(*purse) bool { return !isLimit })
}
