package storage_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
)

// A broken store is a Memory with a fault that engines and their set-ups have been seen to have.
type broken struct {
	storage.Memory
	fault string
	calls atomic.Int64

	mu    sync.Mutex
	cache map[string]storage.Item // as loaded before; guarded by mu
	stale map[string]storage.Item // before the last save; guarded by mu
	saves int                     // guarded by mu
}

func (b *broken) Load(ctx context.Context, key string) (storage.Item, error) {
	b.calls.Add(1)
	if b.fault == "unreachable" {
		return storage.Item{}, errDown
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	item, err := b.Memory.Load(ctx, key)
	switch b.fault {
	case "cache":
		if cached, ok := b.cache[key]; ok {
			return cached, nil
		}
		if err == nil {
			b.cache = map[string]storage.Item{key: item}
		}
	case "stale replica":
		if old, ok := b.stale[key]; ok {
			return old, nil
		}
	case "same revision again":
		item.Revision = contentHash(item.Value)
	case "absent is empty":
		return item, nil
	case "value and revision apart":
		b.mu.Unlock()
		time.Sleep(rand.N(3 * time.Millisecond))
		b.mu.Lock()
		now, _ := b.Memory.Load(ctx, key)
		item.Revision = now.Revision
	}
	return item, err
}

func (b *broken) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	b.calls.Add(1)
	if b.fault == "deletes later" {
		time.Sleep(time.Millisecond) // so that the deletion has been begun
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	current, err := b.Memory.Load(ctx, key)
	switch b.fault {
	case "read-only":
		return "", errDown
	case "ignores the condition":
		old = current.Revision
	case "ignores the condition when creating":
		if old == "" {
			old = current.Revision
		}
	case "last write wins": // the check and the write apart
		b.mu.Unlock()
		conflict := current.Revision != old
		time.Sleep(time.Millisecond)
		b.mu.Lock()
		if conflict {
			return "", storage.Conflict(key)
		}
		now, _ := b.Memory.Load(ctx, key)
		old = now.Revision
	case "stale replica":
		if err == nil {
			b.stale = map[string]storage.Item{key: current}
		}
	case "same revision again":
		if err == nil && contentHash(current.Value) == old {
			old = current.Revision
		}
	case "drops writes":
		return storage.Revision(fmt.Sprint(b.calls.Load())), nil
	case "conflicts for nothing":
		if b.saves++; b.saves > 4 { // after the first two races
			return "", storage.Conflict(key)
		}
	}
	revision, err := b.Memory.Save(ctx, key, value, old)
	if err == nil && b.fault == "same revision again" {
		revision = contentHash(value)
	}
	return revision, err
}

func (b *broken) Delete(ctx context.Context, key string, old storage.Revision) error {
	b.calls.Add(1)
	switch b.fault {
	case "deletes unconditionally":
		item, _ := b.Memory.Load(ctx, key)
		old = item.Revision
	case "deletes nothing":
		return nil
	case "deletes later": // the check and the deletion apart
		item, _ := b.Memory.Load(ctx, key)
		if item.Revision != old {
			break
		}
		time.Sleep(2 * time.Millisecond)
		item, _ = b.Memory.Load(ctx, key)
		old = item.Revision
	}
	return b.Memory.Delete(ctx, key, old)
}

func (b *broken) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	b.calls.Add(1)
	switch b.fault {
	case "lists nothing":
		prefix = "nothing"
	case "lists all":
		prefix = ""
	}
	return b.Memory.List(ctx, prefix)
}

// contentHash is a revision as some engines have it, by which an equal value looks as if nothing had happened.
func contentHash(value []byte) storage.Revision {
	return storage.Revision(fmt.Sprintf("%x", sha256.Sum256(value)))
}

func TestCheck(t *testing.T) {
	for _, good := range []storage.Store{new(storage.Memory), storage.Dir(t.TempDir()), sealedBy(t, new(storage.Memory), secret(1))} {
		for range 20 {
			if err := storage.Check(t.Context(), good); err != nil {
				t.Errorf("%T: %v", good, err)
			}
		}
		for key, err := range good.List(t.Context(), "") {
			t.Errorf("%T: %q is left (%v)", good, key, err)
		}
	}
	b := new(broken)
	if err := storage.Check(t.Context(), b); err != nil || b.calls.Load() > 200 {
		t.Errorf("%v after %d calls", err, b.calls.Load())
	}
}

func TestCheckRefuses(t *testing.T) {
	for fault, promise := range map[string]string{
		"ignores the condition":               "create one key",
		"ignores the condition when creating": "create one key",
		"last write wins":                     "one succeeds",
		"cache":                               "saved last",
		"stale replica":                       "saved last",
		"same revision again":                 "same revision twice",
		"absent is empty":                     "not stored",
		"value and revision apart":            "saved last",
		"deletes later":                       "save over or delete",
		"drops writes":                        "succeeds",
		"conflicts for nothing":               "ErrConflict",
		"deletes unconditionally":             "names another revision",
		"deletes nothing":                     "names another revision",
		"lists nothing":                       "List",
		"lists all":                           "List",
	} {
		synctest.Test(t, func(t *testing.T) { // where what is apart in time meets what others do
			b := &broken{fault: fault}
			if _, err := b.Memory.Save(t.Context(), "another", nil, ""); err != nil {
				t.Fatal(err)
			}
			err := storage.Check(t.Context(), b)
			broken, ok := errors.AsType[*storage.ContractError](err)
			if !ok || !strings.Contains(broken.Promise, promise) || broken.Seen == "" || !strings.Contains(err.Error(), broken.Seen) {
				t.Errorf("%s: %v, want a ContractError that names the promise %q", fault, err, promise)
			}
			if n := b.calls.Load(); n > 200 {
				t.Errorf("%s: %d calls", fault, n)
			}
		})
	}
}

// A store that can't be asked is not called broken.
func TestCheckOfAnUnreachableStore(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for name, test := range map[string]struct {
		ctx    context.Context
		store  storage.Store
		target error
	}{
		"unreachable": {t.Context(), &broken{fault: "unreachable"}, errDown},
		"read-only":   {t.Context(), &broken{fault: "read-only"}, errDown},
		"ended":       {ended, new(storage.Memory), context.Canceled},
		"no folder":   {t.Context(), storage.Dir(""), nil},
		"no store":    {t.Context(), nil, nil},
	} {
		err := storage.Check(test.ctx, test.store)
		if _, broken := errors.AsType[*storage.ContractError](err); err == nil || broken || test.target != nil && !errors.Is(err, test.target) || strings.Count(err.Error(), "storage: ") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func ExampleCheck() {
	store := new(storage.Memory) // or one of which nobody knows yet
	err := storage.Check(context.Background(), store)
	if broken, ok := errors.AsType[*storage.ContractError](err); ok {
		fmt.Println("not this one:", broken.Promise)
	}
	fmt.Println(err)
	// Output: <nil>
}
