package prometheus

import (
	"cmp"
	"context"
	"slices"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/everseal/everseal/certmanager"
)

// askBudgets has the budgets read, if that is long ago.
func (c *Collector) askBudgets(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if age := now.Sub(c.asked); c.reading || !c.asked.IsZero() && age >= 0 && age < budgetsInterval {
		return
	}
	c.asked, c.reading = now, true
	go c.readBudgets()
}

// readBudgets reads the budgets.
func (c *Collector) readBudgets() {
	// A scrape has no context, and the manager takes half a minute at most.
	c.noteBudgets(c.Manager.Budgets(context.Background()))
}

// noteBudgets notes what was read. What can't be read any more is not shown as if it were true still.
func (c *Collector) noteBudgets(budgets []certmanager.Budget, err error) {
	slices.SortStableFunc(budgets, func(a, b certmanager.Budget) int { return cmp.Compare(share(a), share(b)) }) // over all issuers
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading, c.budgets = false, budgets
	if err != nil {
		c.failed++
	}
}

// share returns which part of a budget is left.
func share(b certmanager.Budget) float64 { return float64(b.Left) / float64(max(b.Count, 1)) }

// A limitKey says which limit of which issuer it is.
type limitKey struct {
	issuer string
	kind   certmanager.BudgetKind
}

// sendBudgets sends the budgets as they were read last, those with the least left first.
func (c *Collector) sendBudgets(ch chan<- prom.Metric) {
	c.mu.Lock()
	budgets, failed := c.budgets, c.failed
	c.mu.Unlock()
	least, sent := make(map[limitKey]float64), 0
	for _, b := range budgets {
		key := limitKey{b.Issuer, b.Kind}
		if _, ok := least[key]; !ok {
			least[key] = share(b)
		}
		if b.Name != "" {
			if sent++; sent > c.series() {
				continue
			}
		}
		labels := []string{b.Issuer, string(b.Kind), b.Name}
		gauge(ch, descs.budgetLeft, float64(b.Left), labels...)
		gauge(ch, descs.budgetLimit, float64(b.Count), labels...)
	}
	for key, share := range least {
		gauge(ch, descs.budgetLeast, share, key.issuer, string(key.kind))
	}
	counter(ch, descs.budgetReadErrors, int64(failed))
}
