package certmanager

import (
	"crypto"
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A journal is what is kept of the work on one certificate with one issuer: how far the issuance under way came, and what
// failed before.
type journal struct {
	Key           string    `json:"key,omitempty"`           // of the certificate under way, PEM
	Notes         []byte    `json:"notes,omitempty"`         // the issuer's (Request.Journal)
	Refusals      int       `json:"refusals,omitempty"`      // failures by the CA's word since the last certificate
	Rotation      int       `json:"rotation,omitempty"`      // failures to prove control since the last certificate
	Interruptions int       `json:"interruptions,omitempty"` // other failures since the last certificate or refusal
	Next          time.Time `json:"next,omitzero"`           // when the next attempt is due, UTC
	Error         string    `json:"error,omitempty"`         // of the last attempt
	Failed        time.Time `json:"failed,omitzero"`         // when it failed, UTC
}

// begin returns the key of the issuance under way, or makes one if there is none.
func (j *journal) begin(t KeyType) (crypto.Signer, error) {
	if j.Key != "" {
		if key, err := decodeKey(j.Key); err == nil {
			return key, nil
		}
	}
	key, err := t.generate()
	if err != nil {
		return nil, err
	}
	j.Notes = nil
	if j.Key, err = encodeKey(key); err != nil {
		return nil, err
	}
	return key, nil
}

// maxWait bounds the pauses that are believed: the longest that a CA's limits ask for are of a week.
const maxWait = 8 * 24 * time.Hour

// waits reports whether the next attempt is not due yet. A failure that lies in the future was noted while the clock was
// wrong, and says nothing.
func (j *journal) waits(now time.Time) bool {
	const skew = 5 * time.Minute // between the clocks of a fleet
	return now.Before(j.Next) && j.Next.Before(now.Add(maxWait+skew)) && now.Add(skew).After(j.Failed)
}

// abandon forgets the issuance under way.
func (j *journal) abandon() { j.Key, j.Notes = "", nil }

// isFor reports whether the issuance under way is the one that the record came from: a process was
// killed after it had stored the certificate.
func (j *journal) isFor(r *record) bool {
	if r == nil || j.Key == "" {
		return false
	}
	key, err := decodeKey(j.Key)
	if err != nil {
		return false
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(r.key.Public())
}

// isEmpty reports whether there is nothing to be kept.
func (j *journal) isEmpty() bool {
	return j == nil || j.Key == "" && len(j.Notes) == 0 && j.Refusals == 0 && j.Rotation == 0 && j.Interruptions == 0 && j.Next.IsZero()
}

// fail notes a failure of the issuer's and chooses the time of the next attempt: soon if the CA was not reached or failed
// itself, after ever longer pauses if it refused, and never before the CA said. An outage that cost an order is no reason
// to try another solver, or to wait for more than an hour. The end is that of the certificate which is served: unless for
// a rate limit, it is not waited for longer than half of what is left of it because the CA said so.
func (j *journal) fail(err error, now, end time.Time) {
	const maxOutageWait = time.Hour
	var problem *acme.Problem
	dead := errors.As(err, new(*acme.OrderError))
	if dead {
		j.abandon()
	}
	outage := acme.IsOutage(err)
	if !outage && (errors.As(err, new(*acme.AuthorizationError)) || errors.As(err, new(*acme.SolverError))) {
		j.Rotation++
	}
	refused := errors.As(err, &problem) && problem.Status < http.StatusInternalServerError || dead
	var wait time.Duration
	if refused {
		j.Refusals++
		j.Interruptions = 0
		wait = schedule.RefusalBackoff(j.Refusals, rand.Float64())
	} else {
		j.Interruptions++
		wait = schedule.TransientBackoff(j.Interruptions, rand.Float64())
	}
	asked := min(retryAfter(err), maxWait)
	if left := end.Sub(now); left > 0 && !errors.Is(err, acme.ErrRateLimited) {
		asked = min(asked, left/2)
	}
	if wait = max(wait, asked); outage {
		wait = min(wait, maxOutageWait)
	}
	j.note(err, now, wait)
}

// hinder notes a failure of the storage's.
func (j *journal) hinder(err error, now time.Time) {
	j.Interruptions++
	j.note(err, now, schedule.TransientBackoff(j.Interruptions, rand.Float64()))
}

// note writes a failure down, after which is waited.
func (j *journal) note(err error, now time.Time, wait time.Duration) {
	const maxText = 4 << 10
	j.Next, j.Failed = now.Add(wait).UTC(), now.UTC()
	j.Error = err.Error()
	j.Error = strings.ToValidUTF8(j.Error[:min(len(j.Error), maxText)], "")
}

// An earlierFailure is the failure of an attempt that was made before, perhaps by another process. Only
// its text is kept.
type earlierFailure struct {
	time time.Time
	text string
}

func (e *earlierFailure) Error() string { return e.text }
