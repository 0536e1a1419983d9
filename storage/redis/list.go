package redis

import (
	"context"
	"errors"
	"iter"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/everseal/everseal/storage"
)

const (
	keysPage    = 4096 // keys that are asked for at once
	recordsPage = 128  // records that are asked for at once; with the largest values they have 32 MiB
)

// A span is a range of keys, with its ends as ZRANGEBYLEX has them.
type span struct{ from, to string }

// spansOf returns the keys that List yields for the prefix and that come after the cursor.
func spansOf(prefix, cursor string) []span {
	resumes := storage.CheckKey(cursor) == nil && storage.Within(cursor, prefix)
	spans := []span{{"-", "+"}}
	if prefix != "" {
		// What begins with prefix + "/" ends before prefix + "0".
		spans = []span{{"[" + prefix, "[" + prefix}, {"[" + prefix + "/", "(" + prefix + "0"}}
		if resumes {
			spans = spans[1:]
		}
	}
	if resumes && cursor != prefix {
		spans[0].from = "(" + cursor
	}
	return spans
}

// List yields the keys that are prefix or lie below it, in their order; see [storage.Store]. It reads some thousand at
// a time, and holds no connection while the caller has a key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := storage.AdmitPrefix(ctx, prefix)
		if err != nil {
			yield("", err)
			return
		}
		for page, err := range s.pages(ctx, prefix, "") {
			if err != nil {
				yield("", s.failure(ctx, "list", prefix, err))
				return
			}
			for _, key := range page {
				if err := ctx.Err(); err != nil {
					yield("", s.failure(ctx, "list", prefix, err))
					return
				}
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

// Scan yields the records that are prefix or lie below it, in the order of their keys; see [storage.Scanner]. It reads
// some hundred at a time, and holds no connection while the caller has a record. Cursors are keys.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		err := storage.AdmitPrefix(ctx, prefix)
		if err != nil {
			yield(storage.Record{}, err)
			return
		}
		if err := s.scan(ctx, prefix, cursor, yield); err != nil {
			yield(storage.Record{}, s.failure(ctx, "scan", prefix, err))
		}
	}
}

// scan returns nil if the caller wants no more.
func (s *Store) scan(ctx context.Context, prefix, cursor string, yield func(storage.Record, error) bool) error {
	for keys, err := range s.pages(ctx, prefix, cursor) {
		if err != nil {
			return err
		}
		for len(keys) > 0 {
			part := keys[:min(len(keys), recordsPage)]
			keys = keys[len(part):]
			more, err := s.yieldRecords(ctx, part, yield)
			if err != nil || !more {
				return err
			}
		}
	}
	return nil
}

// yieldRecords yields the records of the keys that are still there, and reports whether the caller wants more.
func (s *Store) yieldRecords(ctx context.Context, keys []string, yield func(storage.Record, error) bool) (more bool, err error) {
	texts, err := s.recordsOf(ctx, keys)
	if err != nil {
		return false, err
	}
	for i, key := range keys {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if texts[i] == nil {
			continue
		}
		record := storage.Record{Key: key, Cursor: key}
		item, err := parse(texts[i])
		if err != nil {
			err = s.failure(ctx, "scan", key, err)
		}
		record.Item = item
		if !yield(record, err) {
			return false, nil
		}
	}
	return true, nil
}

// recordsOf returns the texts of records; nil for one that is not there.
func (s *Store) recordsOf(ctx context.Context, keys []string) ([][]byte, error) {
	args := make([]any, 1, 1+len(keys))
	args[0] = "mget"
	for _, key := range keys {
		args = append(args, s.record(key))
	}
	cmd, err := s.query(ctx, func() redis.Cmder { return redis.NewSliceCmd(ctx, args...) })
	if redis.HasErrorPrefix(err, "TRYAGAIN") {
		return s.singly(ctx, keys)
	}
	if err != nil {
		return nil, err
	}
	texts := make([][]byte, len(keys))
	for i, value := range cmd.(*redis.SliceCmd).Val() {
		if text, ok := value.(string); ok && i < len(texts) {
			texts[i] = []byte(text)
		}
	}
	return texts, nil
}

// singly reads one record after the other, for as long as a cluster moves the slot and has some of them here, some there.
func (s *Store) singly(ctx context.Context, keys []string) ([][]byte, error) {
	texts := make([][]byte, len(keys))
	for i, key := range keys {
		text, found, err := s.read(ctx, s.record(key))
		if err != nil {
			return nil, err
		}
		if found {
			texts[i] = text
		}
	}
	return texts, nil
}

var errStopped = errors.New("the caller wants no more")

// pages yields the keys of the prefix after the cursor, some thousand at a time, or an error at the end.
func (s *Store) pages(ctx context.Context, prefix, cursor string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		err := s.check(ctx)
		for _, keys := range spansOf(prefix, cursor) {
			if err == nil {
				err = s.span(ctx, keys, func(page []string) bool { return yield(page, nil) })
			}
		}
		if err != nil && !errors.Is(err, errStopped) {
			yield(nil, err)
		}
	}
}

// span calls f with the keys of a range, page by page.
func (s *Store) span(ctx context.Context, keys span, f func(page []string) bool) error {
	for {
		cmd, err := s.query(ctx, func() redis.Cmder {
			return redis.NewStringSliceCmd(ctx, "zrangebylex", s.index, keys.from, keys.to, "limit", 0, keysPage)
		})
		if err != nil {
			return err
		}
		page := cmd.(*redis.StringSliceCmd).Val()
		if len(page) > 0 && !f(page) {
			return errStopped
		}
		if len(page) < keysPage || strings.HasPrefix(keys.from, "[") && keys.from == keys.to {
			return ctx.Err()
		}
		keys.from = "(" + page[len(page)-1]
	}
}
