package certmanager_test

import (
	"crypto/tls"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/everseal/everseal/certmanager"
)

// What is exported is what is served, of all types of key, by any name of the certificate, and can be imported elsewhere.
func TestExport(t *testing.T) {
	for _, keyType := range []certmanager.KeyType{certmanager.ECDSAP256, certmanager.ECDSAP384, certmanager.RSA2048} {
		t.Run(string(keyType), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				config := w.config()
				config.Subjects, config.KeyTypes = []certmanager.Subject{{Names: []string{"example.test", "www.example.test"}}}, []certmanager.KeyType{keyType}
				m, stop := w.start(config)
				defer stop()
				w.await(certmanager.EventObtained, "example.test", 1)
				chain, key, err := m.Export(t.Context(), "WWW.example.test")
				if err != nil {
					t.Fatal(err)
				}
				pair, err := tls.X509KeyPair(chain, key)
				if err != nil {
					t.Fatal(err)
				}
				served, _ := m.Certificate("example.test")
				if len(pair.Certificate) != len(served.Certificate) || string(pair.Certificate[0]) != string(served.Certificate[0]) {
					t.Error("another certificate is exported than is served")
				}
				if err := newOther(t).Import(t.Context(), chain, key); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// newOther returns a manager with a storage of its own, which does not run.
func newOther(t *testing.T) *certmanager.Manager {
	t.Helper()
	m, err := certmanager.New(newWorld(t).config())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// One that was evicted from memory is read from the storage.
func TestExportEvicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("a.example.test", "b.example.test", "c.example.test")
		config.MaxLoaded = 1
		m, stop := w.start(config)
		defer stop()
		evicted := 0
		for _, name := range config.Names {
			w.await(certmanager.EventObtained, name, 1)
		}
		synctest.Wait()
		for _, name := range config.Names {
			if _, isLoaded := m.Certificate(name); !isLoaded {
				evicted++
			}
			chain, key, err := m.Export(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			if pair, err := tls.X509KeyPair(chain, key); err != nil || pair.Leaf.DNSNames[0] != name {
				t.Errorf("%s: %v, %v", name, pair.Leaf, err)
			}
		}
		if evicted == 0 {
			t.Error("none was evicted")
		}
	})
}

// What can't be exported is an error that says why, and shows nothing of a key.
func TestExportRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config("example.test")
		config.Keys = newMemoryKeys()
		m, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventObtained, "example.test", 1)
		for name, want := range map[string]string{
			"example.test": "its private key is kept by Config.Keys", "other.test": "no certificate for other.test is served", "": "empty", "a b": "not a domain name",
		} {
			chain, key, err := m.Export(t.Context(), name)
			if err == nil || chain != nil || key != nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%q: %v, want %q", name, err, want)
			}
			if isMissing := errors.Is(err, fs.ErrNotExist); isMissing != (name == "other.test") {
				t.Errorf("%q: %v is fs.ErrNotExist: %v", name, err, isMissing)
			}
		}
	})
}
