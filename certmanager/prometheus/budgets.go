package prometheus

import (
	"context"
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

// readBudgets reads the budgets. What can't be read any more is not shown as if it were true still.
func (c *Collector) readBudgets() {
	// A scrape has no context, and the manager takes half a minute at most.
	budgets, err := c.Manager.Budgets(context.Background())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading, c.budgets = false, budgets
	if err != nil {
		c.failed++
	}
}

// A limitKey says which limit of which issuer it is.
type limitKey struct {
	issuer string
	kind   certmanager.BudgetKind
}

// sendBudgets sends the budgets as they were read last.
func (c *Collector) sendBudgets(ch chan<- prom.Metric) {
	c.mu.Lock()
	budgets, failed := c.budgets, c.failed
	c.mu.Unlock()
	least, sent := make(map[limitKey]float64), 0
	for _, b := range budgets {
		key, share := limitKey{b.Issuer, b.Kind}, float64(b.Left)/float64(max(b.Count, 1))
		if before, ok := least[key]; !ok || share < before {
			least[key] = share
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
