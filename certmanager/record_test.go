package certmanager_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// stores are the storages that what is stored is tested with.
var stores = map[string]func(t *testing.T) storage.Store{
	"Memory": func(*testing.T) storage.Store { return new(storage.Memory) },
	"Dir":    func(t *testing.T) storage.Store { return storage.Dir(filepath.Join(t.TempDir(), "state")) },
}

// obtainOnce has a manager obtain certificates, one for each name, and stops it.
func (w *world) obtainOnce(names ...string) {
	w.t.Helper()
	_, stop := w.start(w.config(names...))
	defer stop()
	for _, name := range names {
		w.await(certmanager.EventObtained, name, 1)
	}
}

// certificateRecord returns the key and the record of the certificate for the name.
func (w *world) certificateRecord(name string) (string, storage.Item) {
	w.t.Helper()
	id := (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID()
	return w.record("certificates/" + id + "/" + name)
}

// otherKey returns the record with another private key.
func otherKey(t *testing.T, record []byte) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	header, rest, _ := bytes.Cut(record, []byte("\n"))
	_, rest = pem.Decode(rest)
	header = append(header, '\n')
	header = append(header, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...)
	return append(header, rest...)
}

// TestCorruptRecord damages a stored certificate in many ways. Each time the damage must be reported, a
// copy kept, and the name served with a new certificate.
func TestCorruptRecord(t *testing.T) {
	damages := map[string]func(t *testing.T, own, other []byte) []byte{
		"empty":                  func(*testing.T, []byte, []byte) []byte { return nil },
		"garbage":                func(*testing.T, []byte, []byte) []byte { return []byte("\x00\xff\x1b[31mnot a record\n") },
		"first line only":        func(_ *testing.T, own, _ []byte) []byte { return own[:bytes.IndexByte(own, '\n')+1] },
		"first line lost":        func(_ *testing.T, own, _ []byte) []byte { return own[bytes.IndexByte(own, '\n')+1:] },
		"cut in the key":         func(_ *testing.T, own, _ []byte) []byte { return own[:bytes.Index(own, []byte("-----END"))-20] },
		"cut in the certificate": func(_ *testing.T, own, _ []byte) []byte { return own[:bytes.Index(own, []byte("-----BEGIN CERT"))+200] },
		"metadata damaged": func(_ *testing.T, own, _ []byte) []byte {
			return bytes.Replace(own, []byte(`{"issuer"`), []byte(`{issuer`), 1)
		},
		"key of another":  func(t *testing.T, own, _ []byte) []byte { return otherKey(t, own) },
		"for other names": func(_ *testing.T, _, other []byte) []byte { return other },
		"of a later version": func(_ *testing.T, own, _ []byte) []byte {
			return bytes.Replace(own, []byte("certificate 1 "), []byte("certificate 2 "), 1)
		},
	}
	for kind, open := range stores {
		for damage, change := range damages {
			t.Run(kind+"/"+damage, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.store = open(t)
					w.obtainOnce("example.com", "example.net")
					key, item := w.certificateRecord("example.com")
					_, other := w.certificateRecord("example.net")
					damaged := change(t, item.Value, other.Value)
					if _, err := w.store.Save(t.Context(), key, damaged, item.Revision); err != nil {
						t.Fatal(err)
					}
					m, stop := w.start(w.config("example.com", "example.net"))
					defer stop()
					w.await(certmanager.EventObtained, "example.com", 2)
					synctest.Wait()
					checkSetAside(t, w, key, damaged)
					if leaf, err := w.handshake(t.Context(), "example.com"); err != nil || leaf.VerifyHostname("example.com") != nil {
						t.Errorf("handshake: %v", err)
					}
					if status := statusOf(t, m, "example.com"); status.State != certmanager.StateValid || status.Failure != nil {
						t.Errorf("status: %+v", status)
					}
					if n := w.newOrders(); n != 3 {
						t.Errorf("%d orders, want 3", n)
					}
				})
			})
		}
	}
}

// checkSetAside checks that one corrupt record was reported, and that its bytes are where the report says.
func checkSetAside(t *testing.T, w *world, key string, damaged []byte) {
	t.Helper()
	if n := w.count(certmanager.EventCorrupt); n != 1 {
		t.Errorf("%d records were reported corrupt, want 1", n)
	}
	aside, item := w.record("corrupt")
	event := w.await(certmanager.EventCorrupt, "example.com", 1)
	if text := event.Err.Error(); !strings.Contains(text, key) || !strings.Contains(text, aside) || strings.ContainsAny(text, "\x00\x1b\n") || strings.Contains(text, "PRIVATE") {
		t.Errorf("the report does not name the record and its copy, or shows what it should not: %q", text)
	}
	if !bytes.Equal(item.Value, damaged) {
		t.Errorf("%s holds %d bytes, not the %d damaged ones", aside, len(item.Value), len(damaged))
	}
	if !strings.HasSuffix(aside, key) {
		t.Errorf("the copy is at %s, want a key that ends in %s", aside, key)
	}
}

// TestExpiredRecord starts with a certificate that expired while nothing ran: it is no corrupt one.
func TestExpiredRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.obtainOnce("example.com")
		time.Sleep(100 * 24 * time.Hour)
		_, stop := w.start(w.config("example.com"))
		defer stop()
		if obtained := w.await(certmanager.EventObtained, "example.com", 2); !obtained.Renewal {
			t.Error("the event does not say that there was a certificate")
		}
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		if n := w.count(certmanager.EventCorrupt); n != 0 {
			t.Errorf("%d records were reported corrupt", n)
		}
	})
}

// TestRecordCannotBeStored is defects 2 and 3 of a peer, which loses a certificate whose writing fails, and
// with it the one before. Here the old record stays, the new certificate is served from memory, and is
// stored once that succeeds, with no second order.
func TestRecordCannotBeStored(t *testing.T) {
	for _, test := range []struct {
		name    string
		outage  time.Duration // for which saves fail, from the renewal on
		reaches bool
	}{
		{"for a second", time.Second, false},
		{"for an hour", time.Hour, false},
		{"for three days", 72 * time.Hour, false},
		{"but were stored, for a second", time.Second, true},
		{"but were stored, for an hour", time.Hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				faulty := &storagetest.Faulty{Store: w.store}
				config := w.config("example.com")
				config.Storage = faulty
				m, stop := w.start(config)
				defer stop()
				w.await(certmanager.EventObtained, "example.com", 1)
				synctest.Wait()
				_, before := w.certificateRecord("example.com")
				first, err := w.handshake(t.Context(), "example.com")
				if err != nil {
					t.Fatal(err)
				}
				faulty.SetFaults(savesFail("certificates", 0, test.reaches))
				for len(w.ca.Certificates()) < 2 {
					time.Sleep(time.Minute / 2)
				}
				time.Sleep(test.outage)
				synctest.Wait()
				served, err := w.handshake(t.Context(), "example.com")
				if err != nil || served.Equal(first) {
					t.Errorf("the new certificate is not served from memory: %v", err)
				}
				if _, item := w.certificateRecord("example.com"); !test.reaches && !bytes.Equal(item.Value, before.Value) {
					t.Error("the record before was changed")
				}
				faulty.SetFaults()
				w.await(certmanager.EventObtained, "example.com", 2)
				synctest.Wait()
				if _, item := w.certificateRecord("example.com"); !bytes.Contains(item.Value, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: served.Raw})) {
					t.Error("the new certificate was not stored")
				}
				if n := w.newOrders(); n != 2 {
					t.Errorf("%d orders, want 2", n)
				}
				if status := statusOf(t, m, "example.com"); status.Failure != nil || status.Action != certmanager.ActionRenew {
					t.Errorf("status: %+v", status)
				}
			})
		})
	}
}

// TestFirstRecordCannotBeStored has the process end before its first certificate could be stored: the
// next one fetches it by the same order.
func TestFirstRecordCannotBeStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		faulty := failingSaves(w.store, "certificates", 0, false)
		config := w.config("example.com")
		config.Storage = faulty
		_, stop := w.start(config)
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		if !errors.Is(failed.Err, errDisk) {
			t.Errorf("the error is %v", failed.Err)
		}
		first, err := w.handshake(t.Context(), "example.com")
		if err != nil {
			t.Fatal(err)
		}
		stop()
		if faulty.Hits() < 2 {
			t.Error("it was not tried twice to store the certificate")
		}
		_, stop = w.start(w.config("example.com"))
		defer stop()
		w.await(certmanager.EventObtained, "example.com", 1)
		if second, err := w.handshake(t.Context(), "example.com"); err != nil || !second.Equal(first) {
			t.Errorf("another certificate is served after the restart (%v)", err)
		}
		if n := w.newOrders(); n != 1 {
			t.Errorf("%d orders, want 1", n)
		}
	})
}

// TestAnythingCannotBeStored fails a few saves of each kind: the certificate must come all the same, by
// one order.
func TestAnythingCannotBeStored(t *testing.T) {
	for _, prefix := range []string{"accounts", "work", "challenges", "certificates"} {
		for _, reaches := range []bool{false, true} {
			for faults := 1; faults <= 5; faults++ {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					faulty := failingSaves(w.store, prefix, faults, reaches)
					config := w.config("example.com")
					config.Storage = faulty
					_, stop := w.start(config)
					defer stop()
					w.await(certmanager.EventObtained, "example.com", 1)
					if n := len(w.ca.Certificates()); n != 1 {
						t.Errorf("%d failing saves of %s (reaching: %t): %d certificates, want 1", faults, prefix, reaches, n)
					}
					if faulty.Hits() == 0 {
						t.Errorf("no save of %s failed", prefix)
					}
				})
			}
		}
	}
}

// TestSavesAreDoneTwice has the storage's driver repeat a third of all writes, so that these find themselves in their own way.
func TestSavesAreDoneTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		faulty := &storagetest.Faulty{Store: w.store, Seed: 1}
		config := w.config("example.com")
		config.Storage = faulty
		m, stop := w.serving(config)
		defer stop()
		faulty.SetFaults(storagetest.Fault{Kind: storagetest.Twice, Share: 0.3})
		if err := m.Manage(certmanager.Subject{Names: []string{"example.net"}}); err != nil {
			t.Fatal(err)
		}
		w.await(certmanager.EventObtained, "example.net", 1)
		w.await(certmanager.EventObtained, "example.net", 2)
		if n := w.newOrders(); n != len(w.ca.Certificates()) || n > 4 || faulty.Hits() == 0 {
			t.Errorf("%d orders for %d certificates, %d writes done twice", n, len(w.ca.Certificates()), faulty.Hits())
		}
	})
}

// TestRecordIsReadable reads a stored certificate as other programs do.
func TestRecordIsReadable(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "state")
	w.store = storage.Dir(dir)
	w.obtainOnce("example.com")
	var file string
	err := filepath.WalkDir(filepath.Join(dir, "certificates"), func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			file = path
		}
		return err
	})
	if err != nil || file == "" {
		t.Fatalf("no record below %s: %v", dir, err)
	}
	if _, err := tls.LoadX509KeyPair(file, file); err != nil {
		t.Errorf("crypto/tls can't read the record: %v", err)
	}
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		return // crypto/tls has read it; openssl is one more opinion where it is there
	}
	out, err := exec.Command(openssl, "x509", "-in", file, "-noout", "-ext", "subjectAltName").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "DNS:example.com") {
		t.Errorf("openssl says %s, %v", out, err)
	}
}
