package storage_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

const term = time.Minute

// faulty is a Memory whose methods can be made to fail, and that counts their calls.
type faulty = storagetest.Faulty

var errDown = errors.New("the medium is down")

// What goes wrong when the medium is down, for all calls or for some.
var (
	allDown   = storagetest.Fault{Err: errDown}
	loadsDown = storagetest.Fault{On: storagetest.Load, Err: errDown}
	savesDown = storagetest.Fault{On: storagetest.Save, Err: errDown}
)

func mustAcquire(t *testing.T, s storage.Store, term time.Duration) *storage.Lease {
	t.Helper()
	lease, err := storage.Acquire(t.Context(), s, "lease", term)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return lease
}

func mustRelease(t *testing.T, leases ...*storage.Lease) {
	t.Helper()
	for _, lease := range leases {
		if err := lease.Release(t.Context()); err != nil {
			t.Errorf("Release: %v", err)
		}
	}
}

func wantElapsed(t *testing.T, what string, start time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(start); got != want {
		t.Errorf("%s after %v, want %v", what, got, want)
	}
}

func TestLeaseIsTakenOverAfterTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		holder := new(faulty)
		lost := mustAcquire(t, holder, term)
		holder.SetFaults(allDown) // the holder alone: others use its Memory
		time.Sleep(7 * time.Second)
		start := time.Now()
		lease := mustAcquire(t, holder.Unwrap(), time.Second) // its own short term must not matter
		wantElapsed(t, "taken over", start, term)
		if err := lost.Context().Err(); err == nil {
			t.Error("the former holder has not noticed")
		}
		mustRelease(t, lease, lost)
	})
}

func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		ctx, cancel := context.WithTimeout(t.Context(), 10*term)
		defer cancel()
		_, err := storage.Acquire(ctx, &s, "lease", time.Second)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire beside a living holder: %v, want it to wait", err)
		}
		if err := lease.Context().Err(); err != nil {
			t.Errorf("the holder's context has ended: %v", err)
		}
		if got := s.Calls(storagetest.Save); got != 1+40 && got != 1+39 {
			t.Errorf("%d writes in ten terms, want one for taking and four a term", got)
		}
		mustRelease(t, lease)
	})
}

func TestLeasePolling(t *testing.T) {
	for _, test := range []struct{ term, shortest, longest time.Duration }{
		{100 * time.Millisecond, 75 * time.Millisecond, 125 * time.Millisecond},
		{10 * time.Second, 750 * time.Millisecond, 1250 * time.Millisecond},
		{time.Hour, 1500 * time.Millisecond, 2500 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			var s faulty
			lease := mustAcquire(t, &s, time.Hour)
			var last time.Time
			s.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Hit: func(string) {
				if wait := time.Since(last); !last.IsZero() && (wait < test.shortest || wait > test.longest) {
					t.Errorf("term %v: looked again after %v, want %v to %v", test.term, wait, test.shortest, test.longest)
				}
				last = time.Now()
			}})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if _, err := storage.Acquire(ctx, &s, "lease", test.term); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("Acquire beside a living holder: %v", err)
			}
			s.SetFaults()
			mustRelease(t, lease)
		})
	}
}

func TestLeaseIsLostWithoutRenewal(t *testing.T) {
	for name, onSave := range map[string]storagetest.Fault{
		"failing": savesDown,
		"hanging": {Kind: storagetest.Stuck, On: storagetest.Save},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s faulty
				start := time.Now()
				lease := mustAcquire(t, &s, term)
				s.SetFaults(loadsDown, onSave, savesDown)
				<-lease.Context().Done()
				wantElapsed(t, "lost", start, 40*time.Second)
				cause := context.Cause(lease.Context())
				if !errors.Is(cause, storage.ErrLost) || !strings.Contains(cause.Error(), `"lease"`) {
					t.Errorf("ended with %v, want ErrLost and the key", cause)
				}
				if name == "failing" && !strings.Contains(cause.Error(), errDown.Error()) {
					t.Errorf("ended with %v, which does not say why", cause)
				}
				if name == "failing" && s.Calls(storagetest.Save) < 5 {
					t.Errorf("only %d attempts to renew", s.Calls(storagetest.Save)-1)
				}
				s.Release()
				s.SetFaults()
				before := s.Calls(storagetest.Save)
				if err := lease.Save(t.Context(), nil); !errors.Is(err, storage.ErrLost) {
					t.Errorf("Save: %v, want ErrLost", err)
				}
				mustRelease(t, lease)
				if got := s.Calls(storagetest.Save); got != before {
					t.Errorf("a lost lease has been written %d times", got-before)
				}
			})
		})
	}
}

func TestLeaseOutlivesShortOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		lease := mustAcquire(t, &s, term)
		for range 5 {
			s.SetFaults(allDown)
			time.Sleep(20 * time.Second) // at least one renewal falls into it
			s.SetFaults()
			time.Sleep(term)
		}
		if err := lease.Context().Err(); err != nil {
			t.Errorf("lost: %v", context.Cause(lease.Context()))
		}
		start := time.Now()
		s.SetFaults(allDown)
		<-lease.Context().Done()
		if got := time.Since(start); got < 25*time.Second || got > 40*time.Second {
			t.Errorf("lost %v into the next outage, want two thirds of the term since the last renewal", got)
		}
		s.SetFaults()
		mustRelease(t, lease)
	})
}

func TestLeaseIsLostToAnother(t *testing.T) {
	for name, value := range map[string]string{
		"another owner": `{"version":1,"owner":"x","fence":9,"term":"1h","beat":"x"}`, "damaged": "?", "newer": `{"version":2}`, "deleted": "",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s storage.Memory
				start := time.Now()
				lease := mustAcquire(t, &s, term)
				item, err := s.Load(t.Context(), "lease")
				if err == nil && value != "" {
					_, err = s.Save(t.Context(), "lease", []byte(value), item.Revision)
				} else if err == nil {
					err = s.Delete(t.Context(), "lease", item.Revision)
				}
				if err != nil {
					t.Fatal(err)
				}
				<-lease.Context().Done()
				wantElapsed(t, "noticed", start, term/4)
				if cause := context.Cause(lease.Context()); !errors.Is(cause, storage.ErrLost) {
					t.Errorf("ended with %v, want ErrLost", cause)
				}
				mustRelease(t, lease)
				if after, _ := s.Load(t.Context(), "lease"); string(after.Value) != value {
					t.Errorf("the record is %q, want it untouched: %q", after.Value, value)
				}
			})
		})
	}
}

func TestLeaseEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s faulty
		ctx, cancel := context.WithCancel(t.Context())
		lease, err := storage.Acquire(ctx, &s, "lease", term)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5*term + time.Second)
		start := time.Now()
		cancel()
		<-lease.Context().Done()
		saves := s.Calls(storagetest.Save)
		time.Sleep(20 * time.Second)
		if err := lease.Save(t.Context(), []byte("tidied up")); err != nil {
			t.Errorf("Save %v after the context's end: %v", time.Since(start), err)
		}
		time.Sleep(40*time.Second - 1) // a save renews
		if err := lease.Save(t.Context(), []byte("tidied up more")); err != nil {
			t.Errorf("Save %v after the context's end: %v", time.Since(start), err)
		}
		time.Sleep(41 * time.Second)
		if err := lease.Save(t.Context(), []byte("too late")); !errors.Is(err, storage.ErrLost) {
			t.Errorf("Save two thirds of a term after the last one: %v, want ErrLost", err)
		}
		if got := s.Calls(storagetest.Save) - saves; got != 2 {
			t.Errorf("%d writes after the context's end, want the two saves", got)
		}
	})
}

func TestAcquireFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		var s faulty
		if _, err := storage.Acquire(ctx, &s, "lease", time.Millisecond); err == nil || !strings.Contains(err.Error(), "10ms") {
			t.Errorf("Acquire with a term of 1 ms: %v, want an error that names the shortest", err)
		}
		if _, err := storage.Acquire(ctx, &s, "../lease", term); !errors.Is(err, storage.ErrInvalidKey) {
			t.Errorf("Acquire of an invalid key: %v", err)
		}
		s.SetFaults(loadsDown)
		if _, err := storage.Acquire(ctx, &s, "lease", term); !errors.Is(err, errDown) || !strings.Contains(err.Error(), `"lease"`) {
			t.Errorf("Acquire from a store that can't be read: %v", err)
		}
		s.SetFaults(savesDown)
		if _, err := storage.Acquire(ctx, &s, "lease", term); !errors.Is(err, errDown) {
			t.Errorf("Acquire from a store that can't be written: %v", err)
		}
		s.SetFaults()
		if _, err := s.Save(ctx, "lease", []byte(`{"version":2,"who":"knows"}`), ""); err != nil {
			t.Fatal(err)
		}
		if _, err := storage.Acquire(ctx, &s, "lease", term); err == nil || !strings.Contains(err.Error(), "newer version") {
			t.Errorf("Acquire of a lease in a newer format: %v", err)
		}
		item, _ := s.Unwrap().Load(ctx, "lease")
		if string(item.Value) != `{"version":2,"who":"knows"}` {
			t.Errorf("a record in a newer format was replaced by %q", item.Value)
		}
	})
}

func TestAcquireReplacesCorruptRecordAfterTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s storage.Memory
		if _, err := s.Save(t.Context(), "lease", []byte("?"), ""); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		lease := mustAcquire(t, &s, term)
		wantElapsed(t, "replaced", start, term)
		mustRelease(t, lease)
	})
}

// A Lease that Acquire has not made is a lost one.
func TestZeroLease(t *testing.T) {
	var lease storage.Lease
	for what, err := range map[string]error{
		"Save": lease.Save(t.Context(), nil), "SaveAndRelease": lease.SaveAndRelease(t.Context(), nil),
		"Delete": lease.Delete(t.Context()), "Context's error": lease.Context().Err(), "Context's cause": context.Cause(lease.Context()),
	} {
		if !errors.Is(err, storage.ErrLost) {
			t.Errorf("%s: %v, want ErrLost", what, err)
		}
	}
	below, cancel := context.WithTimeout(lease.Context(), time.Hour)
	defer cancel()
	if err := below.Err(); !errors.Is(err, context.Canceled) {
		t.Errorf("a context below that of the lease: %v, want one that has ended", err)
	}
	if err := lease.Release(t.Context()); err != nil || lease.Value() != nil || lease.Fence() != 0 {
		t.Errorf("Release: %v, Value: %q, Fence: %d", err, lease.Value(), lease.Fence())
	}
}

// TestLeaseValue reads what leases carry without taking them.
func TestLeaseValue(t *testing.T) {
	store := new(storage.Memory)
	load := func() []byte {
		item, err := store.Load(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		return item.Value
	}
	lease, err := storage.Acquire(t.Context(), store, "a", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := lease.Save(t.Context(), []byte("how far\nit came")); err != nil {
		t.Fatal(err)
	}
	for _, held := range []bool{true, false} {
		if value, got, err := storage.LeaseValue(load()); string(value) != "how far\nit came" || got != held || err != nil {
			t.Errorf("it has %q, held %t, %v; want held %t", value, got, err, held)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"", "x", `{"version":2,"term":"1m","beat":"x"}`, `{"version":1,"owner":""}`} {
		if value, _, err := storage.LeaseValue([]byte(text)); err == nil || value != nil {
			t.Errorf("%q is read as the record of a lease that has %q", text, value)
		}
	}
}
