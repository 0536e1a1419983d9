package certmanager_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// memoryKeys are Keys in memory. What they fail or hang at can be set.
type memoryKeys struct {
	mu    sync.Mutex
	keys  map[string]crypto.Signer
	calls map[string]int                 // by method
	fault func(method, ref string) error // is called first, without the lock
}

func newMemoryKeys() *memoryKeys {
	return &memoryKeys{keys: make(map[string]crypto.Signer), calls: make(map[string]int)}
}

func (k *memoryKeys) call(ctx context.Context, method, ref string) error {
	k.mu.Lock()
	k.calls[method]++
	fault := k.fault
	k.mu.Unlock()
	if fault != nil {
		if err := fault(method, ref); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (k *memoryKeys) Create(ctx context.Context, ref string, t certmanager.KeyType) (crypto.Signer, error) {
	if err := k.call(ctx, "Create", ref); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if key, ok := k.keys[ref]; ok {
		return key, nil
	}
	curve, ok := map[certmanager.KeyType]elliptic.Curve{certmanager.ECDSAP256: elliptic.P256(), certmanager.ECDSAP384: elliptic.P384()}[t]
	if !ok {
		return nil, errors.New("not supported")
	}
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		return nil, err
	}
	k.keys[ref] = key
	return key, nil
}

func (k *memoryKeys) Open(ctx context.Context, ref string) (crypto.Signer, error) {
	if err := k.call(ctx, "Open", ref); err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	key, ok := k.keys[ref]
	if !ok {
		return nil, fmt.Errorf("the key %s: %w", ref, fs.ErrNotExist)
	}
	return key, nil
}

func (k *memoryKeys) Delete(ctx context.Context, ref string) error {
	if err := k.call(ctx, "Delete", ref); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.keys, ref)
	return nil
}

func (k *memoryKeys) setFault(fault func(method, ref string) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fault = fault
}

func (k *memoryKeys) count(method string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.calls[method]
}

// references returns those of the keys that there are.
func (k *memoryKeys) references() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.keys))
}

var (
	anyReference     = regexp.MustCompile(`everseal-(certificate|account)-[a-z0-9]{26}`)
	currentReference = regexp.MustCompile(`"keyReference":"(everseal-[a-z0-9-]+)"`)
)

// checkNoLeak checks that each key is one that a record in the storage refers to, and that those of certificates and accounts
// are there. It returns how many keys there are.
func checkNoLeak(t *testing.T, s storage.Store, keys []string, context string) int {
	t.Helper()
	var known []string
	for _, prefix := range []string{"accounts", "certificates", "work"} {
		for key, err := range s.List(t.Context(), prefix) {
			if err != nil {
				t.Fatal(err)
			}
			item, err := s.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			text := string(item.Value)
			known = append(known, anyReference.FindAllString(text, -1)...)
			if match := currentReference.FindStringSubmatch(text); prefix != "work" && match != nil && !slices.Contains(keys, match[1]) {
				t.Errorf("%s: the key of %s is not there", context, key)
			}
		}
	}
	for _, key := range keys {
		if !slices.Contains(known, key) {
			t.Errorf("%s: the key %s is leaked", context, key)
		}
	}
	return len(keys)
}

func (w *world) withKeys(names ...string) (certmanager.Config, *memoryKeys) {
	keys := newMemoryKeys()
	config := w.config(names...)
	config.Keys = keys
	return config, keys
}

// TestKeysThroughAYear has the keys of two certificates and the account elsewhere: after a year under renewals, with restarts
// in between, there are those in use and those of certificates that are valid still, and no key was ever in the storage.
func TestKeysThroughAYear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys("example.com", "example.net")
		for range 12 {
			m, stop := w.start(config)
			time.Sleep(31 * 24 * time.Hour)
			for _, name := range config.Names {
				if _, err := w.handshake(t.Context(), name); err != nil {
					t.Error(err)
				}
				if s := statusOf(t, m, name); s.State != certmanager.StateValid {
					t.Errorf("%s is %s: %v", name, s.State, s.Failure)
				}
			}
			stop()
		}
		if n := checkNoLeak(t, w.store, keys.references(), "after a year"); n > 1+3*len(config.Names) || keys.count("Delete") < 2 {
			t.Errorf("%d keys are left, %d were deleted", n, keys.count("Delete"))
		}
		if certificates := len(w.ca.Certificates()); keys.count("Create") != certificates+1 {
			t.Errorf("%d keys were made for %d certificates and an account", keys.count("Create"), certificates)
		}
		for _, prefix := range []string{"accounts", "certificates", "work"} {
			for key := range w.store.List(t.Context(), prefix) {
				if item, err := w.store.Load(t.Context(), key); err != nil || strings.Contains(string(item.Value), "PRIVATE KEY") {
					t.Errorf("%s has a private key, %v", key, err)
				}
			}
		}
	})
}

// TestKeysAreOpenedLate starts with stored certificates: their keys are opened by handshakes, once each.
func TestKeysAreOpenedLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys(siteNames(20)...)
		_, stop := w.serving(config)
		stop()
		opened := keys.count("Open")
		m, stop := w.running(config)
		defer stop()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := keys.count("Open") - opened; n != 0 {
			t.Errorf("%d keys were opened at start", n)
		}
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if _, err := w.handshake(t.Context(), config.Names[0]); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := keys.count("Open") - opened; n != 1 {
			t.Errorf("the key was opened %d times", n)
		}
	})
}

// TestKeysFailAndHang has the key of one name hang, and then fail, when it is opened: its handshakes fail within a bound, those
// of another name go on, and once it can be opened it is.
func TestKeysFailAndHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config, keys := w.withKeys("example.com", "example.net")
		_, stop := w.serving(config)
		stop()
		before := keys.count("Open")
		_, stop = w.running(config)
		defer stop()
		stuck := make(chan struct{})
		first := sync.OnceValue(func() string { return refOf(t, w.store, "example.com") })()
		keys.setFault(func(_, ref string) error {
			if ref == first {
				<-stuck // whatever becomes of ctx
				return errors.New("the HSM is locked")
			}
			return nil
		})
		for range 3 {
			began := time.Now()
			if _, err := w.handshake(t.Context(), "example.com"); err == nil || time.Since(began) > 11*time.Second {
				t.Errorf("a handshake whose key hangs ended after %v with %v", time.Since(began), err)
			}
			began = time.Now()
			if _, err := w.handshake(t.Context(), "example.net"); err != nil || time.Since(began) > 0 {
				t.Errorf("another handshake ended after %v with %v", time.Since(began), err)
			}
		}
		if n := keys.count("Open") - before; n != 2 {
			t.Errorf("%d keys were opened, want one hanging and one well", n)
		}
		close(stuck)
		time.Sleep(2 * time.Second)
		if _, err := w.handshake(t.Context(), "example.com"); err == nil {
			t.Error("a handshake whose key can't be opened succeeds")
		}
		keys.setFault(nil)
		if _, err := w.handshake(t.Context(), "example.com"); err == nil {
			t.Error("the key was opened again at once")
		}
		time.Sleep(time.Second)
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
	})
}

// refOf returns the reference to the key of the stored certificate of the name.
func refOf(t *testing.T, s storage.Store, name string) string {
	t.Helper()
	for key := range s.List(t.Context(), "certificates") {
		if !strings.Contains(key, "/"+name+"/") {
			continue
		}
		item, err := s.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if match := currentReference.FindSubmatch(item.Value); match != nil {
			return string(match[1])
		}
	}
	t.Fatalf("there is no certificate of %s with a reference", name)
	return ""
}

// TestKeysThatCannotBeMade has Create fail, hang and panic: nothing is ordered, the reason
// is told, no issuer is blamed, and the certificate comes when keys can be made.
func TestKeysThatCannotBeMade(t *testing.T) {
	for name, test := range map[string]struct {
		fault func(method, ref string) error
		says  string
	}{
		"failing":   {func(string, string) error { return errors.New("the HSM is full") }, "the HSM is full"},
		"panicking": {func(string, string) error { panic("no HSM") }, "panic"},
		"hanging":   {func(string, string) error { time.Sleep(time.Minute); return nil }, "no answer within 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				local := newLocalCA(t, "local")
				config := w.fromLocalCA(local, "example.com")
				keys := newMemoryKeys()
				config.Keys = keys
				keys.setFault(test.fault)
				m, stop := w.start(config)
				defer stop()
				failed := w.await(certmanager.EventFailed, "example.com", 1)
				synctest.Wait()
				if text := failed.Err.Error(); !strings.Contains(text, test.says) || !strings.Contains(text, "Config.Keys fails: create the key everseal-certificate-") {
					t.Errorf("the error is %s", text)
				}
				if s := statusOf(t, m, "example.com"); s.Reason != certmanager.ReasonKeys {
					t.Errorf("the reason is %q", s.Reason)
				}
				keys.setFault(nil)
				w.await(certmanager.EventObtained, "example.com", 1)
				synctest.Wait()
				if n := checkNoLeak(t, w.store, keys.references(), name); n != 1 || local.count() != 1 {
					t.Errorf("%d keys for %d certificates", n, local.count())
				}
			})
		})
	}
}

// TestKeysOfAnotherType has Create return what was not asked for.
func TestKeysOfAnotherType(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		config := w.fromLocalCA(local, "example.com")
		other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []crypto.Signer{nil, other} {
			config.Keys = keysWith{newMemoryKeys(), func(context.Context, string, certmanager.KeyType) (crypto.Signer, error) { return key, nil }}
			_, stop := w.running(config)
			stop()
		}
		if failed := w.await(certmanager.EventFailed, "example.com", 1); !strings.Contains(failed.Err.Error(), "no key of the type ecdsa-p256") || local.count() != 0 {
			t.Errorf("%d certificates, and the error %v", local.count(), failed.Err)
		}
	})
}

// TestKeysOfLostOrders has orders fail for good: the key of each is deleted, also if that fails at first, and none that is in
// use.
func TestKeysOfLostOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.ca.SetFaults(w.ca.FailIssuance("badCSR", "no"))
		config, keys := w.withKeys("example.com")
		keys.setFault(func(method, _ string) error {
			if method == "Delete" {
				return errors.New("not now")
			}
			return nil
		})
		_, stop := w.start(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 2)
		synctest.Wait()
		if n := checkNoLeak(t, w.store, keys.references(), "while Delete fails"); n < 2 {
			t.Errorf("%d keys; want that of the account and those that can't be deleted", n)
		}
		if w.count(certmanager.EventWarning) == 0 {
			t.Error("nobody was told that keys can't be deleted")
		}
		keys.setFault(nil)
		w.ca.SetFaults()
		w.await(certmanager.EventObtained, "example.com", 1)
		synctest.Wait()
		if n := checkNoLeak(t, w.store, keys.references(), "when Delete works"); n != 2 {
			t.Errorf("%d keys are left, want those of the account and the certificate", n)
		}
	})
}

// TestKeysKilledBetweenWrites is TestKilledBetweenWrites with the keys elsewhere: none is leaked.
func TestKeysKilledBetweenWrites(t *testing.T) {
	for _, reaches := range []bool{false, true} {
		done := false
		for n := 0; !done; n++ {
			if n > 100 {
				t.Fatal("an issuance takes more than 100 writes")
			}
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				config, keys := w.withKeys("example.com")
				done = w.killAndRestart(config, n, reaches)
				if left := checkNoLeak(t, w.store, keys.references(), fmt.Sprintf("killed at write %d", n)); left > 3 {
					t.Errorf("killed at write %d: %d keys, want those of the account, the certificate and its predecessor", n, left)
				}
			})
		}
	}
}

// TestKeysKilledInCreate ends the process in Create, before and after the key is made.
func TestKeysKilledInCreate(t *testing.T) {
	for _, purpose := range []string{"account", "certificate"} {
		for _, made := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				config, keys := w.withKeys("example.com")
				dead := make(chan struct{})
				var once sync.Once
				faulty := &storagetest.Faulty{Store: w.store}
				config.Storage = faulty
				config.Keys = keysWith{keys, func(ctx context.Context, ref string, kind certmanager.KeyType) (crypto.Signer, error) {
					if strings.Contains(ref, purpose) {
						if made {
							if _, err := keys.Create(ctx, ref, kind); err != nil {
								return nil, err
							}
						}
						once.Do(func() {
							faulty.SetFaults(storagetest.Fault{Err: errKilled})
							close(dead)
						})
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return keys.Create(ctx, ref, kind)
				}}
				m, err := certmanager.New(config)
				if err != nil {
					t.Fatal(err)
				}
				w.runUntil(m, dead)()
				config.Storage, config.Keys = w.store, keys
				_, stop := w.serving(config)
				stop()
				if n := checkNoLeak(t, w.store, keys.references(), purpose); n != 2 {
					t.Errorf("%s: %d keys are left, want 2", purpose, n)
				}
			})
		}
	}
}

// keysWith are Keys that are made another way.
type keysWith struct {
	*memoryKeys
	create func(context.Context, string, certmanager.KeyType) (crypto.Signer, error)
}

func (k keysWith) Create(ctx context.Context, ref string, t certmanager.KeyType) (crypto.Signer, error) {
	return k.create(ctx, ref, t)
}

// TestKeysComeAndGo has a manager with Keys find a certificate made without, which it serves and renews, and one without Keys
// find one made with, which it reports and obtains anew.
func TestKeysComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		with, keys := w.withKeys("example.com")
		without := with
		without.Keys = nil
		_, stop := w.serving(without)
		stop()

		m, stop := w.running(with)
		if _, err := w.handshake(t.Context(), "example.com"); err != nil {
			t.Errorf("a certificate with its key in the storage: %v", err)
		}
		if n := len(keys.references()); n != 0 {
			t.Errorf("%d keys were made before a renewal", n)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		stop()
		refOf(t, w.store, "example.com")

		_, stop = w.serving(without)
		defer stop()
		corrupt := w.await(certmanager.EventCorrupt, "example.com", 1)
		if !strings.Contains(corrupt.Err.Error(), "set Config.Keys") {
			t.Errorf("the error does not say what to do: %v", corrupt.Err)
		}
		w.await(certmanager.EventObtained, "example.com", 3)
		if n := len(w.ca.Certificates()); n != 3 {
			t.Errorf("%d certificates, want a third one with a key in the storage", n)
		}
	})
}
