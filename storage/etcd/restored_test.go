package etcd

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/internal/enginetest"
)

// A member is given its folder of an earlier time again, as from a backup. The revisions of etcd return then; those of the store
// do not, so that nobody overwrites what it has not seen.
func TestRestored(t *testing.T) {
	one, err := newMember()
	member := start(t, one, err)
	d := targetAt(member.Address())
	s, other := d.open(t), d.open(t)
	first := enginetest.SaveSurely(t, s, []byte("1"), "")

	data, backup := filepath.Join(member.Folder, "data"), filepath.Join(member.Folder, "backup")
	member.End(syscall.SIGTERM)
	if err := os.CopyFS(backup, os.DirFS(data)); err != nil {
		t.Fatal(err)
	}
	if err := member.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	forgotten := enginetest.SaveSurely(t, s, []byte("2"), first)
	member.End(os.Kill)
	err = errors.Join(os.RemoveAll(data), os.Rename(backup, data), member.Start(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	now := enginetest.SaveSurely(t, other, []byte("3"), first)

	before, _ := versionOf(forgotten)
	after, _ := versionOf(now)
	if before.modified != after.modified {
		t.Fatalf("the revisions of etcd are %d and %d: they do not return, and this test shows nothing", before.modified, after.modified)
	}
	if forgotten == now {
		t.Errorf("the revision %q is given twice", now)
	}
	if _, err := s.Save(t.Context(), "a", []byte("4"), forgotten); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save with a revision from before: %v, want ErrConflict", err)
	}
	if err := s.Delete(t.Context(), "a", forgotten); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Delete with a revision from before: %v, want ErrConflict", err)
	}
	if item, err := other.Load(t.Context(), "a"); err != nil || string(item.Value) != "3" || item.Revision != now {
		t.Errorf("stored is %q at %q, %v", item.Value, item.Revision, err)
	}
}
