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

// mustCheck checks a lease that is free.
func mustCheck(t *testing.T, claim *storage.Claim, wantValue string, wantFence uint64) {
	t.Helper()
	value, fence, err := claim.Check(t.Context())
	if err != nil || string(value) != wantValue || fence != wantFence {
		t.Fatalf("Check: value %q, fence %d, error %v; want %q and %d", value, fence, err, wantValue, wantFence)
	}
}

func mustTake(t *testing.T, claim *storage.Claim, value string) *storage.Lease {
	t.Helper()
	lease, err := claim.Take(t.Context(), []byte(value))
	if err != nil || string(lease.Value()) != value {
		t.Fatalf("Take: %v, %v", lease, err)
	}
	return lease
}

// The first value is stored by the write that takes the lease. A check writes nothing, and the next holder finds the value
// of one that died right after that write.
func TestTakeWithValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		claim := storage.Claim{Store: &s, Key: "lease", Term: term}
		mustCheck(t, &claim, "", 1)
		mustCheck(t, &claim, "", 1)
		if _, err := s.Load(t.Context(), "lease"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a check has stored something: %v", err)
		}
		lease := mustTake(t, &claim, "first")
		if n := s.Calls(storagetest.Writes); n != 1 || lease.Fence() != 1 {
			t.Errorf("%d writes, fence %d, want 1 and 1", n, lease.Fence())
		}
		s.SetFaults(storagetest.Fault{}) // it is dead
		other := storage.Claim{Store: s.Unwrap(), Key: "lease", Term: term}
		wantHeld(t, errorOf(other.Try(t.Context())))
		time.Sleep(2 * term)
		mustCheck(t, &other, "first", 2)
		mustRelease(t, mustTake(t, &other, ""))
		s.SetFaults()
		mustRelease(t, lease)
	})
}

// What was checked is compared with when the lease is taken, however long after.
func TestTakeOfWhatHasChanged(t *testing.T) {
	between := map[string]func(*testing.T, storage.Store){
		"another has it": func(t *testing.T, s storage.Store) { abandon(t, s, term) },
		"another had it": func(t *testing.T, s storage.Store) { mustRelease(t, mustAcquire(t, s, term)) },
		"another has left a value": func(t *testing.T, s storage.Store) {
			if err := mustAcquire(t, s, term).SaveAndRelease(t.Context(), []byte("left")); err != nil {
				t.Error(err)
			}
		},
	}
	for name, happen := range between {
		for _, before := range []string{"nothing", "a free lease", "a dead holder"} {
			synctest.Test(t, func(t *testing.T) {
				var s storage.Memory
				claim := storage.Claim{Store: &s, Key: "lease", Term: term}
				switch before {
				case "a free lease":
					mustRelease(t, mustAcquire(t, &s, term))
				case "a dead holder":
					abandon(t, &s, term)
					wantHeld(t, errorOf(claim.Try(t.Context())))
					time.Sleep(term)
				}
				if _, _, err := claim.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				happen(t, &s)
				item, err := s.Load(t.Context(), "lease")
				if err != nil {
					t.Fatal(err)
				}
				wantHeld(t, errorOf(claim.Take(t.Context(), []byte("late"))))
				if now, err := s.Load(t.Context(), "lease"); err != nil || now.Revision != item.Revision {
					t.Errorf("%s after a check that found %s: it was written over (%v)", name, before, err)
				}
			})
		}
	}
}

func TestTakeWithoutCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storage.Memory
		claim := storage.Claim{Store: &s, Key: "lease", Term: term}
		wantHeld(t, errorOf(claim.Take(t.Context(), nil)))
		mustCheck(t, &claim, "", 1)
		if _, err := claim.Take(t.Context(), make([]byte, storage.MaxLeaseValue+1)); !errors.Is(err, storage.ErrTooLarge) {
			t.Errorf("a value that is too large: %v", err)
		}
		wantHeld(t, errorOf(claim.Take(t.Context(), nil)))
		mustCheck(t, &claim, "", 1)
		claim.Withdraw()
		wantHeld(t, errorOf(claim.Take(t.Context(), nil)))
		mustCheck(t, &claim, "", 1)
		lease := mustTake(t, &claim, "value")
		wantHeld(t, errorOf(claim.Take(t.Context(), nil)))
		wantHeld(t, errorOf(claim.Try(t.Context())))
		mustRelease(t, lease)
	})
}

// Of a write whose answer was lost, and that can't be read back, the next check finds the value.
func TestTakeWithLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		claim := storage.Claim{Store: &s, Key: "lease", Term: term}
		mustCheck(t, &claim, "", 1)
		s.SetFaults(once(storagetest.Lost), storagetest.Fault{On: storagetest.Load, Times: 1, Err: errDown})
		if _, err := claim.Take(t.Context(), []byte("value")); !errors.Is(err, errDown) {
			t.Fatalf("error %v", err)
		}
		s.SetFaults()
		mustCheck(t, &claim, "value", 2)
		mustRelease(t, mustTake(t, &claim, "further"))
		mustCheck(t, &claim, "further", 3)
	})
}
