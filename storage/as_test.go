package storage_test

import (
	"testing"

	"github.com/everseal/everseal/storage"
)

// A wrapper is a store around another, which it tells of.
type wrapper struct{ storage.Store }

func (w wrapper) Unwrap() storage.Store { return w.Store }

// A cover is a store around another that it hides.
type cover struct{ storage.Store }

func TestAs(t *testing.T) {
	memory, dir := new(storage.Memory), storage.Dir(t.TempDir())
	for name, test := range map[string]struct {
		store           storage.Store
		watcher, owners bool
	}{
		"memory":         {memory, true, false},
		"folder":         {dir, true, true},
		"wrapped":        {wrapper{wrapper{memory}}, true, false},
		"wrapped folder": {wrapper{dir}, true, true},
		"covered":        {wrapper{cover{memory}}, false, false},
		"nil":            {nil, false, false},
		"around nil":     {wrapper{}, false, false},
	} {
		watcher, ok := storage.As[storage.Watcher](test.store)
		if ok != test.watcher || ok && watcher == nil {
			t.Errorf("%s: a Watcher: %t, want %t", name, ok, test.watcher)
		}
		if _, ok := storage.As[storage.Owners](test.store); ok != test.owners {
			t.Errorf("%s: Owners: %t, want %t", name, ok, test.owners)
		}
	}
	if found, ok := storage.As[*storage.Memory](wrapper{memory}); !ok || found != memory {
		t.Errorf("found %v", found)
	}
}
