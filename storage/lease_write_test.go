package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// ambiguous is what an engine's driver does when a connection breaks.
var ambiguous = map[string]storagetest.Kind{
	"stored, then an error":               storagetest.Lost,
	"stored, then a conflict with itself": storagetest.Twice,
}

// once is a fault of the next save alone.
func once(kind storagetest.Kind) storagetest.Fault {
	return storagetest.Fault{Kind: kind, On: storagetest.Save, Times: 1, Err: errDown}
}

func TestLeaseAmbiguousAcquire(t *testing.T) {
	for name, kind := range ambiguous {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s faulty
				s.SetFaults(once(kind))
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
	for name, kind := range ambiguous {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s faulty
				lease := mustAcquire(t, &s, term)
				s.SetFaults(once(kind))
				if err := lease.Save(t.Context(), []byte("new")); err != nil {
					t.Errorf("Save: %v", err)
				}
				s.SetFaults(once(kind))
				time.Sleep(10 * term)
				if err := lease.Context().Err(); err != nil {
					t.Errorf("lost: %v", context.Cause(lease.Context()))
				}
				s.SetFaults(once(kind))
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
		s.SetFaults(once(storagetest.Fail))
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
		s.SetFaults(loadsDown, once(storagetest.Lost))
		if err := lease.Save(t.Context(), []byte("new")); !errors.Is(err, errDown) || errors.Is(err, storage.ErrLost) {
			t.Errorf("Save whose outcome can't be read back: %v, want the store's error", err)
		}
		s.SetFaults()
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
		before := s.Calls(storagetest.Save)
		s.SetFaults(storagetest.Fault{On: storagetest.Save, Err: storage.ErrConflict})
		if err := lease.Save(t.Context(), []byte("new")); err == nil {
			t.Error("Save on a store that always conflicts succeeds")
		}
		if got := s.Calls(storagetest.Save) - before; got != 1 {
			t.Errorf("Save has tried %d times although nothing had changed", got)
		}
		s.SetFaults()
		mustRelease(t, lease)
	})
}

func TestLeaseReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.SetFaults(savesDown)
		if err := lease.Release(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("Release: %v, want the store's error", err)
		}
		if lease.Context().Err() == nil {
			t.Error("the lease's context goes on")
		}
		s.SetFaults()
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
		// A slow medium that ignores contexts.
		s.SetFaults(storagetest.Fault{Kind: storagetest.Stuck, On: storagetest.Save, Times: 1, Delay: term / 8})
		time.Sleep(term/4 + time.Second)
		start := time.Now()
		mustRelease(t, lease)
		wantElapsed(t, "released", start, term/8-time.Second)
		next := mustAcquire(t, &s, term)
		wantElapsed(t, "free", start, term/8-time.Second)
		mustRelease(t, next)
	})
}

func TestLeaseReleaseEndsRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.SetFaults(storagetest.Fault{Kind: storagetest.Hang, On: storagetest.Save})
		time.Sleep(term/4 + time.Second)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := lease.Release(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Release on a medium that does not answer: %v, want its context's error", err)
		}
		wantElapsed(t, "gave up", start, time.Second)
		s.SetFaults()
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
		s.SetFaults(loadsDown)
		if _, err := storage.Update(t.Context(), &s, "a", value); !errors.Is(err, errDown) {
			t.Errorf("Update of a store that can't be read: %v", err)
		}
		s.SetFaults(savesDown)
		if _, err := storage.Update(t.Context(), &s, "a", value); !errors.Is(err, errDown) {
			t.Errorf("Update of a store that can't be written: %v", err)
		}
		s.SetFaults(storagetest.Fault{On: storagetest.Save, Err: storage.ErrConflict})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		before := s.Calls(storagetest.Save)
		if _, err := storage.Update(ctx, &s, "a", value); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Update that never wins: %v, want the context's error", err)
		}
		if got := s.Calls(storagetest.Save) - before; got < 60 || got > 5000 {
			t.Errorf("Update has tried %d times in a minute", got)
		}
		s.SetFaults()
		if _, err := s.Unwrap().Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("something was stored: %v", err)
		}
	})
}
