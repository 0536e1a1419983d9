package sql

import (
	"bytes"
	"context"
	"iter"

	"github.com/everseal/everseal/storage"
)

// A span is a range of keys, the end excluded.
type span struct{ from, to string }

// Keys have no byte from the space to ")" and none after "~".
const (
	below = "!" // key + below comes after key and before all that begin with key
	above = "\x7f"
)

// spans returns the ranges of the keys that List yields for the prefix and that come after the cursor.
func spans(prefix, cursor string) []span {
	var all []span
	if prefix == "" {
		all = []span{{below, above}}
	} else {
		// What begins with prefix + "/" ends before prefix + "0".
		all = []span{{prefix, prefix + below}, {prefix + "/", prefix + "0"}}
	}
	if storage.CheckKey(cursor) != nil || !storage.Within(cursor, prefix) {
		return all
	}
	last := &all[len(all)-1]
	last.from = max(last.from, cursor+below)
	return all[len(all)-1:]
}

// List yields the keys that are prefix or lie below it, in their order; see [storage.Store]. It reads a thousand at a
// time, and holds no connection while the caller has a key.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for record, err := range s.pages(ctx, reading{"list", s.keys, keysPage}, prefix, "") {
			if !yield(record.Key, err) {
				return
			}
		}
	}
}

// Scan yields the records that are prefix or lie below it, in the order of their keys; see [storage.Scanner]. It reads
// a hundred at a time, and holds no connection while the caller has a record. Cursors are keys.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return s.pages(ctx, reading{"scan", s.records, recordsPage}, prefix, cursor)
}

// A reading is a way to read many records.
type reading struct {
	operation string
	statement string
	limit     int // rows that the statement returns at most
}

func (s *Store) pages(ctx context.Context, r reading, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		err := storage.AdmitPrefix(ctx, prefix)
		if err != nil {
			yield(storage.Record{}, err)
			return
		}
		if err = s.check(ctx); err == nil {
			for _, keys := range spans(prefix, cursor) {
				var more bool
				if more, err = s.span(ctx, r, keys, yield); !more {
					break
				}
			}
		}
		if err != nil {
			yield(storage.Record{}, s.failure(ctx, r.operation, prefix, err))
		}
	}
}

// span yields the records of a range, page by page. It reports whether the caller wants more.
func (s *Store) span(ctx context.Context, r reading, keys span, yield func(storage.Record, error) bool) (bool, error) {
	for {
		page := make([]storage.Record, 0, r.limit)
		err := s.pool.query(ctx, func(columns [][]byte) { page = append(page, record(columns)) }, r.statement, keys.from, keys.to)
		if err != nil {
			return false, err
		}
		for _, found := range page {
			if err := ctx.Err(); err != nil {
				return false, err
			}
			if !yield(found, nil) {
				return false, nil
			}
		}
		if len(page) < r.limit {
			return true, ctx.Err()
		}
		keys.from = page[len(page)-1].Key + below
	}
}

func record(columns [][]byte) storage.Record {
	key := string(columns[0])
	found := storage.Record{Key: key, Cursor: key}
	if len(columns) > 1 {
		found.Item = storage.Item{Revision: storage.Revision(columns[1]), Value: bytes.Clone(columns[2])}
	}
	return found
}
