package storage_test

import (
	"path/filepath"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

func TestDir(t *testing.T) {
	storagetest.Suite{
		Open: func(t *testing.T) storage.Store {
			return storage.Dir(filepath.Join(t.TempDir(), "a", "b"))
		},
		Reopen: func(_ *testing.T, s storage.Store) storage.Store {
			return s.(storage.Dir) + "/../b/"
		},
	}.Run(t)
}
