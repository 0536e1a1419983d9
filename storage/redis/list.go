package redis

import (
	"context"
	"iter"

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

// recordsOf returns the texts of records; nil for one that is not there. It reads them one by one, though at once: MGET would
// fail as long as a cluster moves the slot, and needs a copy of each value.
func (s *Store) recordsOf(ctx context.Context, keys []string) ([][]byte, error) {
	commands, err := query(ctx, s, func() []*redis.StringCmd {
		all := make([]*redis.StringCmd, len(keys))
		for i, key := range keys {
			all[i] = redis.NewStringCmd(ctx, "get", s.record(key))
		}
		return all
	})
	if err != nil {
		return nil, err
	}
	texts := make([][]byte, len(keys))
	for i, cmd := range commands {
		if text, err := cmd.Bytes(); err == nil {
			texts[i] = text
		}
	}
	return texts, nil
}

// pages yields the keys of the prefix after the cursor, some thousand at a time, or an error at the end.
func (s *Store) pages(ctx context.Context, prefix, cursor string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		if err := s.check(ctx); err != nil {
			yield(nil, err)
			return
		}
		spans := spansOf(prefix, cursor)
		for len(spans) > 0 {
			found, err := query(ctx, s, func() []*redis.StringSliceCmd {
				var all []*redis.StringSliceCmd
				for _, keys := range spans {
					all = append(all, redis.NewStringSliceCmd(ctx, "zrangebylex", s.index, keys.from, keys.to, "limit", 0, keysPage))
				}
				return all
			})
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(nil, err)
				return
			}
			var last []string
			for _, cmd := range found {
				last = cmd.Val()
				if len(last) > 0 && !yield(last, nil) {
					return
				}
			}
			if len(last) < keysPage {
				return
			}
			spans = []span{{"(" + last[len(last)-1], spans[len(spans)-1].to}} // those before have one key at most
		}
	}
}
