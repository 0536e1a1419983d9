package storage_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// abandoned returns a lease whose holder stops renewing it at the call of kill, and does not give it back.
func abandoned(t *testing.T, s storage.Store, term time.Duration) (lease *storage.Lease, kill func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	lease, err := storage.Acquire(ctx, s, "lease", term)
	if err != nil {
		t.Fatal(err)
	}
	return lease, func() {
		cancel()
		synctest.Wait()
	}
}

// abandon stores a lease whose holder is dead.
func abandon(t *testing.T, s storage.Store, term time.Duration) {
	t.Helper()
	_, kill := abandoned(t, s, term)
	kill()
}

func mustSave(t *testing.T, lease *storage.Lease, value string) {
	t.Helper()
	if err := lease.Save(t.Context(), []byte(value)); err != nil {
		t.Error(err)
	}
}

func wantHeld(t *testing.T, err error) time.Duration {
	t.Helper()
	held, ok := errors.AsType[*storage.HeldError](err)
	if !ok || held.Key != "lease" || held.RetryAfter <= 0 || !strings.Contains(err.Error(), `"lease"`) {
		t.Fatalf("error %v, want a HeldError", err)
	}
	return held.RetryAfter
}

// A claim never waits, and sees in several tries what Acquire sees in one call.
func TestClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var s storage.Memory
		dead, kill := abandoned(t, &s, term)
		claim := storage.Claim{Store: &s, Key: "lease", Term: term}
		start := time.Now()
		for range 5 { // while it lives
			if _, err := claim.Try(ctx); wantHeld(t, err) > term {
				t.Errorf("%v", err)
			}
			time.Sleep(term)
		}
		if took := time.Since(start); took != 5*term {
			t.Errorf("Try waited: %v", took)
		}
		mustSave(t, dead, "how far it came")
		kill()
		if _, err := claim.Try(ctx); wantHeld(t, err) <= 0 {
			t.Error(err)
		}
		time.Sleep(term - time.Millisecond)
		if _, err := claim.Try(ctx); wantHeld(t, err) > time.Millisecond {
			t.Errorf("it could be had in 1 ms: %v", err)
		}
		time.Sleep(time.Millisecond)
		lease, err := claim.Try(ctx)
		if err != nil || string(lease.Value()) != "how far it came" || lease.Fence() != 2 {
			t.Fatalf("lease %v, error %v", lease, err)
		}
		claim.Withdraw() // does nothing to the lease
		mustSave(t, lease, "further")

		// The claim can be used again: then it is another's.
		if _, err := claim.Try(ctx); wantHeld(t, err) <= 0 {
			t.Error(err)
		}
		mustRelease(t, lease)
		again, err := claim.Try(ctx)
		if err != nil || again.Fence() != 3 {
			t.Fatalf("lease %v, error %v", again, err)
		}
		mustRelease(t, again)
	})
}

func TestUnfitClaims(t *testing.T) {
	var s storage.Memory
	for _, test := range []struct {
		claim storage.Claim
		says  string
	}{
		{storage.Claim{}, "Store"},
		{storage.Claim{Store: &s, Key: "lease"}, "10ms to 1h0m0s, not 0s"},
		{storage.Claim{Store: &s, Key: "lease", Term: time.Hour + 1}, "1h0m0s"},
		{storage.Claim{Store: &s, Key: "../lease", Term: time.Hour}, "lease"},
	} {
		for what, err := range map[string]error{
			"Try":     errorOf(test.claim.Try(t.Context())),
			"Acquire": errorOf(storage.Acquire(t.Context(), test.claim.Store, test.claim.Key, test.claim.Term)),
		} {
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s of %+v: %v, want %q", what, test.claim, err, test.says)
			}
		}
		test.claim.Withdraw()
	}
	if _, err := s.Load(t.Context(), "lease"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something was stored: %v", err)
	}
}

func errorOf[T any](_ T, err error) error { return err }

// A look that fails takes nothing from what was seen before.
func TestFailedLookIsNoLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var s faulty
		abandon(t, &s, term)
		claim := storage.Claim{Store: &s, Key: "lease", Term: term}
		wantHeld(t, errorOf(claim.Try(ctx)))
		time.Sleep(term / 2)
		s.SetFaults(loadsDown)
		for range 3 {
			if _, err := claim.Try(ctx); !errors.Is(err, errDown) {
				t.Errorf("error %v", err)
			}
			time.Sleep(term / 8)
		}
		s.SetFaults(savesDown)
		time.Sleep(term / 8)
		if _, err := claim.Try(ctx); !errors.Is(err, errDown) {
			t.Errorf("error %v", err)
		}
		s.SetFaults()
		lease, err := claim.Try(ctx)
		if err != nil {
			t.Fatalf("a whole term after the first look: %v", err)
		}
		mustRelease(t, lease)
	})
}

// A process that died is succeeded within three terms while a fifth of all calls fail.
func TestTakeOverThroughFailures(t *testing.T) {
	for _, share := range []float64{0.05, 0.2} {
		synctest.Test(t, func(t *testing.T) {
			var total time.Duration
			const rounds = 1000
			for round := range uint64(rounds) {
				s := faulty{Seed: round}
				abandon(t, &s, time.Minute)
				s.SetFaults(storagetest.Fault{Share: share})
				start := time.Now()
				lease, err := storage.Acquire(t.Context(), &s, "lease", time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				if took < time.Minute || took > 3*time.Minute {
					t.Errorf("with %v of the calls failing it took %v", share, took)
				}
				total += took
				s.SetFaults()
				mustRelease(t, lease)
			}
			t.Logf("with %v of the calls failing: %v on average", share, total/rounds)
		})
	}
}

// Acquire gives up once no look has succeeded for a term, and not before.
func TestAcquireBearsFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		s.SetFaults(loadsDown)
		start := time.Now()
		_, err := storage.Acquire(t.Context(), &s, "lease", time.Minute)
		if took := time.Since(start); !errors.Is(err, errDown) || took < time.Minute || took > 70*time.Second {
			t.Errorf("error %v after %v", err, took)
		}
		time.AfterFunc(50*time.Second, func() { s.SetFaults() })
		lease, err := storage.Acquire(t.Context(), &s, "lease", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		mustRelease(t, lease)

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		s.SetFaults(loadsDown)
		start = time.Now()
		if _, err := storage.Acquire(ctx, &s, "lease", time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		wantElapsed(t, "ended", start, 10*time.Second)
	})
}

// A term of more than an hour in a record, which no Acquire writes, counts as an hour.
func TestLongTermInARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storage.Memory
		record := `{"version":1,"owner":"somebody","fence":7,"term":"10000h","beat":"x"}` + "\nvalue"
		if _, err := s.Save(t.Context(), "lease", []byte(record), ""); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		lease := mustAcquire(t, &s, time.Minute)
		wantElapsed(t, "taken", start, time.Hour)
		if lease.Fence() != 8 || string(lease.Value()) != "value" {
			t.Errorf("fence %d, value %q", lease.Fence(), lease.Value())
		}
		mustRelease(t, lease)
	})
}
