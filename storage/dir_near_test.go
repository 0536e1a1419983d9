package storage_test

import (
	"os"
	"path/filepath"
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
			key := "certificates/issuer/" + name + "/p256"
			item, err := d.Load(t.Context(), key)
			if err == nil {
				err = d.Delete(t.Context(), key, item.Revision)
			}
			if err != nil {
				t.Fatal(err)
			}
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
