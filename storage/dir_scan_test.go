package storage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/everseal/everseal/storage"
)

// scanned returns the values that a scan of d yields, without those that can't be read. After the first record it does change.
func scanned(t *testing.T, d storage.Dir, change func()) map[string]string {
	t.Helper()
	values := make(map[string]string)
	for r, err := range d.Scan(t.Context(), "certificates", "") {
		if err == nil {
			values[r.Key] = string(r.Value)
		}
		if r.Key == "certificates/issuer/a/p256" {
			change()
		}
	}
	return values
}

func mustDelete(t *testing.T, s storage.Store, key string) {
	t.Helper()
	item, err := s.Load(t.Context(), key)
	if err == nil {
		err = s.Delete(t.Context(), key, item.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func dirOfThree(t *testing.T) storage.Dir {
	t.Helper()
	d := storage.Dir(filepath.Join(t.TempDir(), "store"))
	for _, name := range []string{"a", "b", "c"} {
		mustCreate(t, d, "certificates/issuer/"+name+"/p256", "old")
	}
	return d
}

// A scan that has opened a folder which is removed yields what is in the one made anew in its place.
func TestDirScanFolderMadeAnew(t *testing.T) {
	d := dirOfThree(t)
	values := scanned(t, d, func() {
		for _, name := range []string{"a", "b", "c"} {
			mustDelete(t, d, "certificates/issuer/"+name+"/p256")
		}
		if _, err := os.Stat(filepath.Join(string(d), "certificates")); err == nil {
			t.Fatal("the folder is there though it is empty")
		}
		mustCreate(t, d, "certificates/issuer/b/p256", "new")
	})
	if v, ok := values["certificates/issuer/b/p256"]; !ok || v != "new" {
		t.Errorf("Scan yields %q, want the new b among them", values)
	}
	if v, ok := values["certificates/issuer/c/p256"]; ok {
		t.Errorf("Scan yields %q of c, which has been deleted", v)
	}
}

// That holds too for a folder that is removed while the scan is among its records.
func TestDirScanFolderOfRecordsMadeAnew(t *testing.T) {
	d := storage.Dir(t.TempDir())
	keys := []string{"certificates/issuer/a/p256", "certificates/issuer/a/p384", "certificates/issuer/a/rsa"}
	for _, key := range keys {
		mustCreate(t, d, key, "old")
	}
	values := scanned(t, d, func() {
		for _, key := range keys {
			mustDelete(t, d, key)
		}
		if _, err := os.Stat(filepath.Join(string(d), "certificates")); err == nil {
			t.Fatal("the folder is there though it is empty")
		}
		mustCreate(t, d, keys[2], "new")
	})
	if want := map[string]string{keys[0]: "old", keys[2]: "new"}; !maps.Equal(values, want) {
		t.Errorf("Scan yields %q, want %q", values, want)
	}
}

// scanKeys returns the keys that a scan yields, in their order, and checks the values and cursors.
func scanKeys(t *testing.T, d storage.Dir, prefix, cursor string) (keys []string) {
	t.Helper()
	for r, err := range d.Scan(t.Context(), prefix, cursor) {
		if err != nil {
			t.Fatalf("Scan(%q, %q): %q: %v", prefix, cursor, r.Key, err)
		}
		if string(r.Value) != "value of "+r.Key || r.Cursor != r.Key {
			t.Errorf("Scan(%q, %q) yields %q with the value %q and the cursor %q", prefix, cursor, r.Key, r.Value, r.Cursor)
		}
		keys = append(keys, r.Key)
	}
	return keys
}

// keysOf returns n random keys in their order. Their segments have names that begin alike, that are encoded, or shortened.
func keysOf(random *rand.Rand, n int) []string {
	long := strings.Repeat("l", 120)
	segments := []string{
		"a", "b", "a-b", "a.b", "a_", "a0", "aa", "a-", "a.", ".a", "*.a", ":a", "a:", "a+b", "a,b", "a=b", "a@", "~", "a~", "con", "a.item", "a%2eb",
		long, long + strings.Repeat("*", 40), long + strings.Repeat(":", 40), long + strings.Repeat("x", 100), strings.Repeat("*", 70),
	}
	keys := make(map[string]bool)
	for len(keys) < n {
		parts := make([]string, 1+random.IntN(3))
		for i := range parts {
			parts[i] = segments[random.IntN(len(segments))]
		}
		if key := strings.Join(parts, "/"); storage.CheckKey(key) == nil {
			keys[key] = true
		}
	}
	return slices.Sorted(maps.Keys(keys))
}

// A scan yields what List does in the order of the keys, and resumes after any string, whether it was a cursor or not. So do
// cursors serve that were stored.
func TestDirScanOrder(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	d, keys := storage.Dir(t.TempDir()), keysOf(random, 120)
	for _, key := range keys {
		mustCreate(t, d, key, "value of "+key)
	}
	if list := listed(t, d); !slices.Equal(list, keys) {
		t.Fatalf("seed %d: List yields %q, want %q", seed, list, keys)
	}
	check := func(prefix, cursor string) {
		t.Helper()
		var want []string
		for _, key := range keys {
			if storage.Within(key, prefix) && key > cursor {
				want = append(want, key)
			}
		}
		if got := scanKeys(t, d, prefix, cursor); !slices.Equal(got, want) {
			t.Errorf("seed %d: Scan(%q, %q) yields %q, want %q", seed, prefix, cursor, got, want)
		}
	}
	check("absent", "")
	for _, key := range keys {
		check("", key)
		check("", key[:random.IntN(len(key))])
		check("", key+string("-./0~"[random.IntN(5)]))
		prefix, _, _ := strings.Cut(key, "/")
		check(prefix, "")
		check(prefix, key)
		check(key, "")
		check(key, keys[random.IntN(len(keys))])
	}
}

// What is no record's file is passed by, wherever it lies, as List does.
func TestDirScanForeignFiles(t *testing.T) {
	d := storage.Dir(t.TempDir())
	long := strings.Repeat("long", 60)
	keys := []string{"a", "a/b", "a/b/c", long + "/" + long, long + "/a"}
	for _, key := range keys {
		mustCreate(t, d, key, "value of "+key)
	}
	folders := []string{"", "a", "a/b", "foreign", "foreign/a", "new.item", ".own", "lost+found", "A", "a%2a", strings.Repeat("x", 100) + "~" + strings.Repeat("0", 64)}
	shortened, err := filepath.Glob(filepath.Join(string(d), "long*~*"))
	if err != nil || len(shortened) != 1 {
		t.Fatalf("shortened folders: %q (%v), want one", shortened, err)
	}
	folders = append(folders, filepath.Base(shortened[0]))
	for _, folder := range folders {
		for _, name := range []string{
			"README", "BIG.item", "%62.item", "b.item~", ".item", ".hidden.item", "%2e.item", "b%2fc.item", "b c.item", "con.item", "\xff.item", "b.item.item/x",
			strings.Repeat("y", 100) + "~" + strings.Repeat("0", 64) + ".item", "empty/b/c",
		} {
			name = filepath.Join(string(d), folder, name)
			if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(name, []byte("value of foreign\n"), 0o600); err != nil {
				t.Logf("not here: %v", err)
			}
		}
	}
	// A file whose name tells its key is a record whatever it holds; below a shortened folder none tells.
	for _, folder := range []string{"a", filepath.Base(shortened[0])} {
		if err := os.WriteFile(filepath.Join(string(d), folder, "put.item"), []byte("value of a/put"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keys = append(keys, "a/put")
	slices.Sort(keys)
	if got := listed(t, d); !slices.Equal(got, keys) {
		t.Errorf("List yields %.300q, want %.300q", got, keys)
	}
	if got := scanKeys(t, d, "", ""); !slices.Equal(got, keys) {
		t.Errorf("Scan yields %.300q, want %.300q", got, keys)
	}
	if got, want := scanKeys(t, d, long, ""), []string{long + "/a", long + "/" + long}; !slices.Equal(got, want) {
		t.Errorf("Scan below the shortened folder yields %.300q, want %.300q", got, want)
	}
}

// A file that is too large for a record is an error of its key, and the scan continues.
func TestDirScanTooLarge(t *testing.T) {
	d := storage.Dir(t.TempDir())
	for _, key := range []string{"a/b", "a/c", "a/d"} {
		mustCreate(t, d, key, "x")
	}
	if err := os.WriteFile(filepath.Join(string(d), "a", "c.item"), make([]byte, storage.MaxValue*2), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"", "a", "a/c"} {
		failed, read := 0, 0
		for r, err := range d.Scan(t.Context(), prefix, "") {
			switch {
			case err == nil:
				read++
			case r.Key != "a/c" || r.Cursor != "a/c" || !strings.Contains(err.Error(), "move it away") || !strings.Contains(err.Error(), "a/c.item"):
				t.Errorf("Scan(%q): %+v, %v, want an error with the key a/c that says what to do", prefix, r, err)
			default:
				failed++
			}
		}
		if want := map[string]int{"": 2, "a": 2}[prefix]; failed != 1 || read != want {
			t.Errorf("Scan(%q): %d records and %d errors, want %d and one", prefix, read, failed, want)
		}
	}
}

// A scan whose context ends between two records ends with that, without a key.
func TestDirScanEnded(t *testing.T) {
	d := storage.Dir(t.TempDir())
	for _, key := range []string{"certificates/a", "certificates/b", "certificates/c"} {
		mustCreate(t, d, key, "x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var yielded []string
	for r, err := range d.Scan(ctx, "certificates", "") {
		yielded = append(yielded, fmt.Sprint(r.Key, r.Cursor))
		if len(yielded) == 2 && (!errors.Is(err, context.Canceled) || errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), "storage: ") != 1) {
			t.Errorf("Scan: %v, want the context's error with one prefix", err)
		}
		cancel()
	}
	if len(yielded) != 2 || yielded[1] != "" {
		t.Errorf("Scan yields %q, want a record and an error without a key", yielded)
	}
}

// A scan follows no link out of the folder, wherever one turns up while it runs.
func TestDirScanLinks(t *testing.T) {
	for _, place := range []string{"certificates", "certificates/issuer", "certificates/issuer/b", "certificates/issuer/b/p256.item"} {
		t.Run(filepath.Base(place), func(t *testing.T) {
			d := dirOfThree(t)
			outside := filepath.Join(t.TempDir(), "outside")
			for _, name := range []string{"b", "c"} {
				mustCreate(t, storage.Dir(outside), "certificates/issuer/"+name+"/p256", "secret")
			}
			values := scanned(t, d, func() {
				full := filepath.Join(string(d), place)
				if err := os.Rename(full, filepath.Join(t.TempDir(), "away")); err != nil {
					t.Skipf("what is open can't be moved here: %v", err)
				}
				if err := os.Symlink(filepath.Join(outside, place), full); err != nil {
					t.Skipf("no links here: %v", err)
				}
			})
			for key, value := range values {
				if value != "old" {
					t.Errorf("Scan yields %q of %s", value, key)
				}
			}
		})
	}
}
