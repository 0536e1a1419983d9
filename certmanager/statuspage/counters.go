package statuspage

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/everseal/everseal/certmanager"
)

// maxAllowances bounds the budgets in the page; the rest is in the JSON.
const maxAllowances = 12

// An allowance is a budget as the page shows it.
type allowance struct {
	Name, CA    string
	Left, Count int
	Next        moment // zero: nothing is missing
}

// Allowances are the budgets with the least left.
func (p *page) Allowances() []allowance {
	var all []allowance
	for _, b := range p.Budgets[:min(maxAllowances, len(p.Budgets))] {
		all = append(all, allowance{budgetWords(&b), b.CA, b.Left, b.Count, until(b.Next, p.Time)})
	}
	return all
}

// budgetWords returns what a budget counts, in words.
func budgetWords(b *certmanager.Budget) string {
	what := string(b.Kind) + " " + b.Name
	switch b.Kind {
	case certmanager.BudgetAccounts:
		what = "new accounts"
	case certmanager.BudgetOrders:
		what = "orders"
	case certmanager.BudgetDomain:
		what = "certificates for " + b.Name
	case certmanager.BudgetSet:
		what = "certificates for the same names (" + b.Name + ")"
	case certmanager.BudgetFailures:
		what = "failures of " + b.Name
	}
	return what + " in " + span(b.Per)
}

// Waiting is what the certificates that are shown wait for, in words; empty: no reason was asked for.
func (p *page) Waiting() string { return reasonWords(certmanager.Reason(p.Query.Reason)) }

// A counter is a table of what was counted.
type counter struct {
	Name    string
	Columns []string
	Rows    []countedRow
}

type countedRow struct {
	Name   string
	Values []string
}

func (c *counter) add(name string, values ...string) {
	c.Rows = append(c.Rows, countedRow{name, values})
}

// Counters are what the manager has counted.
func (p *page) Counters() []counter {
	c := &p.Counts
	attempts := counter{Name: "Attempts", Columns: []string{"count"}}
	attempts.add("obtained", grouped(c.Obtained))
	attempts.add("renewed", grouped(c.Renewed))
	for _, kind := range slices.Sorted(maps.Keys(c.Failures)) {
		if n := c.Failures[kind]; n > 0 {
			attempts.add("failed: "+failureWords(kind), grouped(n))
		}
	}
	handshakes := counter{Name: "Handshakes", Columns: []string{"count"}}
	for _, outcome := range []certmanager.Outcome{certmanager.OutcomeServed, certmanager.OutcomeChallenge, certmanager.OutcomeFallback,
		certmanager.OutcomeUnknown, certmanager.OutcomeFailed} {
		handshakes.add(string(outcome), grouped(c.Handshakes[outcome]))
	}
	calls := counter{Name: "Storage", Columns: []string{"calls", "errors"}}
	for _, operation := range slices.Sorted(maps.Keys(c.Storage)) {
		calls.add(operation, grouped(c.Storage[operation].Calls), grouped(c.Storage[operation].Errors))
	}
	all := []counter{attempts, handshakes, calls}
	for i := range c.Requests {
		r := &c.Requests[i]
		if i == 0 || r.Issuer != c.Requests[i-1].Issuer {
			all = append(all, counter{Name: "Requests to " + p.issuerName(r.Issuer), Columns: []string{"sent", "failed", "mean"}})
		}
		sent, failed := int64(0), int64(0)
		for status, n := range r.Statuses {
			sent += n
			if status == 0 || status >= 400 {
				failed += n
			}
		}
		mean := (r.Durations.Sum / time.Duration(max(sent, 1))).Round(time.Millisecond)
		all[len(all)-1].add(r.Action, grouped(sent), grouped(failed), mean.String())
	}
	return all
}

// issuerName returns an issuer's ID as people know it, or whole if another issuer is known by the same words.
func (p *page) issuerName(id string) string {
	words := issuerWords(id)
	for other := range p.Stats.InFlight {
		if other != id && issuerWords(other) == words {
			return id
		}
	}
	return words
}

// failureWords returns what attempts failed for, in words.
func failureWords(k certmanager.FailureKind) string {
	return cmp.Or(map[certmanager.FailureKind]string{
		certmanager.FailureRefusal: "refused by the CA", certmanager.FailureRateLimit: "rate limit",
	}[k], string(k))
}
