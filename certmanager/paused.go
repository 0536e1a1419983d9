package certmanager

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

const (
	pausePeriod  = 7 * 24 * time.Hour // to the next attempt, if nobody renews the name before
	maxPausePage = 300                // bytes of a URL
)

// A pausedError says that the CA takes no orders for a name until a person has asked it to.
type pausedError struct {
	page string // where to ask; empty: the CA does not say
	err  error
}

// Error says where to go before it says why.
func (e *pausedError) Error() string {
	visit := "ask the CA how to have it resumed"
	if e.page != "" {
		visit = "visit " + e.page
	}
	return "the CA has paused the name, and takes no order for it before somebody has it resumed: " + visit + ", and call Renew then: " + bare(e.err)
}

// Unwrap returns why.
func (e *pausedError) Unwrap() error { return e.err }

// pauseOf returns the error as one that says that the name is paused; nil: it does not. Let's Encrypt does so after too many
// failures in a row, with a rate limit that never ends and a page to visit.
func pauseOf(err error) *pausedError {
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok || problem.Type != acme.ErrRateLimited || problem.RetryAfter > 0 {
		return nil
	}
	_, after, visits := strings.Cut(problem.Detail, "lease visit")
	if !visits && !slices.Contains(limitWords(problem.Detail), "paused") {
		return nil
	}
	return &pausedError{pageIn(after), err}
}

// pageIn returns the first URL of the text that is fit to be shown and visited, or "".
func pageIn(text string) string {
	for word := range strings.FieldsSeq(text) {
		word = strings.Trim(word, `.,;:"'<>()`)
		if len(word) <= maxPausePage && record.Page(word) != "" {
			return word
		}
	}
	return ""
}
