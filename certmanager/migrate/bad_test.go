package migrate_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/migrate"
	"github.com/everseal/everseal/storage"
)

// stored returns what the storage has.
func stored(t *testing.T, s storage.Store) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for key, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		item, err := s.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		all[key] = string(item.Value)
	}
	return all
}

// damage changes each file of a folder in which there is something to find, one after the other, and calls the function.
func damage(t *testing.T, folder string, change func([]byte) []byte, test func(name string)) {
	t.Helper()
	before := tree(t, folder)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := os.WriteFile(name, change([]byte(before[name])), 0o600); err != nil {
			t.Fatal(err)
		}
		test(name)
		if err := os.WriteFile(name, []byte(before[name]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedFiles damages each file of each source, in several ways. What is taken in spite of it is whole, what is left is named,
// and the report says nothing of private keys.
func TestDamagedFiles(t *testing.T) {
	changes := map[string]func([]byte) []byte{
		"empty":   func([]byte) []byte { return nil },
		"cut off": func(data []byte) []byte { return data[:len(data)/2] },
		"foreign": func([]byte) []byte { return []byte("\x00\x01SECRETTEXT{[\xff'\"=\n") },
	}
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		for what, change := range changes {
			damage(t, folder, change, func(name string) {
				w.store = new(storage.Memory)
				g := s.migration(t, w, all)
				report, err := s.migrate(t.Context(), g, folder)
				if err != nil {
					t.Errorf("%s %s: %v", name, what, err)
				}
				text := report.String()
				if strings.Contains(text, "SECRETTEXT") || strings.Contains(text, "BEGIN") {
					t.Errorf("%s %s: the report shows\n%s", name, what, text)
				}
				certificates := 0
				for _, item := range report.Taken {
					if item.Kind == migrate.KindCertificate {
						certificates++
					}
				}
				for _, p := range all {
					if c, ok := g.Manager.Certificate(p.names[0]); ok {
						certificates--
						if !bytes.Equal(c.Certificate[0], p.leaf(t).Raw) {
							t.Errorf("%s %s: %s is served with another certificate", name, what, p.names[0])
						}
						if len(c.Certificate) != 2 && !s.noAccount { // of PEM files, what is above is in another one
							t.Errorf("%s %s: %s is served with %d certificates", name, what, p.names[0], len(c.Certificate))
						}
					}
				}
				if certificates != 0 {
					t.Errorf("%s %s: served and reported differ by %d:\n%s", name, what, certificates, text)
				}
			})
		}
	})
}

// TestKeysThatDoNotMatch has another key where the key of each certificate was.
func TestKeysThatDoNotMatch(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		other := t.TempDir()
		swapped := slices.Clone(all)
		for i := range swapped {
			swapped[i].key = all[(i+1)%len(all)].key
		}
		s.write(w, other, swapped[:1])
		g := s.migration(t, w, all)
		report, err := s.migrate(t.Context(), g, other)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(report.Left, func(item migrate.Item) bool { return slices.Contains(item.Names, "example.com") })
		if i < 0 || !strings.Contains(report.Left[i].Reason, "key") {
			t.Errorf("it is not said that the key is another one:\n%v", report)
		}
		for key := range stored(t, w.store) {
			if strings.HasPrefix(key, "certificates/") {
				t.Errorf("%s is stored", key)
			}
		}
	})
}

// TestExpired migrates when all is over.
func TestExpired(t *testing.T) {
	forEachSource(t, func(t *testing.T, s source, w *world, all []pair, folder string) {
		time.Sleep(91 * 24 * time.Hour)
		report, err := s.migrate(t.Context(), s.migration(t, w, all), folder)
		if err != nil {
			t.Fatal(err)
		}
		expired := 0
		for _, item := range report.Left {
			if strings.Contains(item.Reason, "expired at") && len(item.Names) > 0 {
				expired++
			}
		}
		if expired != len(all) {
			t.Errorf("%d expired:\n%v", expired, report)
		}
	})
}

// TestNothingThere migrates empty folders, and what does not exist.
func TestNothingThere(t *testing.T) {
	for name, s := range sources() {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			folder := t.TempDir()
			g := &migrate.Migration{Manager: newManager(t, w.config("example.com"))}
			report, err := s.migrate(t.Context(), g, folder)
			inFile := name == "traefik" || name == "secrets"
			if !inFile && (err != nil || len(report.Taken)+len(report.Left) > 0) {
				t.Errorf("an empty folder: %v, %v", report, err)
			}
			if _, err := s.migrate(t.Context(), g, filepath.Join(folder, "missing")); err == nil {
				t.Error("no error for what is missing")
			}
			if report, err := s.migrate(t.Context(), new(migrate.Migration), folder); err == nil || !inFile && report == nil {
				t.Error("no error, or no report, without a manager")
			}
		})
	}
}
