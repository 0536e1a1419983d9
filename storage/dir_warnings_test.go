package storage_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

func TestDirWarnings(t *testing.T) {
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no such permissions")
	}
	type warner interface {
		Warnings(ctx context.Context) []error
	}
	for mode, warns := range map[fs.FileMode]bool{0o700: false, 0o500: false, 0o750: true, 0o755: true, 0o701: true, 0o777: true, 0o720: true} {
		d := storage.Dir(t.TempDir())
		if err := os.Chmod(string(d), mode); err != nil {
			t.Fatal(err)
		}
		s, ok := storage.As[warner](wrapper{d})
		if !ok {
			t.Fatal("As does not find Warnings")
		}
		got := s.Warnings(t.Context())
		if warns != (len(got) == 1) || len(got) > 0 && !(strings.Contains(got[0].Error(), string(d)) && strings.Contains(got[0].Error(), "chmod 0700")) {
			t.Errorf("mode %o: %v, want a warning: %t", mode, got, warns)
		}
		if err := os.Chmod(string(d), 0o700); err != nil {
			t.Error(err)
		}
	}
	made := storage.Dir(filepath.Join(t.TempDir(), "made"))
	if got := made.Warnings(t.Context()); got != nil {
		t.Errorf("a missing folder: %v", got)
	}
	mustCreate(t, made, "a", "x")
	if got := made.Warnings(t.Context()); got != nil {
		t.Errorf("a folder that the Dir has made: %v", got)
	}
}
