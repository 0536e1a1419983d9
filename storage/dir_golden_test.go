package storage_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/storage"
)

// goldenFolder was written by the Dir of commit 058d5c9, in a process whose kernel is none that runs the test: each
// record by a Save; leases acquired three times and saved in, with terms of a minute, a second and an hour, of which the
// first was released and the others left by the end of the process; last a writer that was killed in the
// midst of a Save of killed/writer. It is never written anew: what it holds lies on the disks of users.
const goldenFolder = "testdata/folder"

// folderKeys are the keys of the records whose value is folderValue of the key.
func folderKeys() []string {
	label := strings.Repeat("l", 63)
	domain := strings.Join([]string{label, label, label, label[:61]}, ".")
	return []string{
		"a", "a/b", "certificates/issuer/*.example.com", "2001:db8::1", ".a", "a.", "con", "nul/aux.example.com", "a.item", "a.item/b",
		"user+tag@example.com", "a=b,c~d", "xn--bcher-kva.example/_acme-challenge", ".locks/a", domain + "/" + domain,
		strings.Repeat("*", 100) + "/" + strings.Repeat(":", 300),
	}
}

func folderValue(key string) string { return "value of " + key + "\r\n\x00\xff" }

// copyGolden returns a Dir in a copy of the golden folder.
func copyGolden(t *testing.T) storage.Dir {
	t.Helper()
	d := t.TempDir()
	if err := os.CopyFS(d, os.DirFS(goldenFolder)); err != nil {
		t.Fatal(err)
	}
	return storage.Dir(d)
}

func TestDirGoldenRecords(t *testing.T) {
	d := copyGolden(t)
	want := make(map[string]string)
	for _, key := range folderKeys() {
		want[key] = folderValue(key)
	}
	want["empty"] = ""
	keys := slices.Collect(maps.Keys(want))
	keys = append(keys, "killed/writer", "leases/expired", "leases/held", "leases/released")
	slices.Sort(keys)
	if got := listed(t, d); !slices.Equal(got, keys) {
		t.Errorf("List: %.2000q\nwant %.2000q", got, keys)
	}
	for key, value := range want {
		item, err := d.Load(t.Context(), key)
		if err != nil || string(item.Value) != value || strings.HasPrefix(string(item.Revision), "content-") {
			t.Errorf("Load(%.40q): %.80q with revision %q (%v), want %.80q with the revision it was saved with", key, item.Value, item.Revision, err, value)
		}
		next, err := d.Save(t.Context(), key, []byte("new"), item.Revision)
		if err != nil {
			t.Errorf("Save(%.40q) by its revision: %v", key, err)
		}
		if _, err := d.Save(t.Context(), key, nil, item.Revision); !errors.Is(err, storage.ErrConflict) {
			t.Errorf("Save(%.40q) by its old revision: %v, want ErrConflict", key, err)
		}
		if err := d.Delete(t.Context(), key, next); err != nil {
			t.Errorf("Delete(%.40q): %v", key, err)
		}
	}
}

// What was stored before the write that was killed is whole, and its leftover goes with the next write.
func TestDirGoldenKilledWriter(t *testing.T) {
	d := copyGolden(t)
	leftovers := func() []string {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(string(d), ".temp", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	if n := len(leftovers()); n != 1 {
		t.Errorf("%d files were being written, want one", n)
	}
	item, err := d.Load(t.Context(), "killed/writer")
	line, _, _ := strings.Cut(string(item.Value), "\n")
	if err != nil || string(item.Value) != strings.Repeat(line+"\n", 700) || len(line) != 1 {
		t.Errorf("Load: %.40q (%v)", item.Value, err)
	}
	if _, err := d.Save(t.Context(), "killed/writer", []byte("next"), item.Revision); err != nil {
		t.Errorf("Save: %v", err)
	}
	if names := leftovers(); len(names) != 0 {
		t.Errorf("the next write has left %q", names)
	}
}

// Leases go on with their value and fence: a released one at once, others after the term that stands in them.
func TestDirGoldenLeases(t *testing.T) {
	for name, wait := range map[string]time.Duration{"released": 0, "expired": time.Second, "held": time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := copyGolden(t)
				start := time.Now()
				lease, err := storage.Acquire(t.Context(), d, "leases/"+name, time.Minute)
				if err != nil {
					t.Fatal(err)
				}
				wantElapsed(t, "taken over", start, wait)
				if lease.Fence() != 4 || string(lease.Value()) != fmt.Sprint("left by ", 3) {
					t.Errorf("fence %d, value %q, want 4 and what the third holder left", lease.Fence(), lease.Value())
				}
				if err := lease.Save(t.Context(), []byte("left by 4")); err != nil {
					t.Errorf("Save: %v", err)
				}
				mustRelease(t, lease)
			})
		})
	}
}
