package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// childWatch prints "ready" once it listens, then each key it is told.
func childWatch(ctx context.Context, d Dir) error {
	for key, err := range d.Watch(ctx, "") {
		if err != nil {
			return err
		}
		if key == "" {
			key = "ready"
		}
		fmt.Println(key)
	}
	return nil
}

func mustSave(t *testing.T, d Dir, key string) {
	t.Helper()
	if _, err := Update(t.Context(), d, key, func([]byte) ([]byte, error) { return []byte("x"), nil }); err != nil {
		t.Fatal(err)
	}
}

// watchFiles returns the names and sizes of the files that watches have.
func watchFiles(t *testing.T, d Dir) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(string(d), watchFolder))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	sizes := make(map[string]int64)
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		sizes[entry.Name()] = info.Size()
	}
	return sizes
}

func startDirWatch(t *testing.T, d Dir) *dirWatch {
	t.Helper()
	w, err := d.openWatch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// pollFor polls until all keys have come.
func pollFor(t *testing.T, w *dirWatch, keys ...string) {
	t.Helper()
	got, err := w.poll()
	for _, key := range keys {
		if err != nil || !got[key] {
			t.Errorf("the poll has %v (%v), want %q", got, err, keys)
			return
		}
	}
}

// What one process changes another is told, both ways.
func TestDirWatchOfTwoProcesses(t *testing.T) {
	d := Dir(t.TempDir())
	child := startChild(t, "watch", d)
	if line := child.line(t); line != "ready" {
		t.Fatalf("the child says %q", line)
	}
	mustSave(t, d, "certificates/*.example.com")
	if line := child.line(t); line != "certificates/*.example.com" {
		t.Errorf("the child was told %q", line)
	}
	next, stop := iter.Pull2(d.Watch(t.Context(), "counter"))
	defer stop()
	if key, err, _ := next(); key != "" || err != nil {
		t.Fatalf("Watch yields %q, %v first", key, err)
	}
	startChild(t, "count", d)
	if key, err, _ := next(); key != "counter" || err != nil {
		t.Errorf("Watch yields %q, %v, want what another process changes", key, err)
	}
	if line := child.line(t); line != "counter" {
		t.Errorf("the child was told %q", line)
	}
}

// A watch whose process was killed costs the next writers a few kilobytes, and then nothing.
func TestDirWatchKilled(t *testing.T) {
	for name, before := range map[string]int{"unused": 0, "used": 1} {
		t.Run(name, func(t *testing.T) {
			d := Dir(t.TempDir())
			child := startChild(t, "watch", d)
			child.line(t)
			for range before {
				mustSave(t, d, "a/before")
			}
			child.kill(t)
			long := "a/" + strings.Repeat("k", 400)
			for n := 0; len(watchFiles(t, d)) > 0; n++ {
				for file, size := range watchFiles(t, d) {
					if size > checkedHints+MaxKey {
						t.Errorf("the file %s has %d bytes, and nobody reads it", file, size)
					}
				}
				if n > checkedHints/len(long)+1 {
					t.Fatalf("after %d changes there are still %v", n, watchFiles(t, d))
				}
				mustSave(t, d, long)
			}
			if _, err := os.Lstat(filepath.Join(string(d), watchFolder)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the folder of the watches is still there: %v", err)
			}
		})
	}
}

// A watch whose caller takes no more hints, or that lives on another machine and may be dead, has bounded files; if
// it lives it is told.
func TestDirWatchBounds(t *testing.T) {
	d := Dir(t.TempDir())
	stuck := startDirWatch(t, d)
	defer stuck.close()
	foreign := strings.Repeat("0", 16) + "-" + strings.Repeat("a", 26)
	if err := os.WriteFile(filepath.Join(string(d), watchFolder, foreign), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("k", MaxKey)
	for n := 0; len(watchFiles(t, d)) > 0; n++ {
		if n > maxHints/MaxKey+1 {
			t.Fatalf("after %d changes there are still %v", n, watchFiles(t, d))
		}
		if n < 5 {
			mustSave(t, d, key)
		}
		tellWatches(stuck.root, key)
	}
	if keys, err := stuck.poll(); !errors.Is(err, errHintsLost) || len(keys) > 0 {
		t.Errorf("the poll after that: %v, %v, want an error", keys, err)
	}
}

// While a watch goes from one file to the next, nothing that is appended meanwhile is lost.
func TestDirWatchRotates(t *testing.T) {
	d := Dir(t.TempDir())
	w := startDirWatch(t, d)
	defer w.close()
	const tellers, each = 4, 2000
	var telling sync.WaitGroup
	for teller := range tellers {
		telling.Go(func() {
			root, err := openFolder(string(d), false)
			if err != nil {
				t.Error(err)
				return
			}
			defer root.Close()
			for n := range each {
				tellWatches(root, fmt.Sprintf("%d/%d/%s", teller, n, strings.Repeat("k", 100)))
			}
		})
	}
	done := make(chan struct{})
	go func() {
		telling.Wait()
		close(done)
	}()
	told := make(map[string]bool)
	rotations := 0
	for last := false; !last; {
		select {
		case <-done:
			last = true
		default:
		}
		keys, err := w.poll()
		if err != nil {
			t.Fatal(err)
		}
		for key := range keys {
			told[key] = true
		}
		if len(w.read) == 0 {
			rotations++
		}
	}
	if len(told) != tellers*each {
		t.Errorf("%d of %d keys were told", len(told), tellers*each)
	}
	if rotations < 5 {
		t.Errorf("the watch went on to another file %d times", rotations)
	}
	for key, err := range d.List(t.Context(), "") {
		t.Errorf("List yields %q, %v", key, err)
	}
}

// Hints from other machines stand in files of their own; what is no hint is not passed over.
func TestDirWatchReads(t *testing.T) {
	other := "." + strings.Repeat("0", 16)
	for name, test := range map[string]struct {
		content string
		keys    []string
		lost    bool
	}{
		"another machine's": {"a/b\nc\n", []string{"a/b", "c"}, false},
		"a part of a line":  {"a/b\nc", []string{"a/b"}, false},
		"no key":            {"a/b\n../c\n", nil, true},
		"an empty line":     {"\n", nil, true},
		"zeros":             {"\x00\x00\n", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := Dir(t.TempDir())
			w := startDirWatch(t, d)
			defer w.close()
			if err := os.WriteFile(filepath.Join(string(d), filepath.FromSlash(w.name))+other, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			mustSave(t, d, "own")
			keys, err := w.poll()
			if test.lost != errors.Is(err, errHintsLost) {
				t.Errorf("the poll: %v", err)
			}
			for _, key := range test.keys {
				if !keys[key] {
					t.Errorf("%q was not told: %v", key, keys)
				}
			}
		})
	}
}

// A watch that has lost a file ends, whichever it was, and what was in it.
func TestDirWatchLosesFiles(t *testing.T) {
	for name, spoil := range map[string]func(own, hints string) error{
		"its own":     func(own, _ string) error { return os.Remove(own) },
		"hints":       func(_, hints string) error { return os.Remove(hints) },
		"all":         func(own, _ string) error { return os.RemoveAll(filepath.Dir(own)) },
		"the content": func(_, hints string) error { return os.Truncate(hints, 0) },
		"a folder": func(_, hints string) error {
			return errors.Join(os.Remove(hints), os.Mkdir(hints, 0o700))
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Dir(t.TempDir())
			w := startDirWatch(t, d)
			defer w.close()
			mustSave(t, d, "a")
			pollFor(t, w, "a")
			own := filepath.Join(string(d), filepath.FromSlash(w.name))
			kernel, err := kernelID()
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(own, own+"."+kernel); err != nil {
				t.Fatal(err)
			}
			if _, err := w.poll(); err == nil {
				t.Error("the watch goes on")
			}
			mustSave(t, d, "a") // fails for no watch
		})
	}
}

// A watch that begins removes what dead ones have left, and only that.
func TestDirWatchSweeps(t *testing.T) {
	d := Dir(t.TempDir())
	living := startDirWatch(t, d)
	defer living.close()
	kernel, err := kernelID()
	if err != nil {
		t.Fatal(err)
	}
	dead := kernel + "-" + strings.Repeat("b", 26)
	orphan := kernel + "-" + strings.Repeat("c", 26) + "." + kernel
	foreign := strings.Repeat("0", 16) + "-" + strings.Repeat("d", 26)
	for _, name := range []string{dead, dead + "." + kernel, orphan, foreign, "notes.txt"} {
		if err := os.WriteFile(filepath.Join(string(d), watchFolder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	startDirWatch(t, d).close()
	mustSave(t, d, "a")
	pollFor(t, living, "a")
	var names []string
	for name := range watchFiles(t, d) {
		names = append(names, name)
	}
	slices.Sort(names)
	own := filepath.Base(living.name)
	want := []string{foreign, foreign + "." + kernel, own, own + "." + kernel, "notes.txt"}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("there are %q, want %q", names, want)
	}
	if owners := ownerFiles(t, d); len(owners) != 1 {
		t.Errorf("%d owners are marked, want that of the watch: %q", len(owners), owners)
	}
}
