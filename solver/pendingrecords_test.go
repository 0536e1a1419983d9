package solver

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
)

// A scannedStore is a store as a fleet has it: a scan takes its time, and shows what was there at its begin. It counts them.
type scannedStore struct {
	storage.Memory
	latency time.Duration

	scans  atomic.Int64
	active atomic.Int64 // under way
	most   atomic.Int64 // of those, the most at once
	hangs  atomic.Bool
	panics atomic.Bool
}

func (s *scannedStore) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		s.scans.Add(1)
		s.most.Store(max(s.most.Load(), s.active.Add(1)))
		defer s.active.Add(-1)
		if s.panics.Load() {
			panic("the store panics")
		}
		if s.hangs.Load() {
			<-ctx.Done()
			yield(storage.Record{}, ctx.Err())
			return
		}
		var found []storage.Record
		for key := range s.List(ctx, prefix) {
			item, err := s.Load(ctx, key)
			if err == nil {
				found = append(found, storage.Record{Key: key, Item: item})
			}
		}
		if err := pause(ctx, s.latency); err != nil {
			yield(storage.Record{}, err)
			return
		}
		for _, r := range found {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// newMember returns a Responder on the store, and what asks it for the values at a name.
func newMember(s storage.Store) (*Responder, func(ctx context.Context, name string) ([]string, error)) {
	r := &Responder{Zones: []string{"acme.example.net"}, Nameservers: []string{"ns.example.org"}, Storage: s, Logger: slog.New(slog.DiscardHandler)}
	return r, func(ctx context.Context, name string) ([]string, error) {
		records, err := r.read(ctx)
		if records == nil {
			return nil, err
		}
		return records.Texts(name), err
	}
}

// A flood of questions costs the storage a bounded number of scans, one at a time, and holds nobody up: all are answered.
func TestPendingScansAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const perSecond, seconds = 2000, 10
		store := &scannedStore{latency: 3 * time.Millisecond}
		_, ask := newMember(store)
		var asking sync.WaitGroup
		var longest atomic.Int64
		for range seconds * 100 {
			for i := range perSecond / 100 {
				asking.Go(func() {
					began := time.Now()
					if _, err := ask(t.Context(), fmt.Sprint("made-up", i, ".acme.example.net")); err != nil {
						t.Error(err)
					}
					for took := int64(time.Since(began)); took > longest.Load(); {
						longest.Store(took)
					}
				})
			}
			time.Sleep(10 * time.Millisecond)
		}
		asking.Wait()
		if n, most := store.scans.Load(), int64(missBurst+seconds*time.Second/missInterval+1); n > most || n < most/2 {
			t.Errorf("%d scans, want up to %d", n, most)
		}
		if n := store.most.Load(); n != 1 {
			t.Errorf("%d scans at once", n)
		}
		if most := 2 * (missInterval + store.latency); longest.Load() > int64(most) {
			t.Errorf("somebody waited for %v, want up to %v", time.Duration(longest.Load()), most)
		}
	})
}

// Nobody is told what an earlier scan has shown: what another member created before the question is answered, whatever scans
// are under way, and what it deleted before is not.
func TestPendingScansAreFresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scannedStore{latency: 50 * time.Millisecond}
		_, ask := newMember(store)
		other, _ := newMember(store)
		const name = "a.acme.example.net"
		background := func() {
			if _, err := ask(t.Context(), name); err != nil {
				t.Error(err)
			}
		}
		var asking sync.WaitGroup
		for i := range 100 {
			asking.Go(background)
			time.Sleep(time.Duration(i%10) * 10 * time.Millisecond)
			record := Record{Name: name, Value: fmt.Sprint(i)}
			if err := other.AppendRecord(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			if values, err := ask(t.Context(), name); err != nil || !slices.Equal(values, []string{record.Value}) {
				t.Errorf("question %d is answered with %q, %v", i, values, err)
			}
			if err := other.DeleteRecord(t.Context(), record); err != nil {
				t.Fatal(err)
			}
		}
		asking.Wait()
	})
}

// A storage that hangs is not waited for long; what was known is answered with, and who asks next is not held up by those before.
func TestPendingScanTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(scannedStore)
		r, ask := newMember(store)
		if err := r.AppendRecord(t.Context(), Record{Name: "a.acme.example.net", Value: "v"}); err != nil {
			t.Fatal(err)
		}
		store.hangs.Store(true)
		began := time.Now()
		values, err := ask(t.Context(), "a.acme.example.net")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != scanTimeout || !slices.Equal(values, []string{"v"}) {
			t.Errorf("%q, %v after %v", values, err, took)
		}
		var asking sync.WaitGroup
		asking.Go(func() { ask(t.Context(), "a.acme.example.net") })
		synctest.Wait()
		store.hangs.Store(false)
		if values, err := ask(t.Context(), "a.acme.example.net"); err != nil || !slices.Equal(values, []string{"v"}) {
			t.Errorf("afterwards: %q, %v", values, err)
		}
		asking.Wait()
	})
}

// One who goes, though it was for him to scan, leaves the others with their answer, and none waits for good.
func TestPendingScanOfOneWhoGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &scannedStore{latency: time.Second}
		_, ask := newMember(store)
		ctx, cancel := context.WithCancel(t.Context())
		var asking sync.WaitGroup
		asking.Go(func() { ask(ctx, "a.acme.example.net") })
		synctest.Wait()
		asking.Go(func() { ask(ctx, "a.acme.example.net") }) // is to scan next
		synctest.Wait()
		asking.Go(func() {
			if _, err := ask(t.Context(), "b.acme.example.net"); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		cancel()
		asking.Wait()
	})
}

// A store that panics panics where it is asked, and nobody waits for good.
func TestPendingScanPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(scannedStore)
		_, ask := newMember(store)
		store.panics.Store(true)
		func() {
			defer func() {
				if recover() == nil {
					t.Error("there was no panic")
				}
			}()
			ask(t.Context(), "a.acme.example.net")
		}()
		store.panics.Store(false)
		if _, err := ask(t.Context(), "a.acme.example.net"); err != nil {
			t.Error(err)
		}
	})
}

// What is remembered for a time when the storage fails does not grow with what has come and gone.
func TestOwnRecordsAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(scannedStore)
		r, ask := newMember(store)
		other, _ := newMember(store)
		for i := range 100 {
			record := Record{Name: "a.acme.example.net", Value: fmt.Sprint(i)}
			if err := r.AppendRecord(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			if err := other.DeleteRecord(t.Context(), record); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			if _, err := ask(t.Context(), "a.acme.example.net"); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(r.records.own) + len(r.records.known); n != 0 {
			t.Errorf("%d records are remembered", n)
		}
	})
}
