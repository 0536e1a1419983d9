package storage

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
)

// A Record is a stored value with its key.
type Record struct {
	Key string
	Item
	Cursor string // for Scan to resume after this record
}

// A Scanner is a [Store] that reads many records at once: for a start, and to see what has changed if there is no
// [Watcher].
type Scanner interface {
	// Scan yields all records that List would yield the keys of, in no particular order, as they were at some time
	// during the scan. With the cursor of a record it yields those that had not come before it; records saved since
	// then may or may not be among them. A cursor is opaque and belongs to the store and the prefix; one that is
	// not known any more, and the empty one, begin from the start. An error about one record comes with its key and
	// cursor, and the sequence continues; any other comes with a zero Record and ends it. The caller may use the
	// store's other methods between two records.
	Scan(ctx context.Context, prefix, cursor string) iter.Seq2[Record, error]
}

// Scan yields the records whose keys List yields: by the store's own [Scanner], found through wrappers, or else by
// List and a Load of each key, in the order of the keys.
func Scan(ctx context.Context, s Store, prefix, cursor string) iter.Seq2[Record, error] {
	if s == nil {
		return func(yield func(Record, error) bool) { yield(Record{}, errNoStore) }
	}
	if scanner, ok := As[Scanner](s); ok {
		return scanner.Scan(ctx, prefix, cursor)
	}
	return scanKeys(s.List(ctx, prefix), cursor, func(key string) (Item, error) { return s.Load(ctx, key) })
}

// scanKeys yields the records of the keys after the cursor, which is a key, in their order. What load does not
// find has been deleted meanwhile.
func scanKeys(keys iter.Seq2[string, error], cursor string, load func(key string) (Item, error)) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		var after []string
		for key, err := range keys {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if key > cursor {
				after = append(after, key)
			}
		}
		slices.Sort(after)
		for _, key := range after {
			item, err := load(key)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if !yield(Record{Key: key, Item: item, Cursor: key}, err) {
				return
			}
		}
	}
}
