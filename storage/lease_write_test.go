package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
)

// once returns a Save that does what first does the first time, and works then.
func once(first func(save func() error) error) func(save func() error) error {
	var done bool
	return func(save func() error) error {
		if done {
			return save()
		}
		done = true
		return first(save)
	}
}

// What an engine's driver does when a connection breaks.
var ambiguous = map[string]func(save func() error) error{
	"stored, then an error": func(save func() error) error {
		return errors.Join(save(), errDown)
	},
	"stored, then a conflict with itself": func(save func() error) error {
		if err := save(); err != nil {
			return err
		}
		return fmt.Errorf("second attempt: %w", storage.ErrConflict)
	},
}

func TestLeaseAmbiguousAcquire(t *testing.T) {
	for name, save := range ambiguous {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s faulty
				s.fail(nil, once(save))
				start := time.Now()
				lease := mustAcquire(t, &s, term)
				if wait := time.Since(start); wait > 3*time.Second {
					t.Errorf("waited %v for a lease that was its own already", wait)
				}
				time.Sleep(10 * term)
				if err := lease.Context().Err(); err != nil {
					t.Errorf("lost: %v", context.Cause(lease.Context()))
				}
				mustRelease(t, lease)
			})
		})
	}
}

func TestLeaseAmbiguousSave(t *testing.T) {
	for name, save := range ambiguous {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s faulty
				lease := mustAcquire(t, &s, term)
				s.fail(nil, once(save))
				if err := lease.Save(t.Context(), []byte("new")); err != nil {
					t.Errorf("Save: %v", err)
				}
				s.fail(nil, once(save))
				time.Sleep(10 * term)
				if err := lease.Context().Err(); err != nil {
					t.Errorf("lost: %v", context.Cause(lease.Context()))
				}
				s.fail(nil, once(save))
				mustRelease(t, lease)
				start := time.Now()
				next := mustAcquire(t, &s, term)
				wantElapsed(t, "free", start, 0)
				if got := string(next.Value()); got != "new" {
					t.Errorf("the value is %q, want new", got)
				}
				mustRelease(t, next)
			})
		})
	}
}

func TestLeaseFailedSave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.fail(nil, once(saveDown))
		if err := lease.Save(t.Context(), []byte("new")); !errors.Is(err, errDown) || errors.Is(err, storage.ErrLost) {
			t.Errorf("Save that was not stored: %v, want the store's error", err)
		}
		if got := lease.Value(); got != nil {
			t.Errorf("the value is %q after a Save that was not stored", got)
		}
		if err := lease.Save(t.Context(), []byte("newer")); err != nil {
			t.Errorf("next Save: %v", err)
		}
		mustRelease(t, lease)
	})
}

func TestLeaseUnknownSaveIsFoundLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.fail(down, once(ambiguous["stored, then an error"]))
		if err := lease.Save(t.Context(), []byte("new")); !errors.Is(err, errDown) || errors.Is(err, storage.ErrLost) {
			t.Errorf("Save whose outcome can't be read back: %v, want the store's error", err)
		}
		s.fail(nil, nil)
		time.Sleep(term) // renewals meet the unknown write
		if got := string(lease.Value()); got != "new" {
			t.Errorf("the value is %q, but new was stored", got)
		}
		if err := lease.Context().Err(); err != nil {
			t.Errorf("lost by a write of its own: %v", context.Cause(lease.Context()))
		}
		mustRelease(t, lease)
	})
}

func TestLeaseConflictWithoutChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		before := s.saves.Load()
		s.fail(nil, func(func() error) error { return storage.ErrConflict })
		if err := lease.Save(t.Context(), []byte("new")); err == nil {
			t.Error("Save on a store that always conflicts succeeds")
		}
		if got := s.saves.Load() - before; got != 1 {
			t.Errorf("Save has tried %d times although nothing had changed", got)
		}
		s.fail(nil, nil)
		mustRelease(t, lease)
	})
}

func TestLeaseReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.fail(nil, saveDown)
		if err := lease.Release(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Release: %v, want the store's error", err)
		}
		if lease.Context().Err() == nil {
			t.Error("the lease's context goes on")
		}
		s.fail(nil, nil)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := lease.Release(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Release under a cancelled context: %v, want context.Canceled", err)
		}
		mustRelease(t, lease, lease)
		start := time.Now()
		next := mustAcquire(t, &s, term)
		wantElapsed(t, "free", start, 0)
		mustRelease(t, next)
	})
}

func TestLeaseReleaseDuringRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.fail(nil, once(func(save func() error) error {
			time.Sleep(term / 8) // a slow medium that ignores contexts
			return save()
		}))
		time.Sleep(term/4 + time.Second)
		start := time.Now()
		mustRelease(t, lease)
		wantElapsed(t, "released", start, term/8-time.Second)
		next := mustAcquire(t, &s, term)
		wantElapsed(t, "free", start, term/8-time.Second)
		mustRelease(t, next)
	})
}

// stuck is a Memory whose saves, once it is set, do nothing until their context ends.
type stuck struct {
	storage.Memory
	set atomic.Bool
}

func (s *stuck) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	if s.set.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return s.Memory.Save(ctx, key, value, old)
}

func TestLeaseReleaseEndsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s stuck
		lease := mustAcquire(t, &s, term)
		s.set.Store(true)
		time.Sleep(term/4 + time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := lease.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Release on a medium that does not answer: %v, want its context's error", err)
		}
		wantElapsed(t, "gave up", start, time.Second)
		s.set.Store(false)
		mustRelease(t, lease)
		wantElapsed(t, "released", start, time.Second)
	})
}

func TestLeaseConcurrentUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for range 50 {
					if err := lease.Save(t.Context(), []byte{byte(i)}); err != nil {
						t.Errorf("Save: %v", err)
					}
					lease.Value()
					time.Sleep(time.Second)
				}
			})
		}
		group.Wait()
		for range 4 {
			group.Go(func() {
				if err := lease.Release(t.Context()); err != nil {
					t.Errorf("Release: %v", err)
				}
			})
		}
		group.Wait()
		next := mustAcquire(t, &s, term)
		if got := next.Fence(); got != 2 {
			t.Errorf("fence %d, want 2", got)
		}
		mustRelease(t, next)
	})
}

func TestUpdateFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		value := func([]byte) ([]byte, error) { return []byte("x"), nil }
		s.fail(down, nil)
		if _, err := storage.Update(t.Context(), &s, "a", value); !errors.Is(err, errDown) {
			t.Errorf("Update of a store that can't be read: %v", err)
		}
		s.fail(nil, saveDown)
		if _, err := storage.Update(t.Context(), &s, "a", value); !errors.Is(err, errDown) {
			t.Errorf("Update of a store that can't be written: %v", err)
		}
		s.fail(nil, func(func() error) error { return storage.ErrConflict })
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		before := s.saves.Load()
		if _, err := storage.Update(ctx, &s, "a", value); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update that never wins: %v, want the context's error", err)
		}
		if got := s.saves.Load() - before; got < 60 || got > 5000 {
			t.Errorf("Update has tried %d times in a minute", got)
		}
		s.fail(nil, nil)
		if _, err := s.Memory.Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was stored: %v", err)
		}
	})
}
