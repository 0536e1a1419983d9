package certmanager

import (
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/budget"
	"github.com/everseal/everseal/certmanager/internal/tally"
)

// A spentError says that a limit of the CA's is reached, as is counted here: it was not asked.
type spentError struct {
	ca     string
	which  countable
	limit  budget.Limit
	name   string // that it is about; empty: it is about no single one
	key    string // of the record
	waiter tally.Waiter
	until  time.Time
	place  *tally.Place // in line; nil: none
}

// Error says which limit, of which CA, and when the next is due.
func (e *spentError) Error() string {
	return fmt.Sprintf("%s grants %s; the next one is due at %s", e.ca, e.words(), e.until.UTC().Format(time.RFC3339))
}

func (e *spentError) words() string {
	per := periodWords(e.limit.Per)
	switch e.which {
	case newAccounts:
		return e.things("new account") + per + " to an address"
	case newOrders:
		return e.things("new order") + per + " to an account"
	case certsByDomain:
		return e.things("certificate") + per + " for names of " + e.name
	case certsBySet:
		return e.things("certificate") + per + " for exactly these names"
	}
	return e.things("failed validation") + per + " of " + e.name
}

// things says how many of a thing the CA grants.
func (e *spentError) things(thing string) string {
	if e.limit.Count == 1 {
		return "1 " + thing + " "
	}
	return fmt.Sprintf("%d %ss ", e.limit.Count, thing)
}

// periodWords says how long a limit's period is.
func periodWords(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d == 7*day:
		return "a week"
	case d == day:
		return "a day"
	case d == time.Hour:
		return "an hour"
	case d%day == 0:
		return fmt.Sprintf("in %d days", d/day)
	case d%time.Hour == 0:
		return fmt.Sprintf("in %d hours", d/time.Hour)
	}
	return fmt.Sprintf("in %v", d)
}

// isSpent reports whether an error is that a budget is spent which not all orders have in common.
func isSpent(err error) bool {
	return errors.As(err, new(*spentError)) && !errors.As(err, new(*UnavailableError))
}
