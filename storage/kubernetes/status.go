package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/everseal/everseal/storage/internal/wait"
)

// A StatusError is what an API server answers that does not do what it was asked for.
type StatusError struct {
	Code    int    // of HTTP
	Reason  string // a word such as "Forbidden"; empty: the answer was none of an API server's
	Message string // in the server's words

	kind, name string        // what it is about
	next       string        // from where a list can be continued whose token has expired
	after      time.Duration // for how long the server wants one to wait
}

// Error returns code, reason and message.
func (e *StatusError) Error() string {
	if e.Reason == "" && e.Message == "" {
		return fmt.Sprintf("HTTP status %d, which is not explained", e.Code)
	}
	return fmt.Sprintf("HTTP status %d %s: %s", e.Code, printable(e.Reason), printable(e.Message))
}

// A status is the API's object of that name.
type status struct {
	Kind     string `json:"kind"`
	Metadata struct {
		Continue string `json:"continue"`
	} `json:"metadata"`
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Details struct {
		Name string `json:"name"`
		Kind string `json:"kind"`
	} `json:"details"`
	Code int `json:"code"`
}

func (e *StatusError) set(s *status) {
	e.Code, e.Reason, e.Message = s.Code, s.Reason, s.Message
	e.kind, e.name, e.next = s.Details.Kind, s.Details.Name, s.Metadata.Continue
}

// maxRetryAfter is for how many seconds a server may have one wait.
const maxRetryAfter = 10

// passes reports whether the server was too busy to do anything, so that another try may succeed; or others have changed the
// quota of the namespace, which is no conflict of the record's.
func (e *StatusError) passes() bool {
	return e.Code == http.StatusTooManyRequests || e.Code == http.StatusConflict && e.Reason == "Conflict" && e.kind == "resourcequotas"
}

// mayBeDone reports whether what was asked for can have been done though there was an error: the connection broke, or the
// server gave up.
func mayBeDone(err error) bool {
	refusal, ok := errors.AsType[*StatusError](err)
	return (!ok || refusal.Code >= 500) && !errors.Is(err, errUndecided)
}

// wait waits as long as the server has said, or a little.
func (e *StatusError) wait(ctx context.Context, runs int) error {
	if e.after == 0 {
		return pause(ctx, runs)
	}
	return wait.For(ctx, e.after+rand.N(e.after/4+1))
}

// isAbsent reports whether the server has said that there is no Secret of the key. A namespace or a path that is missing is
// another matter.
func (s *Store) isAbsent(err error, key string) bool {
	refusal, ok := errors.AsType[*StatusError](err)
	return ok && refusal.Code == http.StatusNotFound && refusal.isAbout(s.secretName(key))
}

// refuses reports whether the server has said that the Secret of the key is there, or has another revision.
func (s *Store) refuses(err error, key string) bool {
	refusal, ok := errors.AsType[*StatusError](err)
	return ok && refusal.Code == http.StatusConflict && refusal.isAbout(s.secretName(key))
}

// isAbout reports whether the server speaks of the Secret of the name. Of preconditions that do not hold it calls the kind
// "Secret", else "secrets".
func (e *StatusError) isAbout(name string) bool {
	return (e.kind == "secrets" || e.kind == "Secret") && e.name == name
}

// isExpired reports whether the server does not know any more what was before.
func isExpired(err error) bool {
	refusal, ok := errors.AsType[*StatusError](err)
	return ok && refusal.Code == http.StatusGone
}

// pause waits a little before the next run, longer each time.
func pause(ctx context.Context, runs int) error {
	return wait.For(ctx, rand.N(5*time.Millisecond<<min(runs, 6)))
}
