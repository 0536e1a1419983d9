package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/everseal/everseal/storage/internal/wait"
)

// The mark is an object in the store's folder that names the version of the layout, and that conditions are tried out on.
// No record has such a name. Nobody deletes it.
const (
	markName = "!everseal"
	markBody = "everseal/1\n"
	nobody   = "00000000000000000000000000000000" // an ETag that the mark has not
)

var (
	errIgnoresCreate = errors.New("the service ignores If-None-Match of a PUT, so that two writers overwrite each other: use one that has conditional writes")
	errIgnoresSwap   = errors.New("the service ignores If-Match of a PUT, so that two writers overwrite each other: use one that has conditional writes")
	errIgnoresDelete = errors.New("the service ignores If-Match of a DELETE: open the store without conditional deletes")
	errForeignMark   = errors.New("the folder has the mark of another program or of another version of this library: update this one, or give the store a prefix of its own")
)

// check returns nil if the service has been found to evaluate conditions, and tries it out if nobody has yet.
func (s *Store) check(ctx context.Context) error {
	if s.checked.Load() {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.checked.Load() {
		return nil
	}
	err := s.tryOut(ctx)
	if err == nil {
		s.checked.Store(true)
	}
	return err
}

// tryOut makes the mark if it is missing, reads it, and asks for what has to be refused.
func (s *Store) tryOut(ctx context.Context) error {
	name := s.prefix + markName
	create := func() error {
		_, err := s.put(ctx, name, []byte(markBody), "")
		return err
	}
	refused, err := s.refuses(ctx, create)
	if err == nil && !refused {
		if refused, err = s.refuses(ctx, create); err == nil && !refused {
			return errIgnoresCreate
		}
	}
	if err != nil {
		return err
	}
	mark, _, err := s.read(ctx, name)
	switch {
	case err != nil:
		return err
	case strings.TrimRight(string(mark), "\n")+"\n" != markBody:
		return errForeignMark
	}
	refused, err = s.refuses(ctx, func() error {
		_, err := s.put(ctx, name, []byte(markBody), nobody)
		return err
	})
	if err == nil && !refused {
		return errIgnoresSwap
	}
	if err != nil || !s.conditionalDelete {
		return err
	}
	refused, err = s.refuses(ctx, func() error { return s.remove(ctx, name, nobody) })
	if err == nil && !refused {
		return errIgnoresDelete
	}
	return err
}

// refuses reports whether the service refuses a request for its condition. Requests that get no clear answer are repeated.
func (s *Store) refuses(ctx context.Context, request func() error) (bool, error) {
	retryer := s.client.Options().Retryer
	for runs := 1; ; runs++ {
		err := request()
		answer := answerOf(err)
		switch {
		case err == nil:
			return false, nil
		case answer.isRefusal(false):
			return true, nil
		case answer.status == 501:
			return false, fmt.Errorf("%w: %w", errNotOffered, cause{err})
		case runs >= max(retryer.MaxAttempts(), 1) || !answer.isAgain() && !retryer.IsErrorRetryable(err):
			return false, err
		}
		if err := wait.For(ctx, rand.N(100*time.Millisecond<<runs)); err != nil {
			return false, err
		}
	}
}
