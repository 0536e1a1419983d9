package storagetest

import (
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
)

// An expectation is what a test expects of one handle.
type expectation struct {
	t *testing.T
	s storage.Store
}

func on(t *testing.T, s storage.Store) expectation {
	return expectation{t, s}
}

func (e expectation) save(key, value string, old storage.Revision) storage.Revision {
	e.t.Helper()
	revision, err := e.s.Save(e.t.Context(), key, []byte(value), old)
	if err != nil {
		e.t.Fatalf("Save(%q) with revision %q: %v", key, old, err)
	}
	if revision == "" {
		e.t.Fatalf("Save(%q) returned a zero revision, which stands for an absent key", key)
	}
	return revision
}

func (e expectation) load(key string) storage.Item {
	e.t.Helper()
	item, err := e.s.Load(e.t.Context(), key)
	if err != nil {
		e.t.Fatalf("Load(%q): %v", key, err)
	}
	return item
}

func (e expectation) wantStored(key, value string, revision storage.Revision) {
	e.t.Helper()
	item := e.load(key)
	if string(item.Value) != value {
		e.t.Errorf("Load(%q): %d bytes %.40q, want %d bytes %.40q", key, len(item.Value), item.Value, len(value), value)
	}
	if item.Revision != revision {
		e.t.Errorf("Load(%q): revision %q, but Save returned %q for it", key, item.Revision, revision)
	}
}

func (e expectation) wantListed(prefix string, want ...string) {
	e.t.Helper()
	var got []string
	for key, err := range e.s.List(e.t.Context(), prefix) {
		if err != nil {
			e.t.Fatalf("List(%q): %v", prefix, err)
		}
		got = append(got, key)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		e.t.Errorf("List(%q): %.80q, want %.80q", prefix, got, want)
	}
}
