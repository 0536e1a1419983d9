package certmanager

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"sync/atomic"

	"github.com/everseal/everseal/storage"
)

// The operations of a storage that are counted.
const (
	opLoad = iota
	opSave
	opDelete
	opList
	opScan
	numOps
)

// A callCounter counts calls of the storage.
type callCounter struct {
	ops [numOps]struct{ calls, errors atomic.Int64 }
}

// begun counts a call.
func (c *callCounter) begun(op int) { c.ops[op].calls.Add(1) }

// ended counts an error of the storage's own. It is none that a record is not there or was changed, or that whoever called wants
// the answer no more, but for its having taken too long.
func (c *callCounter) ended(ctx context.Context, op int, err error) {
	unwanted := errors.Is(ctx.Err(), context.Canceled) && !errors.Is(context.Cause(ctx), errSlowStorage)
	if err != nil && !unwanted && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, storage.ErrConflict) {
		c.ops[op].errors.Add(1)
	}
}

func (c *callCounter) all() map[string]CallCount {
	all := make(map[string]CallCount, numOps)
	for op, name := range [numOps]string{"load", "save", "delete", "list", "scan"} {
		all[name] = CallCount{Calls: c.ops[op].calls.Load(), Errors: c.ops[op].errors.Load()}
	}
	return all
}

// counted returns the store as one whose calls are counted. What it is besides is found through Unwrap; it is a
// storage.Scanner if the store is one.
func counted(s storage.Store, c *callCounter) storage.Store {
	wrapped := countedStore{s, c}
	if scanner, ok := storage.As[storage.Scanner](s); ok {
		return countedScanner{wrapped, scanner}
	}
	return wrapped
}

// A countedStore is a store whose calls are counted.
type countedStore struct {
	storage.Store
	counter *callCounter
}

func (s countedStore) Unwrap() storage.Store { return s.Store }

func (s countedStore) Load(ctx context.Context, key string) (storage.Item, error) {
	s.counter.begun(opLoad)
	item, err := s.Store.Load(ctx, key)
	s.counter.ended(ctx, opLoad, err)
	return item, err
}

func (s countedStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	s.counter.begun(opSave)
	revision, err := s.Store.Save(ctx, key, value, old)
	s.counter.ended(ctx, opSave, err)
	return revision, err
}

func (s countedStore) Delete(ctx context.Context, key string, old storage.Revision) error {
	s.counter.begun(opDelete)
	err := s.Store.Delete(ctx, key, old)
	s.counter.ended(ctx, opDelete, err)
	return err
}

func (s countedStore) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return countedSeq(ctx, s.counter, opList, s.Store.List(ctx, prefix))
}

// A countedScanner is a countedStore that is a storage.Scanner.
type countedScanner struct {
	countedStore
	scanner storage.Scanner
}

func (s countedScanner) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return countedSeq(ctx, s.counter, opScan, s.scanner.Scan(ctx, prefix, cursor))
}

// countedSeq counts the call when the sequence is asked for, and its errors.
func countedSeq[T any](ctx context.Context, c *callCounter, op int, seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		c.begun(op)
		for v, err := range seq {
			c.ended(ctx, op, err)
			if !yield(v, err) {
				return
			}
		}
	}
}
