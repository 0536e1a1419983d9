package certmanager

import (
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/schedule"
)

// A journal is what is kept of the work on one certificate with one issuer: how far the issuance under
// way came, and what failed before. It is the value of the work's lease, so that only the lease's
// holder changes it and whoever takes over finds it.
type journal struct {
	Version       int       `json:"version"`
	Key           string    `json:"key,omitempty"`           // of the certificate under way, PEM
	Notes         []byte    `json:"notes,omitempty"`         // the issuer's (Request.Journal)
	Refusals      int       `json:"refusals,omitempty"`      // failures by the CA's word since the last certificate
	Rotation      int       `json:"rotation,omitempty"`      // failures to prove control since the last certificate
	Interruptions int       `json:"interruptions,omitempty"` // other failures since the last certificate or refusal
	Next          time.Time `json:"next,omitzero"`           // when the next attempt is due, UTC
	Error         string    `json:"error,omitempty"`         // of the last attempt
	Failed        time.Time `json:"failed,omitzero"`         // when it failed, UTC
}

// decodeJournal reads a stored journal; nil is an empty one.
func decodeJournal(data []byte) (journal, error) {
	j := journal{Version: 1}
	if len(data) == 0 {
		return j, nil
	}
	if err := json.Unmarshal(data, &j); err != nil {
		return journal{Version: 1}, errors.New("it is not the JSON of a journal")
	}
	if j.Version != 1 {
		return journal{Version: 1}, fmt.Errorf("its version %d is not known here", j.Version)
	}
	if j.Refusals < 0 || j.Interruptions < 0 || j.Rotation < 0 {
		return journal{Version: 1}, errors.New("it counts fewer than no failures")
	}
	return j, nil
}

func (j *journal) encode() ([]byte, error) { return json.Marshal(j) }

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

// waits reports whether the next attempt is not due yet. A failure that lies in the future was noted
// while the clock was wrong, and says nothing.
func (j *journal) waits(now time.Time) bool {
	const skew = 5 * time.Minute // between the clocks of a fleet
	return now.Before(j.Next) && now.Add(skew).After(j.Failed)
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

// fail notes a failure and chooses the time of the next attempt: soon where the CA was not reached or
// failed itself, after ever longer pauses where it refused, and never before the CA said. An outage that cost an
// order is no reason to try another solver, or to wait for more than an hour.
func (j *journal) fail(err error, now time.Time) {
	const longestText = 4 << 10
	const maxOutageWait = time.Hour
	var dead *acme.OrderError
	var problem *acme.Problem
	if errors.As(err, &dead) {
		j.abandon()
	}
	var unproved *acme.AuthorizationError
	outage := acme.IsOutage(err)
	if !outage && (errors.As(err, &unproved) || errors.As(err, new(*acme.SolverError))) {
		j.Rotation++
	}
	refused := errors.As(err, &problem) && problem.Status < http.StatusInternalServerError || dead != nil
	var wait time.Duration
	if refused {
		j.Refusals++
		j.Interruptions = 0
		wait = schedule.RefusalBackoff(j.Refusals, rand.Float64())
		if outage {
			wait = min(wait, maxOutageWait)
		}
	} else {
		j.Interruptions++
		wait = schedule.TransientBackoff(j.Interruptions, rand.Float64())
	}
	var later *acme.RetryAfterError
	if problem != nil {
		wait = max(wait, problem.RetryAfter)
	}
	if errors.As(err, &later) {
		wait = max(wait, later.RetryAfter)
	}
	j.Next, j.Failed = now.Add(wait).UTC(), now.UTC()
	j.Error = err.Error()
	j.Error = j.Error[:min(len(j.Error), longestText)]
}

// An earlierFailure is the failure of an attempt that was made before, perhaps by another process. Only
// its text is kept.
type earlierFailure struct {
	time time.Time
	text string
}

func (e *earlierFailure) Error() string { return e.text }
