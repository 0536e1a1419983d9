package storagetest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/everseal/everseal/storage"
)

// writers is how many goroutines change one record at once.
const writers = 32

func concurrencyCases() []testCase {
	return []testCase{
		{"ConcurrentCreate", "Of a fleet whose machines start at the same moment exactly one may create the account. A store that " +
			"checks first and writes then lets two of them win.", testConcurrentCreate},
		{"ConcurrentSwap", "Each save that succeeds must have replaced what its writer had loaded. Lost increments are " +
			"lost certificates and rate limits exceeded.", testConcurrentSwap},
		{"ConcurrentDelete", "Exactly one of those who delete a record has deleted it.", testConcurrentDelete},
		{"ConcurrentUpdate", "Update must retry until it has won, without losing anybody's change.", testConcurrentUpdate},
	}
}

// A writer is one of many goroutines that work on the same record.
type writer struct {
	number int
	storage.Store
	meet func() // the first call waits until all writers have made theirs, or have ended
}

// together runs f for many writers at once, on both handles in turn, and reports errors.
func together(t *testing.T, s, other storage.Store, f func(w writer) error) {
	t.Helper()
	var ended, met sync.WaitGroup
	met.Add(writers)
	for i := range writers {
		arrive := sync.OnceFunc(met.Done)
		w := writer{number: i, Store: s, meet: sync.OnceFunc(func() {
			arrive()
			met.Wait()
		})}
		if i%2 == 1 {
			w.Store = other
		}
		ended.Go(func() {
			defer arrive()
			if err := f(w); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	ended.Wait()
}

func testConcurrentCreate(t *testing.T, s, other storage.Store) {
	for round := range 4 {
		key := fmt.Sprintf("a/%d", round)
		var winners atomic.Int32
		var revision atomic.Value
		var value atomic.Value
		together(t, s, other, func(w writer) error {
			mine := strconv.Itoa(w.number)
			w.meet()
			created, err := w.Save(t.Context(), key, []byte(mine), "")
			if errors.Is(err, storage.ErrConflict) {
				return nil
			}
			if err == nil {
				winners.Add(1)
				revision.Store(created)
				value.Store(mine)
			}
			return err
		})
		if winners.Load() != 1 {
			t.Fatalf("%d of %d writers have created the same key, want 1", winners.Load(), writers)
		}
		on(t, s).wantStored(key, value.Load().(string), revision.Load().(storage.Revision))
	}
}

func testConcurrentSwap(t *testing.T, s, other storage.Store) {
	const each = 4
	on(t, s).save("counter", "0", "")
	var revisions sync.Map
	together(t, s, other, func(w writer) error {
		for range each {
			revision, err := increment(t.Context(), w, "counter")
			if err != nil {
				return err
			}
			if _, again := revisions.LoadOrStore(revision, true); again {
				return fmt.Errorf("the revision %q was given twice", revision)
			}
		}
		return nil
	})
	if got := string(on(t, s).load("counter").Value); got != strconv.Itoa(writers*each) {
		t.Errorf("after %d increments the counter is %s", writers*each, got)
	}
}

// increment adds one to the number under key, without any pause between its attempts.
func increment(ctx context.Context, w writer, key string) (storage.Revision, error) {
	for {
		item, err := w.Load(ctx, key)
		if err != nil {
			return "", err
		}
		n, err := strconv.Atoi(string(item.Value))
		if err != nil {
			return "", err
		}
		w.meet() // once: all have loaded the same and only one can win
		revision, err := w.Save(ctx, key, []byte(strconv.Itoa(n+1)), item.Revision)
		if !errors.Is(err, storage.ErrConflict) {
			return revision, err
		}
	}
}

func testConcurrentDelete(t *testing.T, s, other storage.Store) {
	for range 4 {
		revision := on(t, s).save("a/b", "x", "")
		var winners atomic.Int32
		together(t, s, other, func(w writer) error {
			w.meet()
			err := w.Delete(t.Context(), "a/b", revision)
			if errors.Is(err, storage.ErrConflict) {
				return nil
			}
			if err == nil {
				winners.Add(1)
			}
			return err
		})
		if winners.Load() != 1 {
			t.Fatalf("%d of %d writers have deleted the same record, want 1", winners.Load(), writers)
		}
	}
}

func testConcurrentUpdate(t *testing.T, s, other storage.Store) {
	together(t, s, other, func(w writer) error {
		_, err := storage.Update(t.Context(), w.Store, "list", func(old []byte) ([]byte, error) {
			w.meet()
			return append(old, '+'), nil
		})
		return err
	})
	if got := on(t, s).load("list").Value; len(got) != writers {
		t.Errorf("after %d appended bytes the value is %q", writers, got)
	}
}
