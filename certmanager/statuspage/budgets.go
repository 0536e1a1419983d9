package statuspage

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/certmanager"
)

const (
	budgetsAge     = time.Minute     // until they are read again, which is work for the storage
	budgetsTimeout = 2 * time.Second // after which the page does without the rest
)

// Budgets are what is left of the limits of CAs, as it was read lately.
type budgets struct {
	asOf    time.Time
	left    []certmanager.Budget // never nil
	failure string               // why some are missing
}

// read reads them, if what is there is too old.
func (b *budgets) read(ctx context.Context, s source, now time.Time) {
	if !b.asOf.IsZero() && now.Sub(b.asOf) < budgetsAge {
		return
	}
	reading, cancel := context.WithTimeout(ctx, budgetsTimeout)
	defer cancel()
	left, err := s.Budgets(reading)
	if ctx.Err() != nil {
		return // the client has gone: the next one is to have all
	}
	slices.SortStableFunc(left, func(a, b certmanager.Budget) int { return cmp.Compare(share(a), share(b)) })
	*b = budgets{asOf: now, left: append([]certmanager.Budget{}, left...)}
	if err != nil {
		b.failure = strings.TrimPrefix(err.Error(), "certmanager: ")
	}
}

// share returns which part of a budget is left.
func share(b certmanager.Budget) float64 { return float64(b.Left) / float64(max(b.Count, 1)) }
