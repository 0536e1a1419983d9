package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

// A change is an object to be written in place of another.
type change struct {
	key   string
	body  []byte
	nonce string           // in body
	old   storage.Revision // zero if there must be no record
}

// maxRuns is how often a request is made anew that the service answered with 409, or that lost against a tombstone.
const maxRuns = 20

// swap writes the object if the old one is stored. It returns an error that wraps storage.ErrConflict only if it is certain
// that nothing was written.
//
// A request whose answer is lost, or is a 5xx, is made again, with the same condition, as often as the client's settings
// allow: it may come late. What is refused then is read back. If the nonce is the change's own, an earlier request was
// taken, by this loop or by a proxy that repeats requests. If not, and one before has had no clear answer, it may have been
// taken and overwritten since: nobody knows.
//
// A request that makes an object where there is none is read back at once instead: made again it would bring back what
// another has deleted since.
func (s *Store) swap(ctx context.Context, c change) (storage.Revision, error) {
	name, condition := s.name(c.key), c.old
	retryer := s.client.Options().Retryer
	var unknown error // of a request before that may have been taken
	attempts := 0
	for runs := 1; ; runs++ {
		etag, err := s.put(ctx, name, c.body, condition)
		if err == nil {
			return etag, nil
		}
		var delay time.Duration
		switch answer := answerOf(err); {
		case answer.isRefusal(condition != ""):
			found, readErr := s.get(ctx, name)
			switch {
			case readErr != nil:
				return "", readErr
			case found.nonce == c.nonce:
				return found.etag, nil
			case unknown != nil:
				return "", fmt.Errorf("%w: %w", errUnknown, cause{unknown})
			case c.old != "" || found.live:
				return "", storage.Conflict(c.key)
			}
			condition = found.etag // of the tombstone, if that is still there
		case answer.isAgain():
			delay = rand.N(time.Millisecond << min(runs, 8))
		default:
			attempts++
			if ctx.Err() != nil || errors.Is(err, errNoETag) || !retryer.IsErrorRetryable(err) || attempts >= max(retryer.MaxAttempts(), 1) {
				return "", err
			}
			unknown = err
			if condition == "" && !answer.isThrottle() {
				if found, readErr := s.get(ctx, name); readErr == nil && found.nonce == c.nonce {
					return found.etag, nil
				}
				return "", fmt.Errorf("%w: %w", errUnknown, cause{unknown})
			}
			if delay, err = retryer.RetryDelay(attempts, err); err != nil {
				return "", err
			}
		}
		if runs == maxRuns {
			return "", err
		}
		if err := wait.For(ctx, delay); err != nil {
			return "", err
		}
	}
}
