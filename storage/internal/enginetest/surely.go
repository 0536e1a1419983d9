package enginetest

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/server"
)

// Until calls f until it succeeds, however often connections are cut.
func Until[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), server.Patience)
	defer cancel()
	for {
		result, err := f()
		if err == nil {
			return result
		}
		if ctx.Err() != nil {
			t.Fatalf("it never succeeds: %v", err)
		}
	}
}

// SaveSurely saves under "a", which nobody else writes, as one has to who gets errors: it looks what became of the save, and does
// it again with the same revision if nothing did.
func SaveSurely(t *testing.T, s storage.Store, value []byte, old storage.Revision) storage.Revision {
	t.Helper()
	unknown := false // whether a save before has come to nothing
	return Until(t, func() (storage.Revision, error) {
		revision, err := s.Save(t.Context(), "a", value, old)
		if err == nil {
			return revision, nil
		}
		conflict := errors.Is(err, storage.ErrConflict)
		if conflict && !unknown {
			t.Fatalf("Save without another writer: %v", err)
		}
		unknown = true
		item := Until(t, func() (storage.Item, error) {
			item, err := s.Load(t.Context(), "a")
			if errors.Is(err, fs.ErrNotExist) {
				return storage.Item{}, nil
			}
			return item, err
		})
		if bytes.Equal(item.Value, value) && item.Revision != "" {
			return item.Revision, nil
		}
		if conflict {
			t.Fatalf("a conflict with %d bytes that nobody has saved", len(item.Value))
		}
		return "", err
	})
}
