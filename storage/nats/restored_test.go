package nats

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// A server that has lost what was acknowledged gives its sequences to other messages. A process that has seen the lost ones must not take
// the others for them.
func TestRestoredServer(t *testing.T) {
	one, err := newServer()
	node := start(t, one, err)
	d := targetAt(node.Address())
	s := d.open(t)
	save(t, s, "a")
	data, backup := filepath.Join(node.Folder, "data"), filepath.Join(node.Folder, "backup")
	node.End(os.Interrupt)
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Until(t, func() (storage.Item, error) { return s.Load(t.Context(), "a") })
	save(t, s, "a")
	lost, err := s.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	node.End(os.Kill)
	if err := os.RemoveAll(data); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, data); err != nil {
		t.Fatal(err)
	}
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := d.open(t)
	save(t, other, "a")
	current, err := other.Load(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	before, _ := versionOf(lost.Revision)
	after, _ := versionOf(current.Revision)
	if before.sequence != after.sequence || lost.Revision == current.Revision {
		t.Fatalf("the lost message has %v, the other %v: want the same sequence and another nonce", before, after)
	}
	enginetest.Until(t, func() (storage.Item, error) { return s.Load(t.Context(), "a") })
	if _, err := s.Save(t.Context(), "a", []byte("y"), lost.Revision); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save with the lost revision: %v, want ErrConflict", err)
	}
	if err := s.Delete(t.Context(), "a", lost.Revision); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Delete with the lost revision: %v, want ErrConflict", err)
	}
	if _, err := s.Save(t.Context(), "a", []byte("y"), current.Revision); err != nil {
		t.Errorf("Save with the stored revision: %v", err)
	}
}
