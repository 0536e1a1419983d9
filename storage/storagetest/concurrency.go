package storagetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
			"looks first and writes then lets two of them win.", testConcurrentCreate},
		{"ConcurrentSwap", "Each save that succeeds must have replaced what its writer had loaded. Lost increments are " +
			"lost certificates and rate limits exceeded.", testConcurrentSwap},
		{"ConcurrentDelete", "Exactly one of those who delete a record has deleted it.", testConcurrentDelete},
		{"ConcurrentUpdate", "Update must go on until it has won, without losing anybody's change.", testConcurrentUpdate},
	}
}

// together calls f on many goroutines at once, on both handles in turn, and reports errors.
func together(t *testing.T, s, other storage.Store, f func(i int, handle storage.Store) error) {
	t.Helper()
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range writers {
		handle := s
		if i%2 == 1 {
			handle = other
		}
		group.Go(func() {
			<-start
			if err := f(i, handle); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
	close(start)
	group.Wait()
}

func testConcurrentCreate(t *testing.T, s, other storage.Store) {
	for round := range 4 {
		key := fmt.Sprintf("a/%d", round)
		var winners atomic.Int32
		var revision atomic.Value
		var value atomic.Value
		together(t, s, other, func(i int, handle storage.Store) error {
			mine := strconv.Itoa(i)
			created, err := handle.Save(t.Context(), key, []byte(mine), "")
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
		wantStored(t, s, key, value.Load().(string), revision.Load().(storage.Revision))
	}
}

func testConcurrentSwap(t *testing.T, s, other storage.Store) {
	const each = 4
	save(t, s, "counter", "0", "")
	var revisions sync.Map
	together(t, s, other, func(_ int, handle storage.Store) error {
		for range each {
			revision, err := increment(t.Context(), handle, "counter")
			if err != nil {
				return err
			}
			if _, again := revisions.LoadOrStore(revision, true); again {
				return fmt.Errorf("the revision %q was given twice", revision)
			}
		}
		return nil
	})
	if got := string(load(t, s, "counter").Value); got != strconv.Itoa(writers*each) {
		t.Errorf("after %d increments the counter is %s", writers*each, got)
	}
}

// increment adds one to the number under key. It lets others run between its load and its save, and makes
// no pause between its attempts.
func increment(ctx context.Context, s storage.Store, key string) (storage.Revision, error) {
	for {
		item, err := s.Load(ctx, key)
		if err != nil {
			return "", err
		}
		n, err := strconv.Atoi(string(item.Value))
		if err != nil {
			return "", err
		}
		runtime.Gosched()
		revision, err := s.Save(ctx, key, []byte(strconv.Itoa(n+1)), item.Revision)
		if !errors.Is(err, storage.ErrConflict) {
			return revision, err
		}
	}
}

func testConcurrentDelete(t *testing.T, s, other storage.Store) {
	for range 4 {
		revision := save(t, s, "a/b", "x", "")
		var winners atomic.Int32
		together(t, s, other, func(_ int, handle storage.Store) error {
			err := handle.Delete(t.Context(), "a/b", revision)
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
	together(t, s, other, func(_ int, handle storage.Store) error {
		_, err := storage.Update(t.Context(), handle, "list", func(old []byte) ([]byte, error) {
			runtime.Gosched()
			return append(old, '+'), nil
		})
		return err
	})
	if got := load(t, s, "list").Value; len(got) != writers {
		t.Errorf("after %d appended bytes the value is %q", writers, got)
	}
}
