package sql

import (
	"bytes"
	"context"
	"iter"

	"github.com/everseal/everseal/storage"
)

// A span is a range of keys from which a hole is left out: what lies between a prefix and prefix + "/", such as the
// keys that begin with prefix + "-".
type span struct {
	from, to          string // to is not within
	prefix, separated string // the hole, both not within
}

// Keys have no byte from the space to ")" and none after "~".
const (
	below = "!" // key + below comes after key and before all that begin with key
	above = "\x7f"
)

// spanOf returns the keys that List yields for the prefix and that come after the cursor.
func spanOf(prefix, cursor string) span {
	keys := span{below, above, above, above}
	if prefix != "" {
		// What begins with prefix + "/" ends before prefix + "0".
		keys = span{prefix, prefix + "0", prefix, prefix + "/"}
	}
	if storage.CheckKey(cursor) == nil && storage.Within(cursor, prefix) {
		keys.from = cursor + below
	}
	return keys
}

// List yields the keys that are prefix or lie below it, in their order; see [storage.Store]. It reads some thousand at
// a time, and holds no connection while the caller has a key.
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
// some hundred at a time, and holds no connection while the caller has a record. Cursors are keys.
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
			err = s.span(ctx, r, spanOf(prefix, cursor), yield)
		}
		if err != nil {
			yield(storage.Record{}, s.failure(ctx, r.operation, prefix, err))
		}
	}
}

// span yields the records of a range, page by page.
func (s *Store) span(ctx context.Context, r reading, keys span, yield func(storage.Record, error) bool) error {
	page := make([]storage.Record, 0, min(r.limit, 1024)) // growing while rows come holds the server up
	for {
		page = page[:0]
		err := s.query(ctx, func(columns [][]byte) { page = append(page, record(columns)) },
			r.statement, keys.from, keys.to, keys.prefix, keys.separated)
		if err != nil {
			return err
		}
		for _, found := range page {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !yield(found, nil) {
				return nil
			}
		}
		if len(page) < r.limit {
			return ctx.Err()
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
