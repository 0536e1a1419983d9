package certmanager

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

const (
	maxBackoff       = 8 * 24 * time.Hour // that is believed: the longest that a CA's limits ask for are of a week
	maxOutageBackoff = time.Hour          // when the CA fails itself
	lastShort        = 3                  // refusals in a row after which the wait is one of minutes
)

// waits reports whether the next attempt is not due yet. A failure that lies in the future was noted while the clock was
// wrong, and says nothing; neither does a time that no failure can have led to.
func waits(f record.Failure, now time.Time) bool {
	return now.Before(f.Next) && !record.IsAhead(f.Next, now.Add(maxBackoff)) && !record.IsAhead(f.Failed, now)
}

// fail notes a failure of the issuer's and chooses the time of the next attempt: soon if the CA was not reached or failed
// itself, after ever longer pauses if it refused, and never before the CA said. An outage that cost an order is no reason
// to try another solver, or to wait for more than an hour. The end is that of the certificate which is served: unless for
// a rate limit, it is not waited for longer than half of what is left of it because the CA said so.
func fail(j *record.Journal, err error, now, end time.Time) {
	var problem *acme.Problem
	dead := errors.As(err, new(*acme.OrderError))
	if dead {
		j.Notes = nil
		if !errors.As(err, new(*dryRunError)) { // of which the issuer has not seen the key
			j.Key = record.Key{}
		}
	}
	outage := acme.IsOutage(err)
	if !outage && (errors.As(err, new(*acme.AuthorizationError)) || errors.As(err, new(*acme.SolverError))) {
		j.Rotation++
	}
	var wait time.Duration
	left := end.Sub(now)
	if errors.As(err, &problem) && problem.Status < http.StatusInternalServerError || dead {
		j.Refusals++
		j.Interruptions = 0
		wait = schedule.RefusalBackoff(j.Refusals, rand.Float64())
		if left > 0 {
			wait = min(wait, max(left/2, schedule.RefusalBackoff(lastShort, rand.Float64())))
		}
	} else {
		j.Interruptions++
		wait = schedule.TransientBackoff(j.Interruptions, rand.Float64())
	}
	paused := errors.As(err, new(*pausedError))
	if paused {
		wait = pausePeriod
	}
	asked := min(retryAfter(err), maxBackoff)
	if left > 0 && !errors.Is(err, acme.ErrRateLimited) {
		asked = min(asked, left/2)
	}
	if wait = max(wait, asked); outage {
		wait = min(wait, maxOutageBackoff)
	}
	j.Failure = failureOf(err, now, wait)
	j.Paused = paused
}

// hinder notes a failure that is none of the issuers': they are not asked before the next attempt, none of them.
func hinder(w *record.Work, err error, now time.Time) {
	w.Attempts++
	wait := schedule.TransientBackoff(w.Attempts, rand.Float64())
	w.Failure = failureOf(err, now, wait)
}

// failureOf returns a failure as it is kept.
func failureOf(err error, now time.Time, wait time.Duration) record.Failure {
	return record.Failure{Next: now.Add(wait).UTC(), Failed: now.UTC(), Error: err.Error(), Kind: string(failureKindOf(err))}
}

// An earlierFailure is the failure of an attempt that was made before, perhaps by another process. Of its error only the text is
// kept, of which kind it is, and whether the CA has paused the name.
type earlierFailure struct {
	time   time.Time
	text   string
	kind   FailureKind // empty: not known
	paused bool
}

func (e *earlierFailure) Error() string { return e.text }

// isPaused reports whether the CA takes no orders for the name before a person asks it to.
func isPaused(err error) bool {
	earlier, ok := errors.AsType[*earlierFailure](err)
	return ok && earlier.paused || errors.As(err, new(*pausedError))
}
