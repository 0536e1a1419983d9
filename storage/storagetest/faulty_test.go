package storagetest_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	. "github.com/everseal/everseal/storage/storagetest"
)

// A Faulty without faults keeps the contract, with one that only delays too.
func TestFaultySuite(t *testing.T) {
	t.Run("zero", func(t *testing.T) {
		Suite{
			Open: func(*testing.T) storage.Store { return new(Faulty) },
			Cut:  func(_ *testing.T, s storage.Store) { s.(*Faulty).CutWatches() },
			Many: 2000,
		}.Run(t)
	})
	t.Run("slow", func(t *testing.T) {
		Run(t, func(*testing.T) storage.Store {
			f := &Faulty{Store: new(storage.Memory)}
			f.SetFaults(Fault{Kind: Slow, Delay: time.Microsecond})
			return f
		})
	})
}

var errDisk = errors.New("the disk is full")

func saveNew(t *testing.T, s storage.Store, key, value string) storage.Revision {
	t.Helper()
	revision, err := s.Save(t.Context(), key, []byte(value), "")
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// storedIn returns what is stored under "a", past the faults.
func storedIn(t *testing.T, f *Faulty) string {
	t.Helper()
	item, err := f.Unwrap().Load(t.Context(), "a")
	if errors.Is(err, fs.ErrNotExist) {
		return "nothing"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(item.Value)
}

// What a Save does with each fault: to its caller, to the store at once, and in the end.
func TestFaultySaves(t *testing.T) {
	for name, test := range map[string]struct {
		fault      Fault
		err        error
		took       time.Duration
		then, last string
	}{
		"none":          {Fault{On: Load}, nil, 0, "new", "new"},
		"other key":     {Fault{Prefix: "b"}, nil, 0, "new", "new"},
		"fail":          {Fault{}, ErrFault, 0, "old", "old"},
		"own error":     {Fault{On: Save, Prefix: "a", Err: errDisk}, errDisk, 0, "old", "old"},
		"lost":          {Fault{Kind: Lost}, ErrFault, 0, "new", "new"},
		"twice":         {Fault{Kind: Twice}, storage.ErrConflict, 0, "new", "new"},
		"late":          {Fault{Kind: Late}, ErrFault, 0, "old", "new"},
		"late by time":  {Fault{Kind: Late, Delay: time.Minute}, ErrFault, 0, "old", "new"},
		"hang":          {Fault{Kind: Hang}, context.DeadlineExceeded, time.Hour, "old", "old"},
		"slow":          {Fault{Kind: Slow, Delay: time.Minute}, nil, time.Minute, "new", "new"},
		"too slow":      {Fault{Kind: Slow, Delay: 2 * time.Hour}, context.DeadlineExceeded, time.Hour, "old", "old"},
		"stuck":         {Fault{Kind: Stuck, Delay: 2 * time.Hour}, nil, 2 * time.Hour, "new", "new"},
		"stale":         {Fault{Kind: Stale}, nil, 0, "new", "new"},
		"after":         {Fault{After: 1}, nil, 0, "new", "new"},
		"no negatives":  {Fault{After: -1, Times: -1, Share: -1}, ErrFault, 0, "old", "old"},
		"reads only":    {Fault{On: Load | List | Scan | Watch}, nil, 0, "new", "new"},
		"writes":        {Fault{On: Writes}, ErrFault, 0, "old", "old"},
		"deletes":       {Fault{On: Delete}, nil, 0, "new", "new"},
		"none for ever": {Fault{Times: 0, Kind: Lost, Err: errDisk}, errDisk, 0, "new", "new"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f Faulty
				revision := saveNew(t, &f, "a", "old")
				f.SetFaults(test.fault)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began, value := time.Now(), []byte("new")
				saved, err := f.Save(ctx, "a", value, revision)
				copy(value, "XXX")
				if !errors.Is(err, test.err) || (err == nil) != (saved != "") {
					t.Errorf("Save: %q, %v, want %v", saved, err, test.err)
				}
				if took := time.Since(began); took != test.took {
					t.Errorf("Save took %v, want %v", took, test.took)
				}
				if got := storedIn(t, &f); got != test.then {
					t.Errorf("after Save %q is stored, want %q", got, test.then)
				}
				if test.fault.Kind == Late && test.fault.Delay > 0 {
					time.Sleep(test.fault.Delay)
					synctest.Wait()
				} else {
					f.Release()
				}
				if got := storedIn(t, &f); got != test.last {
					t.Errorf("in the end %q is stored, want %q", got, test.last)
				}
			})
		})
	}
}

// A late write names the revision that it was given: it conflicts where another has come between.
func TestFaultyLateWriteConflicts(t *testing.T) {
	var f Faulty
	revision := saveNew(t, &f, "a", "old")
	f.SetFaults(Fault{On: Save, Kind: Late, Times: 1})
	if _, err := f.Save(t.Context(), "a", []byte("late"), revision); !errors.Is(err, ErrFault) {
		t.Errorf("Save: %v", err)
	}
	if _, err := f.Save(t.Context(), "a", []byte("between"), revision); err != nil {
		t.Errorf("the next Save: %v", err)
	}
	f.Release()
	if got := storedIn(t, &f); got != "between" {
		t.Errorf("%q is stored", got)
	}
}

// A process that is suspended goes on where it was, though its context has ended.
func TestFaultyStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Faulty
		f.SetFaults(Fault{Kind: Stuck, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		saved := make(chan error, 1)
		go func() {
			_, err := f.Save(ctx, "a", []byte("stuck"), "")
			saved <- err
		}()
		time.Sleep(time.Hour)
		if got := storedIn(t, &f); got != "nothing" || len(saved) > 0 {
			t.Errorf("before Release %q is stored", got)
		}
		f.Release()
		if err := <-saved; err != nil {
			t.Errorf("Save: %v", err)
		}
		if got := storedIn(t, &f); got != "stuck" {
			t.Errorf("%q is stored", got)
		}
	})
}

// A watch that was stuck ends with its context all the same.
func TestFaultyStuckWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f Faulty
		f.SetFaults(Fault{Kind: Stuck, Times: 1, Delay: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for _, err := range f.Watch(ctx, "a") {
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		}
	})
}

func TestFaultyStaleLoads(t *testing.T) {
	var f Faulty
	load := func() string {
		t.Helper()
		item, err := f.Load(t.Context(), "a")
		if errors.Is(err, fs.ErrNotExist) {
			return "nothing"
		}
		if err != nil {
			t.Fatal(err)
		}
		return string(item.Value)
	}
	f.SetFaults(Fault{Kind: Stale})
	first := saveNew(t, &f, "a", "1")
	if got := load(); got != "nothing" {
		t.Errorf("after the first save Load has %q", got)
	}
	second, err := f.Save(t.Context(), "a", []byte("2"), first)
	if err != nil {
		t.Fatal(err)
	}
	if got := load(); got != "1" {
		t.Errorf("after the second save Load has %q", got)
	}
	if _, err := f.Save(t.Context(), "a", []byte("3"), first); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("a write that is stale itself: %v", err)
	}
	if err := f.Delete(t.Context(), "a", second); err != nil {
		t.Fatal(err)
	}
	if got := load(); got != "2" {
		t.Errorf("after Delete Load has %q", got)
	}
	f.SetFaults()
	if got := load(); got != "nothing" {
		t.Errorf("without faults Load has %q", got)
	}
}

// outcomes tells how 1000 loads go.
func outcomes(t *testing.T, seed uint64, faults ...Fault) string {
	f := &Faulty{Seed: seed}
	f.SetFaults(faults...)
	var all strings.Builder
	for range 1000 {
		if _, err := f.Load(t.Context(), "a"); errors.Is(err, ErrFault) {
			all.WriteByte('x')
		} else {
			all.WriteByte('.')
		}
	}
	if hits := strings.Count(all.String(), "x"); f.Hits() != hits || f.Calls(Load) != 1000 || f.Calls(Writes) != 0 {
		t.Errorf("%d hits of %d loads are counted, want %d of 1000", f.Hits(), f.Calls(Load), hits)
	}
	return all.String()
}

func TestFaultyChoice(t *testing.T) {
	share := outcomes(t, 1, Fault{Share: 0.2})
	if n := strings.Count(share, "x"); n < 150 || n > 250 {
		t.Errorf("a share of 0.2 strikes %d of 1000 calls", n)
	}
	if again := outcomes(t, 1, Fault{Share: 0.2}); again != share {
		t.Error("the same seed lets other calls fail")
	}
	if other := outcomes(t, 2, Fault{Share: 0.2}); other == share {
		t.Error("another seed lets the same calls fail")
	}
	if got := outcomes(t, 1, Fault{After: 10, Times: 3}); got != strings.Repeat(".", 10)+"xxx"+strings.Repeat(".", 987) {
		t.Errorf("after 10, 3 times: %.20s", got)
	}
	if got := outcomes(t, 1, Fault{Times: 2}, Fault{After: 1, Times: 1}); got[:5] != "xx.x." {
		t.Errorf("two faults: %.20s, want the second to count what the first lets pass", got)
	}
}

// Hit is told before anything is done, and may change what goes wrong then.
func TestFaultyHit(t *testing.T) {
	var f Faulty
	var hit []string
	f.SetFaults(Fault{On: Writes, After: 2, Kind: Lost, Hit: func(key string) {
		hit = append(hit, key)
		f.SetFaults(Fault{Err: errDisk}) // the process is dead from then on
	}})
	saveNew(t, &f, "1", "x")
	saveNew(t, &f, "2", "x")
	if _, err := f.Save(t.Context(), "3", []byte("x"), ""); !errors.Is(err, ErrFault) {
		t.Errorf("the third save: %v", err)
	}
	if _, err := f.Load(t.Context(), "1"); !errors.Is(err, errDisk) {
		t.Errorf("a load after it: %v", err)
	}
	if _, err := f.Unwrap().Load(t.Context(), "3"); err != nil || !slices.Equal(hit, []string{"3"}) {
		t.Errorf("what is lost was not stored: %v; Hit was told %q", err, hit)
	}
}

func TestFaultyDeletesAndSequences(t *testing.T) {
	var f Faulty
	revision := saveNew(t, &f, "a", "x")
	for _, kind := range []Kind{Fail, Lost} {
		f.SetFaults(Fault{On: List | Scan | Watch, Kind: kind})
		n := 0
		for key, err := range f.List(t.Context(), "") {
			if n++; key != "" || !errors.Is(err, ErrFault) {
				t.Errorf("List yields %q, %v", key, err)
			}
		}
		for record, err := range f.Scan(t.Context(), "", "") {
			if n++; record.Key != "" || !errors.Is(err, ErrFault) {
				t.Errorf("Scan yields %q, %v", record.Key, err)
			}
		}
		for key, err := range f.Watch(t.Context(), "") {
			if n++; key != "" || !errors.Is(err, ErrFault) {
				t.Errorf("Watch yields %q, %v", key, err)
			}
		}
		if n != 3 {
			t.Errorf("%d errors, want 3", n)
		}
	}
	f.SetFaults(Fault{On: Delete, Kind: Twice})
	if err := f.Delete(t.Context(), "a", revision); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Delete, done twice: %v", err)
	}
	if got := storedIn(t, &f); got != "nothing" {
		t.Errorf("%q is stored after Delete", got)
	}
}

// A plainWatcher ends its watches with no more than the context's error.
type plainWatcher struct{ *storage.Memory }

func (w plainWatcher) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for key, err := range w.Memory.Watch(ctx, prefix) {
			if err != nil {
				err = ctx.Err()
			}
			if !yield(key, err) {
				return
			}
		}
	}
}

func TestFaultyCutWatches(t *testing.T) {
	f := Faulty{Store: plainWatcher{new(storage.Memory)}}
	f.CutWatches() // there are none
	var got []string
	for key, err := range f.Watch(t.Context(), "a") {
		got = append(got, fmt.Sprintf("%s %v", key, errors.Is(err, ErrFault)))
		switch {
		case len(got) == 1:
			saveNew(t, &f, "a/b", "x")
		case err == nil:
			f.CutWatches()
		}
	}
	if want := []string{" false", "a/b false", " true"}; !slices.Equal(got, want) {
		t.Errorf("the watch yields %q, want %q", got, want)
	}
	hidden := &Faulty{Store: struct{ storage.Store }{new(storage.Memory)}}
	for key, err := range hidden.Watch(t.Context(), "") {
		if key != "" || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Watch of a store that is no Watcher yields %q, %v", key, err)
		}
	}
}

func TestFaultyConcurrentUse(t *testing.T) {
	f := &Faulty{Seed: 3}
	var users sync.WaitGroup
	for i := range 8 {
		users.Go(func() {
			for n := range 200 {
				if n%50 == 0 {
					f.SetFaults(Fault{Share: 0.3}, Fault{On: Save, Kind: Late, Share: 0.5}, Fault{Kind: Stale, Share: 0.5})
				}
				_, _ = storage.Update(t.Context(), f, fmt.Sprint(i%3), func([]byte) ([]byte, error) { return []byte("x"), nil })
				f.Release()
			}
		})
	}
	users.Wait()
	f.Release()
	if f.Hits() == 0 || f.Calls(Load) < 1600 {
		t.Errorf("%d hits, %d loads", f.Hits(), f.Calls(Load))
	}
}

func TestFaultyReachesThrough(t *testing.T) {
	d := storage.Dir(t.TempDir())
	if got, ok := storage.As[storage.Dir](&Faulty{Store: d}); !ok || got != d {
		t.Errorf("As finds %q, %t", got, ok)
	}
	if _, ok := storage.As[storage.Owners](&Faulty{Store: d}); !ok {
		t.Error("As does not find what the store can do")
	}
}
