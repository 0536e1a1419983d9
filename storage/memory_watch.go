package storage

import (
	"context"
	"iter"
)

// A memoryWatch is one call of Watch. What it has to tell is no more than the keys that there are.
type memoryWatch struct {
	prefix string
	keys   map[string]bool // to be told; guarded by Memory.mu
	more   chan struct{}   // full while there are keys
}

// tell notes for all watches that a key was changed. It is called with mu held.
func (m *Memory) tell(key string) {
	for w := range m.watches {
		if !Within(key, w.prefix) {
			continue
		}
		w.keys[key] = true
		select {
		case w.more <- struct{}{}:
		default: // it is full already
		}
	}
}

// Watch yields the keys at or below the prefix that are changed; see [Watcher]. No hint is lost.
func (m *Memory) Watch(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := AdmitPrefix(ctx, prefix); err != nil {
			yield("", err)
			return
		}
		w := &memoryWatch{prefix: prefix, keys: make(map[string]bool), more: make(chan struct{}, 1)}
		m.addWatch(w)
		defer m.removeWatch(w)
		if !yield("", nil) {
			return
		}
		for {
			select {
			case <-w.more:
			case <-ctx.Done():
				yield("", ended(ctx))
				return
			}
			for key := range m.takeKeys(w) {
				if !yield(key, nil) {
					return
				}
			}
		}
	}
}

func (m *Memory) addWatch(w *memoryWatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.watches == nil {
		m.watches = make(map[*memoryWatch]bool)
	}
	m.watches[w] = true
}

func (m *Memory) removeWatch(w *memoryWatch) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watches, w)
}

func (m *Memory) takeKeys(w *memoryWatch) map[string]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := w.keys
	w.keys = make(map[string]bool)
	return keys
}
