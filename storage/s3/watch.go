package s3

import (
	"context"
	"iter"
	"math/rand/v2"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/wait"
)

// maxFailedPolls is how many polls in a row may fail before a watch ends.
const maxFailedPolls = 5

// Watch yields the keys at or below the prefix that are changed; see [storage.Watcher]. It lists them each poll interval and
// compares the ETags with those before, which it keeps: some hundred bytes for each record. What is changed twice between
// two polls is told once. Since a listing shows what is there, a poll that fails loses nothing, and the next one tells; Watch
// ends with the error of the fifth in a row.
func (s *Store) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		if err := s.watch(ctx, prefix, yield); err != nil {
			yield("", s.failure(ctx, "watch", prefix, err))
		}
	}
}

// watch returns nil if the caller wants no more.
func (s *Store) watch(ctx context.Context, prefix string, yield func(string, error) bool) error {
	known, err := s.look(ctx, prefix)
	if err != nil {
		return err
	}
	if !yield("", nil) {
		return nil
	}
	for failed := 0; ; {
		// Members of a fleet that started together do not poll together.
		if err := wait.For(ctx, s.poll*9/10+rand.N(s.poll/5+1)); err != nil {
			return err
		}
		found, err := s.look(ctx, prefix)
		if err != nil {
			if failed++; failed == maxFailedPolls || ctx.Err() != nil {
				return err
			}
			continue
		}
		failed = 0
		for key, etag := range found {
			if known[key] != etag && !yield(key, nil) {
				return nil
			}
		}
		for key := range known {
			if _, there := found[key]; !there && !yield(key, nil) {
				return nil
			}
		}
		known = found
	}
}

// look returns the ETags of all records at and below the prefix, and of their tombstones.
func (s *Store) look(ctx context.Context, prefix string) (map[string]string, error) {
	found := make(map[string]string)
	for e, err := range s.entries(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		found[e.key] = e.etag
	}
	return found, nil
}
