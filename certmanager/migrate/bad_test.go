package migrate_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
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

// TestCertificatesOfCAs has a server's certificate that is made as that of a CA, as openssl req -x509 makes it: the report says why
// it is left, and for which names it is.
func TestCertificatesOfCAs(t *testing.T) {
	folder := t.TempDir()
	key := ecdsaKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"example.com"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	p := pair{chain: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key: key}
	w := newWorld(t)
	w.pemSplit(folder, "a", p)
	for tool, names := range map[string]int{"lego 4": 1, "pem": 0} {
		report, err := sources()[tool].migrate(t.Context(), &migrate.Migration{Manager: newManager(t, w.config("example.com"))}, folder)
		if err != nil || len(report.Left) != 1 || !strings.Contains(report.Left[0].Reason, "that of a CA, not of a server") || len(report.Left[0].Names) != names {
			t.Errorf("%s: %v, %v", tool, report, err)
		}
	}
}

// TestTwoInOneFile has the certificate of another server before that of the key: the report is of what is taken.
func TestTwoInOneFile(t *testing.T) {
	folder := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := w.obtainAll("example.net", "example.com")
		w.pemSplit(folder, "a", pair{chain: slices.Concat(all[0].leafPEM(), all[1].chain), key: all[1].key})
		g := &migrate.Migration{Manager: newManager(t, w.config("example.com", "example.net")), Directory: w.ca.URL}
		report, err := g.Lego(t.Context(), folder)
		if err != nil || len(report.Taken) != 1 || report.Taken[0].Names[0] != "example.com" {
			t.Fatalf("%v, %v", report, err)
		}
		served(t, g.Manager, "example.com")
	})
}
