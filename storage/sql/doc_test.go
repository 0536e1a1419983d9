package sql

import (
	"os"
	"strings"
	"testing"
)

// The SQL that doc.go shows to administrators is the one that is run.
func TestDocumentedSchema(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, url := range []string{"postgres://localhost/a", "mysql://localhost/a", "sqlite:a"} {
		s := target{url: url}.open(t)
		shown := "//\t" + strings.ReplaceAll(strings.TrimSpace(s.Schema()), "\n", "\n//\t") + "\n"
		if !strings.Contains(string(source), shown) {
			t.Errorf("doc.go does not show\n%s", shown)
		}
	}
}

// The file has private keys: nobody but its owner may read it, nor what SQLite puts beside it.
func TestSQLiteFileMode(t *testing.T) {
	d := newSQLiteTarget(t)
	s := d.open(t)
	if _, err := s.Save(t.Context(), "a", []byte("x"), ""); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(s.address + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("the file%s has the mode %v, want 0600", suffix, mode)
		}
	}
}
