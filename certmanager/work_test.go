package certmanager

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// An opaqueContext is one that package context does not know as its own: for each context derived from it that has not
// ended there is a goroutine.
type opaqueContext struct {
	context.Context
	done chan struct{}
}

func (c opaqueContext) Done() <-chan struct{} { return c.done }

// Of work that is over nothing is left with the context of Run, which goes on for years.
func TestWorkEndsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := opaqueContext{context.Background(), make(chan struct{})}
		w, err := claimWork(ctx, new(storage.Memory), "work/example.com", new(claim))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.release(ctx); err != nil {
			t.Fatal(err)
		}
		if w.context().Err() == nil {
			t.Error("the lease's context has not ended")
		}
	}) // fails if a goroutine remains
}

// A lease that is taken when the time for that is over, as by a process that was suspended, is given back.
func TestLateClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storagetest.Faulty)
		store.SetFaults(storagetest.Fault{Kind: storagetest.Stuck, On: storagetest.Save, Times: 1, Delay: storageTimeout + 1})
		w, err := claimWork(t.Context(), store, "work/x", new(claim))
		if w != nil || !errors.Is(err, errSlowStorage) {
			t.Errorf("%v, %v: want that it took too long", w, err)
		}
		other := storage.Claim{Store: store, Key: "work/x", Term: leaseTerm}
		lease, err := other.Try(t.Context())
		if err != nil {
			t.Fatalf("the lease is not free: %v", err)
		}
		_ = lease.Release(t.Context())
	})
}

// What an attempt remembers that never took the lease is good as long as nobody else had it since.
func TestMemoryWithoutLease(t *testing.T) {
	for _, overtaken := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store, ctx, left := new(storage.Memory), t.Context(), new(claim)
			open := func() *work {
				w, err := openWork(ctx, store, "work/x", left)
				if err != nil {
					t.Fatal(err)
				}
				if err := w.read("ca"); err != nil {
					t.Fatal(err)
				}
				return w
			}
			w := open()
			w.Journal("ca").Notes = []byte("mine")
			m := memoryOf(w)
			if overtaken {
				other, err := claimWork(ctx, store, "work/x", new(claim))
				if err != nil {
					t.Fatal(err)
				}
				other.Journal("ca").Notes, other.ours = []byte("other"), true
				if err := other.release(ctx); err != nil {
					t.Fatal(err)
				}
			}
			w = open()
			m.restore(w)
			want := "mine"
			if overtaken {
				want = "other"
			}
			if got := string(w.Journal("ca").Notes); got != want {
				t.Errorf("overtaken %v: the notes are %q, want %q", overtaken, got, want)
			}
		})
	}
}

// Of work that has not begun nothing is stored.
func TestBlankWorkIsNotStored(t *testing.T) {
	store, ctx := new(storagetest.Faulty), t.Context()
	w, err := openWork(ctx, store, "work/x", new(claim))
	if err != nil {
		t.Fatal(err)
	}
	w.ours = true
	w.Journal("ca")
	if err := w.release(ctx); err != nil || store.Calls(storagetest.Writes) != 0 {
		t.Errorf("%v after %d writes", err, store.Calls(storagetest.Writes))
	}
	if w, err = openWork(ctx, store, "work/x", new(claim)); err != nil {
		t.Fatal(err)
	}
	w.Journal("ca").Notes, w.ours = []byte("notes"), true
	if err := w.release(ctx); err != nil || store.Calls(storagetest.Writes) != 2 {
		t.Errorf("%v after %d writes, want that the lease is taken and given back", err, store.Calls(storagetest.Writes))
	}
}

// Of a failure that the storage did not take and one that another process has left since, the longer pause counts.
func TestLongerPauseCounts(t *testing.T) {
	for _, test := range []struct{ remembered, left, want time.Duration }{
		{10 * time.Hour, time.Minute, 10 * time.Hour},
		{time.Minute, 10 * time.Hour, 10 * time.Hour},
	} {
		for _, failsLater := range []time.Duration{time.Second, -time.Second} { // than the other process
			now := time.Now().UTC()
			failed := func(at time.Time, wait time.Duration) record.Failure {
				return record.Failure{Failed: at, Next: now.Add(wait), Error: "no"}
			}
			mine := record.Work{Failure: failed(now, test.remembered)}
			mine.Journal("ca").Failure, mine.Journal("ca").Refusals = failed(now, test.remembered), 2
			w := work{fence: 3, stored: []byte("another's")}
			w.Failure = failed(now.Add(-failsLater), test.left)
			w.Journal("ca").Failure = failed(now.Add(-failsLater), test.left)
			(&memory{Work: mine, stored: []byte("mine"), fence: 1}).restore(&w)
			for what, f := range map[string]record.Failure{"the work's": w.Failure, "the issuer's": w.Journal("ca").Failure} {
				if wait := f.Next.Sub(now); wait != test.want {
					t.Errorf("%s pause is of %v, want %v, of %v (failed %v later) and %v", what, wait, test.want, test.remembered, failsLater, test.left)
				}
			}
		}
	}
}

// A lease is given back also if the storage fails a few times, whether or not there is anything to be stored with it.
func TestReleaseIsTriedAgain(t *testing.T) {
	for _, news := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			store := new(storagetest.Faulty)
			w, err := claimWork(t.Context(), store, "work/x", new(claim))
			if err != nil {
				t.Fatal(err)
			}
			if news {
				w.Journal("ca").Notes, w.ours = []byte("notes"), true
			}
			store.SetFaults(storagetest.Fault{On: storagetest.Writes, Times: 3})
			if err := w.release(t.Context()); err != nil || store.Hits() != 3 {
				t.Errorf("news %v: %v after %d failures", news, err, store.Hits())
			}
			other := storage.Claim{Store: store, Key: "work/x", Term: leaseTerm}
			lease, err := other.Try(t.Context())
			if err != nil {
				t.Fatalf("news %v: the lease is not free: %v", news, err)
			}
			_ = lease.Release(t.Context())
		})
	}
}
