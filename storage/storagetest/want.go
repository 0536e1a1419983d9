package storagetest

import (
	"slices"
	"testing"

	"github.com/everseal/everseal/storage"
)

func save(t *testing.T, s storage.Store, key, value string, old storage.Revision) storage.Revision {
	t.Helper()
	revision, err := s.Save(t.Context(), key, []byte(value), old)
	if err != nil {
		t.Fatalf("Save(%q) with revision %q: %v", key, old, err)
	}
	if revision == "" {
		t.Fatalf("Save(%q) returned a zero revision, which stands for an absent key", key)
	}
	return revision
}

func load(t *testing.T, s storage.Store, key string) storage.Item {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err != nil {
		t.Fatalf("Load(%q): %v", key, err)
	}
	return item
}

func wantStored(t *testing.T, s storage.Store, key, value string, revision storage.Revision) {
	t.Helper()
	item := load(t, s, key)
	if string(item.Value) != value {
		t.Errorf("Load(%q): %d bytes %.40q, want %d bytes %.40q", key, len(item.Value), item.Value, len(value), value)
	}
	if item.Revision != revision {
		t.Errorf("Load(%q): revision %q, but Save returned %q for it", key, item.Revision, revision)
	}
}

func wantListed(t *testing.T, s storage.Store, prefix string, want ...string) {
	t.Helper()
	var got []string
	for key, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		got = append(got, key)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("List(%q): %.80q, want %.80q", prefix, got, want)
	}
}
