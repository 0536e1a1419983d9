package etcd

import (
	"context"
	"iter"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/everseal/everseal/storage"
)

const (
	keysPage    = 4096 // keys that List asks for at once
	recordsPage = 128  // records that Scan asks for at once
)

// List yields the keys that are prefix or lie below it, in their order; see [storage.Store]. It reads some thousand at
// a time, without their values.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for record, err := range s.pages(ctx, reading{operation: "list", limit: keysPage, keysOnly: true}, prefix, "") {
			if !yield(record.Key, err) {
				return
			}
		}
	}
}

// Scan yields the records that are prefix or lie below it, in the order of their keys; see [storage.Scanner]. It reads some
// hundred at a time, each page as the cluster is then. Cursors are keys.
func (s *Store) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return s.pages(ctx, reading{operation: "scan", limit: recordsPage}, prefix, cursor)
}

// A reading is a way to read many records.
type reading struct {
	operation string
	limit     int64 // records of a page
	keysOnly  bool

	prefix   string
	from, to string // what is left of the range; see Store.span
}

func (s *Store) pages(ctx context.Context, r reading, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := storage.AdmitPrefix(ctx, prefix); err != nil {
			yield(storage.Record{}, err)
			return
		}
		c, err := s.connect(ctx)
		if err == nil {
			r.prefix = prefix
			r.from, r.to = s.span(prefix)
			if storage.CheckKey(cursor) == nil && storage.Within(cursor, prefix) {
				r.from = s.after(cursor, prefix)
			}
			err = s.walk(ctx, c, r, yield)
		}
		if err != nil {
			yield(storage.Record{}, s.failure(ctx, r.operation, prefix, err))
		}
	}
}

// span returns the range of keys in etcd that has all that are at or below the prefix, and some between: those that begin
// with the prefix and a byte from "*" to ".".
func (s *Store) span(prefix string) (from, to string) {
	from = s.recordKey(prefix)
	if prefix == "" {
		return from, clientv3.GetPrefixRangeEnd(from)
	}
	return from, from + "0" // "0" follows "/"
}

// after returns from where on the keys come that follow one of the range, without those that are not below the prefix.
func (s *Store) after(key, prefix string) string {
	next := s.recordKey(key) + "\x00"
	if prefix != "" {
		next = max(next, s.recordKey(prefix)+"/")
	}
	return next
}

// walk yields the records of a range, page by page.
func (s *Store) walk(ctx context.Context, c *connection, r reading, yield func(storage.Record, error) bool) error {
	options := []clientv3.OpOption{clientv3.WithRange(r.to), clientv3.WithLimit(r.limit)}
	if r.keysOnly {
		options = append(options, clientv3.WithKeysOnly())
	}
	for {
		response, err := c.get(ctx, r.from, options...)
		if err != nil {
			return err
		}
		if last := len(response.Kvs) - 1; last >= 0 {
			r.from = s.after(s.keyOf(response.Kvs[last].Key), r.prefix)
		}
		for i, found := range response.Kvs {
			response.Kvs[i] = nil // a caller that takes its time need not keep the page
			key := s.keyOf(found.Key)
			if !storage.Within(key, r.prefix) || storage.CheckKey(key) != nil {
				continue
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			record := storage.Record{Key: key, Cursor: key}
			if !r.keysOnly {
				value, nonce := decode(found.Value)
				record.Item = storage.Item{Value: value, Revision: version{found.ModRevision, nonce}.revision()}
			}
			if !yield(record, nil) {
				return nil
			}
		}
		if !response.More {
			return ctx.Err()
		}
	}
}
