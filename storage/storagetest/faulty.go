package storagetest

import (
	"bytes"
	"context"
	"iter"
	"maps"
	"slices"
	"sync"

	"github.com/everseal/everseal/storage"
)

// A Faulty is a store whose calls go wrong as those of real ones do; what is built on a store is tested with it. Its
// zero value is a [storage.Memory] without faults. [storage.As] finds through it what the store is besides. It is
// safe for concurrent use. Its fields are not changed after the first call.
//
//	store := &storagetest.Faulty{Seed: 1}
//	store.SetFaults(
//		storagetest.Fault{Kind: storagetest.Slow, Delay: time.Second},                                // all calls
//		storagetest.Fault{On: storagetest.Save, Prefix: "certificates", Share: 0.2},                  // every fifth save
//		storagetest.Fault{On: storagetest.Writes, After: 100},                                        // read-only then
//	)
//
// Given the same Seed and faults, the same calls go wrong, as far as they come in the same order.
type Faulty struct {
	Store storage.Store // which the calls reach; nil: a Memory of the Faulty's own
	Seed  uint64        // of the choice that Share makes

	memory storage.Memory

	mu       sync.Mutex
	faults   []*activeFault          // guarded by mu
	stale    map[string]storage.Item // before the last writes, nil unless a fault is Stale; no revision: absent; guarded by mu
	calls    map[Methods]int         // guarded by mu
	hits     int                     // guarded by mu
	released chan struct{}           // closed by Release; guarded by mu
	late     map[chan struct{}]bool  // closed when a late write is done; guarded by mu
	watches  map[*openWatch]bool     // guarded by mu
}

// An activeFault is a Fault with the number of calls that it has concerned.
type activeFault struct {
	Fault
	concerned uint64
}

// SetFaults makes things go wrong from the next call on, instead of what earlier calls have set. A call meets the
// faults in their order: delays add up, and the first other fault is what happens to it. Without faults all calls are well.
func (f *Faulty) SetFaults(faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults, f.stale = nil, nil
	for _, fault := range faults {
		f.faults = append(f.faults, &activeFault{Fault: fault})
		if fault.Kind == Stale {
			f.stale = make(map[string]storage.Item)
		}
	}
}

// Calls returns how many calls of the methods have begun.
func (f *Faulty) Calls(methods Methods) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for method, calls := range f.calls {
		if methods&method != 0 {
			n += calls
		}
	}
	return n
}

// Hits returns how many times a fault has struck.
func (f *Faulty) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// Release lets continue what is stuck, has the late writes done, and returns when they are.
func (f *Faulty) Release() {
	f.mu.Lock()
	if f.released != nil {
		close(f.released)
	}
	f.released = nil
	late := slices.Collect(maps.Keys(f.late))
	f.mu.Unlock()
	for _, done := range late {
		<-done
	}
}

// CutWatches ends all watches with ErrFault, as a connection does that breaks. Hints that they have not yielded are lost.
func (f *Faulty) CutWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for w := range f.watches {
		w.cancel(errCut)
	}
}

// Unwrap returns the store that the calls reach.
func (f *Faulty) Unwrap() storage.Store {
	if f.Store == nil {
		return &f.memory
	}
	return f.Store
}

// Load returns what the store has under key, or what goes wrong.
func (f *Faulty) Load(ctx context.Context, key string) (storage.Item, error) {
	ctx, fault, err := f.meet(ctx, call{Load, key})
	if err != nil {
		return storage.Item{}, err
	}
	if fault != nil && fault.Kind == Stale {
		f.mu.Lock()
		old, ok := f.stale[key]
		f.mu.Unlock()
		switch {
		case ok && old.Revision == "":
			return storage.Item{}, storage.NotExist(key)
		case ok:
			return storage.Item{Value: bytes.Clone(old.Value), Revision: old.Revision}, nil
		}
	}
	item, err := f.Unwrap().Load(ctx, key)
	if fault != nil && fault.Kind == Lost {
		return storage.Item{}, fault.err()
	}
	return item, err
}

// Save saves to the store, or goes wrong.
func (f *Faulty) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	var revision storage.Revision
	value = bytes.Clone(value) // a late write must not see what the caller does with it
	err := f.write(ctx, call{Save, key}, func(ctx context.Context) (err error) {
		revision, err = f.Unwrap().Save(ctx, key, value, old)
		return err
	})
	if err != nil {
		return "", err
	}
	return revision, nil
}

// Delete deletes from the store, or goes wrong.
func (f *Faulty) Delete(ctx context.Context, key string, old storage.Revision) error {
	return f.write(ctx, call{Delete, key}, func(ctx context.Context) error { return f.Unwrap().Delete(ctx, key, old) })
}

// List yields the store's keys, or fails before the first.
func (f *Faulty) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return iterate(ctx, f, call{List, prefix}, func(ctx context.Context) iter.Seq2[string, error] {
		return f.Unwrap().List(ctx, prefix)
	})
}

// Scan yields the store's records, or fails before the first.
func (f *Faulty) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return iterate(ctx, f, call{Scan, prefix}, func(ctx context.Context) iter.Seq2[storage.Record, error] {
		return storage.Scan(ctx, f.Unwrap(), prefix, cursor)
	})
}
