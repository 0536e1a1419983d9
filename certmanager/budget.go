package certmanager

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

const (
	maxBudgets     = 1000             // that Manager.Budgets returns of one issuer
	maxBudgetsRead = 20_000           // records
	budgetsTimeout = 30 * time.Second // to read them
)

// A Budget is what is left of one limit of a CA's ([Limits]), for all who share the storage.
type Budget struct {
	Issuer string     `json:"issuer"`         // ID
	CA     string     `json:"ca"`             // its name, or that of its server
	Kind   BudgetKind `json:"kind"`           // which limit it is
	Name   string     `json:"name,omitempty"` // the registered domain, or name, whose it is; of BudgetSet a hash of the names, and of accounts and orders empty

	Count int           `json:"count"` // at most, which come back evenly over Per
	Per   time.Duration `json:"per"`   // in JSON nanoseconds
	Left  int           `json:"left"`
	Next  time.Time     `json:"next,omitzero"` // when there is one more, in UTC; zero: nothing is missing
	Full  time.Time     `json:"full,omitzero"` // when nothing is missing any more, in UTC; zero: nothing is
	// Corrected is when the CA said last that nothing is left, in UTC; zero: it did not lately.
	Corrected time.Time `json:"corrected,omitzero"`
}

// A BudgetKind is one of a CA's limits.
type BudgetKind string

// The kinds of budget.
const (
	BudgetAccounts BudgetKind = "accounts" // Limits.NewAccounts
	BudgetOrders   BudgetKind = "orders"   // Limits.NewOrders
	BudgetDomain   BudgetKind = "domain"   // Limits.CertificatesPerDomain
	BudgetSet      BudgetKind = "set"      // Limits.CertificatesPerSet
	BudgetFailures BudgetKind = "failures" // Limits.Failures
)

// Budgets returns what is left of each limit that is counted, as the storage has it: of accounts and orders always, of domains,
// names and sets of names of those of which something is missing. Of one issuer there are a thousand at most: accounts and
// orders, and those with the least share left. It reads the storage, twenty thousand records of one issuer at most, half a minute at most: whoever is
// asked often keeps what it returned for a while. With an error of the storage comes what was read before.
func (m *Manager) Budgets(ctx context.Context) ([]Budget, error) {
	if m.store == nil {
		return nil, errNotMade
	}
	ctx, cancel := context.WithTimeoutCause(ctx, budgetsTimeout, errSlowStorage)
	defer cancel()
	var all []Budget
	for _, issuer := range m.issuers {
		counting, ok := capability[*acmeIssuer](issuer)
		if !ok {
			continue
		}
		left, err := counting.budgets.left(ctx, issuer.ID())
		all = append(all, left...)
		if err != nil {
			return all, fmt.Errorf("certmanager: budgets: %w", slowStorage(ctx, err))
		}
	}
	return all, nil
}

// left returns what is left of the budgets: of accounts and orders first, then the least share.
func (b *budgets) left(ctx context.Context, issuer string) ([]Budget, error) {
	now := time.Now()
	var all []Budget
	add := func(which countable, name string, bucket budget.Bucket) {
		if limit := b.limits[which]; limit.IsCounted() {
			s := Budget{Issuer: issuer, CA: b.ca, Kind: BudgetKind(which), Name: name, Count: limit.Count, Per: limit.Per}
			s.fill(limit, bucket, now)
			all = append(all, s)
		}
	}
	read, found := 0, make(map[countable]bool)
	prefix := strings.TrimSuffix(record.BudgetKey(b.accountKey, "", ""), "/")
	var err error
	for r, scanErr := range storage.Scan(ctx, b.book.Store, prefix, "") {
		if scanErr != nil && r.Key == "" {
			err = scanErr
			break
		}
		if read++; read > maxBudgetsRead {
			break
		}
		which, name, _ := strings.Cut(strings.TrimPrefix(r.Key, prefix+"/"), "/")
		rec, decodeErr := record.DecodeBudget(r.Value)
		if scanErr != nil || decodeErr != nil {
			continue // which is taken to be full
		}
		if name == "" {
			found[countable(which)] = true
		} else if !rec.Full.After(now) {
			continue
		}
		add(countable(which), name, budget.Bucket(rec))
	}
	for _, which := range []countable{newAccounts, newOrders} {
		if !found[which] && err == nil {
			add(which, "", budget.Bucket{})
		}
	}
	slices.SortFunc(all, func(p, q Budget) int {
		return cmp.Or(cmp.Compare(min(len(p.Name), 1), min(len(q.Name), 1)), cmp.Compare(p.share(), q.share()), cmp.Compare(p.Kind, q.Kind), cmp.Compare(p.Name, q.Name))
	})
	return all[:min(len(all), maxBudgets)], err
}

// fill says what the bucket has.
func (b *Budget) fill(limit budget.Limit, bucket budget.Bucket, now time.Time) {
	var next, full time.Time
	if b.Left, next, full = limit.Left(bucket, now); !full.IsZero() {
		b.Next, b.Full, b.Corrected = next.UTC(), full.UTC(), bucket.Corrected.UTC()
	}
}

// share returns how much of the budget is left, of one.
func (b *Budget) share() float64 { return float64(b.Left) / float64(max(b.Count, 1)) }
