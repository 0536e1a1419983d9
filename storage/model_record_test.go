package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A history is what several clients have done to some keys and seen of them. A store is a line of states for each
// key, each made from the one before: that is what the history is held against.
type history struct {
	t *testing.T

	mu       sync.Mutex
	values   map[storage.Revision]string // as saved or seen, all revisions being those of one key
	replaced map[storage.Revision]string // by which value, or "deleted"
	saved    map[string]bool             // values that may have been saved
}

// state notes that value was seen or saved with the revision.
func (h *history) state(key, value string, revision storage.Revision) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := storage.Revision(key) + " " + revision
	if before, ok := h.values[id]; ok && before != value {
		h.t.Errorf("%q has the values %q and %q with the revision %q", key, before, value, revision)
	}
	if !h.saved[key+" "+value] {
		h.t.Errorf("%q has the value %q, which nobody has saved", key, value)
	}
	h.values[id] = value
}

// replace notes that the revision was replaced by a value or a deletion: once.
func (h *history) replace(key string, old storage.Revision, by string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := storage.Revision(key) + " " + old
	if before, ok := h.replaced[id]; ok && old != "" && before != by {
		h.t.Errorf("the revision %q of %q was replaced twice: by %q and %q", old, key, before, by)
	}
	h.replaced[id] = by
}

// intend notes a value that is about to be saved.
func (h *history) intend(key, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.saved[key+" "+value] = true
}

// step does one random operation. What fails leaves open whether it was done.
func (h *history) step(ctx context.Context, s storage.Store, random *rand.Rand, id string) {
	key := fmt.Sprintf("key/%d", random.IntN(3))
	item, err := s.Load(ctx, key)
	absent := errors.Is(err, fs.ErrNotExist)
	if err != nil && !absent {
		h.wantFault("Load", err)
		return
	}
	if !absent {
		h.state(key, string(item.Value), item.Revision)
	}
	switch operation := random.IntN(10); {
	case operation == 0:
		if err := s.Delete(ctx, key, item.Revision); err == nil {
			h.replace(key, item.Revision, "deleted by "+id)
		} else {
			h.wantFault("Delete", err)
		}
	case operation == 1:
		for found, err := range s.List(ctx, "key") {
			if err != nil {
				h.wantFault("List", err)
			} else if !storage.Within(found, "key") {
				h.t.Errorf("List yields %q", found)
			}
		}
	default:
		h.intend(key, id)
		revision, err := s.Save(ctx, key, []byte(id), item.Revision)
		if err != nil {
			h.wantFault("Save", err)
			return
		}
		h.state(key, id, revision)
		h.replace(key, item.Revision, id)
	}
}

func (h *history) wantFault(method string, err error) {
	h.t.Helper()
	if !errors.Is(err, storagetest.ErrFault) && !errors.Is(err, storage.ErrConflict) {
		h.t.Errorf("%s: %v", method, err)
	}
}

// run lets clients work on the store, some of which are killed or suspended at times, and others get no answers.
func (h *history) run(ctx context.Context, s storage.Store, steps int) {
	h.values, h.replaced, h.saved = make(map[storage.Revision]string), make(map[storage.Revision]string), make(map[string]bool)
	const clients = 6
	var working sync.WaitGroup
	for client := range uint64(clients) {
		working.Go(func() {
			random := rand.New(rand.NewPCG(11, client))
			store := &storagetest.Faulty{Store: s, Seed: client}
			defer store.Release()
			store.SetFaults(
				storagetest.Fault{Kind: storagetest.Slow, Delay: time.Duration(client) * time.Millisecond},
				storagetest.Fault{Kind: storagetest.Stuck, Share: 0.01, Delay: time.Second}, // suspended
				storagetest.Fault{Kind: storagetest.Lost, Share: 0.05},
				storagetest.Fault{Kind: storagetest.Late, Share: 0.05, Delay: 10 * time.Millisecond},
				storagetest.Fault{Kind: storagetest.Twice, Share: 0.05},
				storagetest.Fault{Share: 0.05},
			)
			for n := range steps / clients {
				h.step(ctx, store, random, fmt.Sprintf("%d.%d", client, n))
			}
		})
	}
	working.Wait()
	if len(h.values) < steps/10 {
		h.t.Errorf("only %d states in %d steps", len(h.values), steps)
	}
}

func TestRecordModel(t *testing.T) {
	steps := 60_000
	if raceDetector || testing.Short() {
		steps = 6_000
	}
	synctest.Test(t, func(t *testing.T) {
		h := history{t: t}
		h.run(t.Context(), new(storage.Memory), steps)
	})
}

func TestRecordModelDir(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := history{t: t}
		h.run(t.Context(), storage.Dir(t.TempDir()), 600)
	})
}
