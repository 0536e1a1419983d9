package storage

import (
	"bytes"
	"context"
	"iter"
	"strconv"
	"sync"
)

// Memory is a [Store] in the memory of this process, for tests and for what need not outlive it. Its
// zero value is an empty store ready to use. A Memory must not be copied after its first use.
type Memory struct {
	mu    sync.RWMutex
	items map[string]Item // guarded by mu; its values are neither changed nor handed out
	saves uint64          // guarded by mu; counts all saves of all keys, so that no revision returns

	watches map[*memoryWatch]bool // guarded by mu
}

// Load returns a copy of what is stored under key; see [Store].
func (m *Memory) Load(ctx context.Context, key string) (Item, error) {
	if err := Admit(ctx, key, nil); err != nil {
		return Item{}, err
	}
	m.mu.RLock()
	item, ok := m.items[key]
	m.mu.RUnlock()
	if !ok {
		return Item{}, NotExist(key)
	}
	return Item{Value: bytes.Clone(item.Value), Revision: item.Revision}, nil
}

// Save stores a copy of value if the stored revision is old; see [Store]. It fails for no other reasons
// than those the interface names.
func (m *Memory) Save(ctx context.Context, key string, value []byte, old Revision) (Revision, error) {
	if err := Admit(ctx, key, value); err != nil {
		return "", err
	}
	value = bytes.Clone(value)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.items[key].Revision != old {
		return "", Conflict(key)
	}
	if m.items == nil {
		m.items = make(map[string]Item)
	}
	m.saves++
	revision := Revision(strconv.FormatUint(m.saves, 10))
	m.items[key] = Item{Value: value, Revision: revision}
	m.tell(key)
	return revision, nil
}

// Delete removes key if the stored revision is old; see [Store].
func (m *Memory) Delete(ctx context.Context, key string, old Revision) error {
	if err := Admit(ctx, key, nil); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old == "" || m.items[key].Revision != old {
		return Conflict(key)
	}
	delete(m.items, key)
	m.tell(key)
	return nil
}

// List yields the keys that are prefix or lie below it, as they were when the iteration began; see [Store].
func (m *Memory) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		for _, key := range m.keys(prefix) {
			if err := ended(ctx); err != nil {
				yield("", err)
				return
			}
			if !yield(key, nil) {
				return
			}
		}
		if err := ended(ctx); err != nil {
			yield("", err)
		}
	}
}

func (m *Memory) keys(prefix string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var keys []string
	for key := range m.items {
		if Within(key, prefix) {
			keys = append(keys, key)
		}
	}
	return keys
}
