//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package storage_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/everseal/everseal/storage"
)

// TestDirPipe would hang if Load opened a pipe as a file and waited for its writer.
func TestDirPipe(t *testing.T) {
	d := storage.Dir(t.TempDir())
	if err := syscall.Mkfifo(filepath.Join(string(d), "a.item"), 0o600); err != nil {
		t.Fatal(err)
	}
	if item, err := d.Load(t.Context(), "a"); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a pipe: %q, %v, want an error", item, err)
	}
	if keys := listed(t, d); len(keys) != 0 {
		t.Errorf("List: %q, want the pipe passed by", keys)
	}
}
