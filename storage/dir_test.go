package storage_test

import (
	"context"
	"encoding/pem"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
		Cut: func(t *testing.T, s storage.Store) {
			if err := os.RemoveAll(filepath.Join(string(s.(storage.Dir)), ".watches")); err != nil {
				t.Error(err)
			}
		},
		Many: 500,
	}.Run(t)
}

func mustCreate(t *testing.T, s storage.Store, key, value string) storage.Revision {
	t.Helper()
	revision, err := s.Save(t.Context(), key, []byte(value), "")
	if err != nil {
		t.Fatalf("Save(%q): %v", key, err)
	}
	return revision
}

func listed(t *testing.T, s storage.Store) []string {
	t.Helper()
	var keys []string
	for key, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

func TestDirPermissions(t *testing.T) {
	if os.PathSeparator == '\\' {
		t.Skip("Windows has no such permissions")
	}
	d := storage.Dir(filepath.Join(t.TempDir(), "a", "b"))
	next, stop := iter.Pull2(d.Watch(t.Context(), ""))
	defer stop()
	if _, err, ok := next(); err != nil || !ok {
		t.Fatal(err)
	}
	mustCreate(t, d, "c/d/e", "x")
	if hints, err := filepath.Glob(filepath.Join(string(d), ".watches", "*.*")); len(hints) != 1 {
		t.Errorf("files of hints: %q (%v), want one", hints, err)
	}
	lease := mustAcquire(t, d, time.Hour)
	err := filepath.WalkDir(filepath.Dir(string(d)), func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = fs.ModeDir | 0o700
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	mustRelease(t, lease)
}

func TestDirUnusable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ dir, says string }{
		{"", "name one"},
		{file, file},
		{filepath.Join(file, "below"), "below"},
		{filepath.Join(file, "far", "below"), "below"},
		{"nul\x00", "nul"},
	} {
		d := storage.Dir(test.dir)
		_, saveErr := d.Save(t.Context(), "a", []byte("x"), "")
		_, leaseErr := storage.Acquire(t.Context(), d, "a", 10*time.Millisecond)
		for what, err := range map[string]error{"Save": saveErr, "Acquire": leaseErr} {
			if err == nil || !strings.Contains(err.Error(), test.says) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s in the folder %q: %v, want an error with %q", what, test.dir, err, test.says)
			}
		}
	}
	if content, err := os.ReadFile(file); string(content) != "x" {
		t.Errorf("the file is %q now (%v)", content, err)
	}
}

func TestDirListEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, d := range []storage.Dir{storage.Dir(t.TempDir()), storage.Dir(filepath.Join(t.TempDir(), "absent"))} {
		for key, err := range d.List(ctx, "") {
			if key != "" || !errors.Is(err, context.Canceled) || strings.Count(err.Error(), "storage: ") != 1 || strings.Contains(err.Error(), `""`) {
				t.Errorf("List yields %q, %v, want the context's error, with one prefix and no empty key", key, err)
			}
		}
	}
}

func TestDirAbsent(t *testing.T) {
	d := storage.Dir(filepath.Join(t.TempDir(), "absent"))
	if _, err := d.Load(t.Context(), "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load: %v, want fs.ErrNotExist", err)
	}
	if keys := listed(t, d); keys != nil {
		t.Errorf("List: %q", keys)
	}
	if _, err := d.Save(t.Context(), "a", nil, "x"); !errors.Is(err, storage.ErrConflict) {
		t.Errorf("Save of a change: %v, want ErrConflict", err)
	}
	if _, err := os.Stat(string(d)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder was made though nothing was to be stored: %v", err)
	}
}

// TestDirLinks shows that links out of the folder are not followed by any method.
func TestDirLinks(t *testing.T) {
	base := t.TempDir()
	outside := filepath.Join(base, "outside")
	d := storage.Dir(filepath.Join(base, "store"))
	mustCreate(t, storage.Dir(outside), "a", "secret")
	mustCreate(t, d, "keep", "x")
	link := func(target, name string) {
		t.Helper()
		if err := os.Symlink(target, filepath.Join(string(d), name)); err != nil {
			t.Skipf("no links here: %v", err)
		}
	}
	link(outside, "folder")
	link("../outside", "relative")
	link(filepath.Join(outside, "a.item"), "file.item")
	for _, key := range []string{"folder/a", "relative/a", "file"} {
		item, err := d.Load(t.Context(), key)
		if err == nil {
			t.Errorf("Load(%q) follows a link out of the folder: %q", key, item.Value)
		}
		if _, err := d.Save(t.Context(), key, []byte("overwritten"), ""); err == nil {
			t.Errorf("Save(%q) follows a link out of the folder", key)
		}
		if err := d.Delete(t.Context(), key, "x"); err == nil {
			t.Errorf("Delete(%q) follows a link out of the folder", key)
		}
	}
	for _, folder := range []string{".temp", ".owners", ".locks"} {
		if err := os.RemoveAll(filepath.Join(string(d), folder)); err != nil {
			t.Fatal(err)
		}
		link(outside, folder)
		_, saveErr := d.Save(t.Context(), "new", []byte("x"), "")
		_, leaseErr := storage.Acquire(t.Context(), d, "lease", 10*time.Millisecond)
		if folder == ".owners" && leaseErr == nil || folder != ".owners" && saveErr == nil {
			t.Errorf("%s leads out of the folder, and Save and Acquire answer %v and %v", folder, saveErr, leaseErr)
		}
	}
	if keys := listed(t, d); slices.Contains(keys, "folder/a") || !slices.Contains(keys, "keep") {
		t.Errorf("List: %q", keys)
	}
	if keys := listed(t, storage.Dir(outside)); !slices.Equal(keys, []string{"a"}) {
		t.Errorf("outside the folder there is %q now", keys)
	}
	if item, err := storage.Dir(outside).Load(t.Context(), "a"); string(item.Value) != "secret" || err != nil {
		t.Errorf("outside the folder a is %q now (%v)", item.Value, err)
	}
}

func TestDirForeignFiles(t *testing.T) {
	d := storage.Dir(t.TempDir())
	mustCreate(t, d, "a/b", "x")
	long := strings.Repeat("long", 60)
	mustCreate(t, d, long+"/"+long, "x")
	for _, name := range []string{
		"README", "a/notes.txt", "a/B.item", "a/b.item~", "a/%62.item", ".git/config.item", "a/.hidden.item",
		"a/x~" + strings.Repeat("0", 64) + ".item", "empty/x",
	} {
		name = filepath.Join(string(d), name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("hello\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(string(d), "c.item", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if keys, want := listed(t, d), []string{"a/b", long + "/" + long}; !slices.Equal(keys, want) {
		t.Errorf("List: %.200q, want %.200q", keys, want)
	}
	if _, err := d.Load(t.Context(), "c"); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "c.item") {
		t.Errorf("Load where a folder has the record's name: %v, want an error that names it", err)
	}
	if err := os.WriteFile(filepath.Join(string(d), "big.item"), make([]byte, storage.MaxValue*2), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Load(t.Context(), "big"); err == nil || !strings.Contains(err.Error(), "move it away") {
		t.Errorf("Load of a file that no record can be: %v, want an error that says what to do", err)
	}
}

// TestDirChangedByHand shows that whatever is done to a file, it can be seen and then replaced or deleted.
func TestDirChangedByHand(t *testing.T) {
	for name, change := range map[string]func(content string) string{
		"emptied":       func(string) string { return "" },
		"replaced":      func(string) string { return "-----BEGIN X-----\n" },
		"edited":        func(content string) string { return strings.Replace(content, "value", "other", 1) },
		"cut":           func(content string) string { return content[:len(content)-3] },
		"header cut":    func(content string) string { return content[5:] },
		"copied":        func(content string) string { return strings.Replace(content, " a/b\n", " a/c\n", 1) },
		"one bit":       func(content string) string { return content[:len(content)-2] + "d" + content[len(content)-1:] },
		"zeros":         func(content string) string { return strings.Repeat("\x00", len(content)) },
		"header only":   func(content string) string { return content[:strings.Index(content, "\n")+1] },
		"nothing, kept": func(content string) string { return content },
	} {
		t.Run(name, func(t *testing.T) {
			d := storage.Dir(t.TempDir())
			revision := mustCreate(t, d, "a/b", "the value\n")
			file := filepath.Join(string(d), "a", "b.item")
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := change(string(content))
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			item, err := d.Load(t.Context(), "a/b")
			if err != nil || !strings.HasSuffix(changed, string(item.Value)) {
				t.Fatalf("Load: %q, %v; the file is %q", item.Value, err, changed)
			}
			if (item.Revision == revision) != (changed == string(content)) {
				t.Errorf("the revision was %q and is %q", revision, item.Revision)
			}
			if _, err := d.Save(t.Context(), "a/b", nil, "stale"); !errors.Is(err, storage.ErrConflict) {
				t.Errorf("Save with a stale revision: %v, want ErrConflict", err)
			}
			if keys := listed(t, d); !slices.Equal(keys, []string{"a/b"}) {
				t.Errorf("List: %q", keys)
			}
			next, err := d.Save(t.Context(), "a/b", []byte("repaired"), item.Revision)
			if err != nil {
				t.Fatalf("Save over it: %v", err)
			}
			if item, err := d.Load(t.Context(), "a/b"); err != nil || string(item.Value) != "repaired" || item.Revision != next {
				t.Errorf("Load after the repair: %q, %v", item, err)
			}
		})
	}
}

func TestDirFileIsReadableText(t *testing.T) {
	d := storage.Dir(t.TempDir())
	value := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("not really")}))
	mustCreate(t, d, "certificates/*.example.com", value)
	content, err := os.ReadFile(filepath.Join(string(d), "certificates", "%2a.example.com.item"))
	if err != nil {
		t.Fatal(err)
	}
	header, rest, _ := strings.Cut(string(content), "\n")
	if rest != value || !strings.HasPrefix(header, "everseal-item/1 ") || !strings.HasSuffix(header, " certificates/*.example.com") {
		t.Errorf("the file is %q", content)
	}
	if block, _ := pem.Decode(content); block == nil || string(block.Bytes) != "not really" {
		t.Errorf("a PEM reader finds %v", block)
	}
}

func TestDirRemovesEmptyFolders(t *testing.T) {
	d := storage.Dir(t.TempDir())
	deep := mustCreate(t, d, "a/b/c/d", "x")
	mustCreate(t, d, "a/e", "x")
	if err := d.Delete(t.Context(), "a/b/c/d", deep); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(string(d), "a", "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the empty folder is there: %v", err)
	}
	if _, err := os.Stat(filepath.Join(string(d), "a", "e.item")); err != nil {
		t.Errorf("the other record is gone: %v", err)
	}
}

// TestDirKeepsLinks shows that a link within the folder serves, and outlives the records behind it.
func TestDirKeepsLinks(t *testing.T) {
	d := storage.Dir(t.TempDir())
	mustCreate(t, d, "real/kept", "x")
	if err := os.Symlink("real", filepath.Join(string(d), "link")); err != nil {
		t.Skipf("no links here: %v", err)
	}
	revision := mustCreate(t, d, "link/a", "x")
	if err := d.Delete(t.Context(), "link/a", revision); err != nil {
		t.Fatal(err)
	}
	if item, err := d.Load(t.Context(), "link/kept"); err != nil || string(item.Value) != "x" {
		t.Errorf("Load through the link: %q, %v", item.Value, err)
	}
}
