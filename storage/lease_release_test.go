package storage_test

import (
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// wantFree checks that the lease is free at once, and what value it carries.
func wantFree(t *testing.T, s storage.Store, value string) {
	t.Helper()
	start := time.Now()
	next := mustAcquire(t, s, term)
	wantElapsed(t, "free", start, 0)
	if got := string(next.Value()); got != value {
		t.Errorf("the value is %q, want %q", got, value)
	}
	mustRelease(t, next)
}

func TestSaveAndRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		saves := s.Calls(storagetest.Save)
		value := []byte("last")
		if err := lease.SaveAndRelease(t.Context(), value); err != nil {
			t.Fatal(err)
		}
		value[0] = 'p'
		if got := string(lease.Value()); got != "last" {
			t.Errorf("the value is %q when the caller has changed its own", got)
		}
		if n := s.Calls(storagetest.Save) - saves; n != 1 {
			t.Errorf("%d writes, want 1", n)
		}
		if lease.Context().Err() == nil {
			t.Error("the lease's context goes on")
		}
		wantFree(t, &s, "last")
		if err := lease.SaveAndRelease(t.Context(), []byte("again")); !errors.Is(err, storage.ErrLost) {
			t.Errorf("a second time: %v, want ErrLost", err)
		}
		mustRelease(t, lease)
		wantFree(t, &s, "last")
	})
}

func TestSaveAndReleaseTooLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		if err := lease.SaveAndRelease(t.Context(), make([]byte, storage.MaxLeaseValue+1)); !errors.Is(err, storage.ErrTooLarge) {
			t.Errorf("%v, want ErrTooLarge", err)
		}
		if err := lease.SaveAndRelease(t.Context(), make([]byte, storage.MaxLeaseValue)); err != nil {
			t.Errorf("after a value that was too large: %v", err)
		}
	})
}

// TestSaveAndReleaseLost has another take the lease: its value stays.
func TestSaveAndReleaseLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storage.Memory
		own := &faulty{Store: &s}
		lease := mustAcquire(t, own, term)
		own.SetFaults(allDown)
		next := mustAcquire(t, &s, term)
		own.SetFaults()
		if err := next.Save(t.Context(), []byte("next")); err != nil {
			t.Fatal(err)
		}
		if err := lease.SaveAndRelease(t.Context(), []byte("late")); !errors.Is(err, storage.ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		if got := string(next.Value()); got != "next" || next.Context().Err() != nil {
			t.Errorf("the next holder's value is %q", got)
		}
		mustRelease(t, next)
		wantFree(t, &s, "next")
	})
}

func TestSaveAndReleaseFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		s.SetFaults(savesDown)
		for range 2 {
			if err := lease.SaveAndRelease(t.Context(), []byte("new")); !errors.Is(err, errDown) || errors.Is(err, storage.ErrLost) {
				t.Errorf("%v, want the store's error", err)
			}
		}
		s.SetFaults()
		mustRelease(t, lease)
		wantFree(t, &s, "")

		lease = mustAcquire(t, &s, term)
		for name, kind := range ambiguous {
			s.SetFaults(once(kind))
			if err := lease.SaveAndRelease(t.Context(), []byte(name)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			wantFree(t, &s, name)
			lease = mustAcquire(t, &s, term)
		}
		s.SetFaults(once(storagetest.Lost), loadsDown)
		if err := lease.SaveAndRelease(t.Context(), []byte("unread")); !errors.Is(err, errDown) {
			t.Errorf("what can't be read back: %v, want the store's error", err)
		}
		s.SetFaults()
		if err := lease.SaveAndRelease(t.Context(), []byte("unread")); !errors.Is(err, storage.ErrLost) {
			t.Errorf("again, when it was done before: %v, want ErrLost", err)
		}
		wantFree(t, &s, "unread")
	})
}

func TestLeaseDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		if err := lease.Save(t.Context(), []byte("value")); err != nil {
			t.Fatal(err)
		}
		s.SetFaults(storagetest.Fault{On: storagetest.Delete, Err: errDown})
		if err := lease.Delete(t.Context()); !errors.Is(err, errDown) || lease.Context().Err() == nil {
			t.Errorf("%v, want the store's error, and a lease that has ended", err)
		}
		for name, fault := range map[string]storagetest.Fault{
			"well":        {Kind: storagetest.Slow},
			"answer lost": {Kind: storagetest.Lost, On: storagetest.Delete},
			"twice":       {Kind: storagetest.Twice, On: storagetest.Delete},
		} {
			s.SetFaults(fault)
			if err := lease.Delete(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := s.Load(t.Context(), "lease"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: the record is still there (%v)", name, err)
			}
			s.SetFaults()
			if err := lease.Delete(t.Context()); !errors.Is(err, storage.ErrLost) {
				t.Errorf("%s: again: %v, want ErrLost", name, err)
			}
			mustRelease(t, lease)
			if lease = mustAcquire(t, &s, term); lease.Fence() != 1 || lease.Value() != nil {
				t.Errorf("%s: the next has fence %d and the value %q", name, lease.Fence(), lease.Value())
			}
		}
		// A renewal that was stored though that could not be seen.
		s.SetFaults(once(storagetest.Lost), loadsDown)
		_ = lease.Save(t.Context(), []byte("unseen"))
		s.SetFaults()
		if err := lease.Delete(t.Context()); err != nil {
			t.Errorf("after a write that was not seen: %v", err)
		}
	})
}

func TestLeaseDeleteLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storage.Memory
		own := &faulty{Store: &s}
		lease := mustAcquire(t, own, term)
		own.SetFaults(storagetest.Fault{On: storagetest.Delete, Err: errDown})
		if err := lease.Delete(t.Context()); !errors.Is(err, errDown) {
			t.Fatal(err)
		}
		own.SetFaults()
		next := mustAcquire(t, &s, term)
		if err := lease.Delete(t.Context()); !errors.Is(err, storage.ErrLost) {
			t.Errorf("%v, want ErrLost", err)
		}
		if err := next.Save(t.Context(), []byte("next")); err != nil {
			t.Error(err)
		}
		mustRelease(t, next)
	})
}
