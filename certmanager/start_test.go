package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// manyNames returns n names, each of a registered domain of its own.
func manyNames(format string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(format, i)
	}
	return all
}

// stock stores a certificate of the CA for each name. They share a key: making one for each would take longer than
// what is tested.
func (ca *localCA) stock(t testing.TB, s storage.Store, names ...string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		issued, err := ca.sign([]acme.Identifier{{Type: acme.TypeDNS, Value: name}}, key.Public(), ca.lifetime)
		if err != nil {
			t.Fatal(err)
		}
		meta := record.Meta{Issuer: ca.id, Names: []string{name}, KeyType: string(certmanager.ECDSAP256), Obtained: time.Now().UTC()}
		r, err := record.New(meta, record.Key{Signer: key}, issued, nil)
		if err != nil {
			t.Fatal(err)
		}
		value, err := r.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Save(t.Context(), record.CertificateKey(ca.id, name, meta.KeyType), value, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// runQuietly runs a manager, without a listener, until stop is called.
func runQuietly(t *testing.T, config certmanager.Config) (m *certmanager.Manager, stop func()) {
	t.Helper()
	m, wait := begin(t, config)
	return m, sync.OnceFunc(func() {
		if err := wait(); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// begin runs a manager, without a listener, until wait is called, which returns what Run did.
func begin(t *testing.T, config certmanager.Config) (m *certmanager.Manager, wait func() error) {
	t.Helper()
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	m, err := certmanager.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	return m, func() error { cancel(); return <-ended }
}

// valid returns how many certificates are served.
func valid(m *certmanager.Manager) int { return m.Stats().States[certmanager.StateValid] }

// awaitValid returns how long it takes until so many certificates are served: to the tenth of a second, and to the second after
// the first minute.
func awaitValid(t *testing.T, m *certmanager.Manager, n int) time.Duration {
	t.Helper()
	begun := time.Now()
	for {
		synctest.Wait()
		took := time.Since(begun)
		if valid(m) >= n {
			return took
		}
		if took > 20*time.Minute {
			t.Fatalf("%d certificates are served after %v, want %d", valid(m), took, n)
		}
		if took < time.Minute {
			time.Sleep(100 * time.Millisecond)
		} else {
			time.Sleep(time.Second)
		}
	}
}

// stocked returns a store that can be made to fail, with certificates of the CA for the names, and a
// configuration for them.
func stocked(t *testing.T, names ...string) (*storagetest.Faulty, certmanager.Config) {
	t.Helper()
	ca, store := newLocalCA(t, "local"), new(storagetest.Faulty)
	ca.stock(t, store, names...)
	return store, certmanager.Config{Names: names, Issuers: []certmanager.Issuer{ca}, Storage: store}
}

// Of a storage that takes two seconds for each call, the first certificate is served after one, and all soon after.
func TestStartWithASlowStorage(t *testing.T) {
	for _, test := range []struct {
		n    int
		last time.Duration
	}{{300, 5 * time.Second}, {1200, 15 * time.Second}} {
		synctest.Test(t, func(t *testing.T) {
			store, config := stocked(t, manyNames("site%d.example", test.n)...)
			store.SetFaults(storagetest.Fault{Kind: storagetest.Slow, Delay: 2 * time.Second, On: storagetest.Load | storagetest.Writes | storagetest.List})
			config.Storage = struct{ storage.Store }{store} // no Scanner
			m, stop := runQuietly(t, config)
			defer stop()
			if took := awaitValid(t, m, 1); took > 3*time.Second {
				t.Errorf("of %d the first is served after %v", test.n, took)
			}
			if took := awaitValid(t, m, test.n); took > test.last {
				t.Errorf("all of %d are served %v after the first", test.n, took)
			}
		})
	}
}

// Records that can't be read wait alone: all others are served at once, and they themselves as soon as they can be read.
func TestStartWithUnreadableRecords(t *testing.T) {
	for _, test := range []struct {
		name string
		kind storagetest.Kind
		bad  int
	}{
		{"one hangs", storagetest.Hang, 1},
		{"64 hang", storagetest.Hang, 64},
		{"one fails", storagetest.Fail, 1},
		{"64 fail", storagetest.Fail, 64},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := manyNames("site%d.example", 100)
				store, config := stocked(t, names...)
				var faults []storagetest.Fault
				for _, name := range names[:test.bad] {
					faults = append(faults, storagetest.Fault{Kind: test.kind, On: storagetest.Load, Prefix: "certificates/local/" + name})
				}
				store.SetFaults(faults...)
				m, stop := runQuietly(t, config)
				defer stop()
				if took := awaitValid(t, m, len(names)-test.bad); took > 0 {
					t.Errorf("those that can be read are served after %v", took)
				}
				time.Sleep(10 * time.Minute)
				if n := valid(m); n != len(names)-test.bad {
					t.Errorf("%d certificates are served, want %d", n, len(names)-test.bad)
				}
				store.SetFaults()
				if took := awaitValid(t, m, len(names)); took > 15*time.Minute {
					t.Errorf("the others are served %v after they can be read", took)
				}
			})
		})
	}
}

// A breakingScan is a store whose Scan yields so many records and then hangs, or fails. The first it can't read.
type breakingScan struct {
	storage.Store
	after int
	err   error // nil: hang
}

func (b breakingScan) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		n := 0
		for r, err := range storage.Scan(ctx, b.Store, prefix, cursor) {
			if n == b.after {
				break
			}
			if n++; n == 1 {
				r, err = storage.Record{Key: r.Key, Cursor: r.Cursor}, errDisk
			}
			if !yield(r, err) {
				return
			}
		}
		switch b.err {
		case io.EOF:
		case nil:
			<-ctx.Done()
			yield(storage.Record{}, ctx.Err())
		default:
			yield(storage.Record{}, b.err)
		}
	}
}

// TestStartWithABrokenScan has a storage that reads many records at once, until it hangs or fails.
func TestStartWithABrokenScan(t *testing.T) {
	const n = 1500
	names, ca, filled := manyNames("site%d.example", n), (*localCA)(nil), new(storage.Memory)
	synctest.Test(t, func(t *testing.T) { // one stock for all, of which nothing is changed
		ca = newLocalCA(t, "local")
		ca.stock(t, filled, names...)
	})
	for _, test := range []struct {
		name   string
		after  int
		err    error
		within time.Duration
	}{
		{"hangs", 0, nil, 6 * time.Second},
		{"hangs halfway", n / 2, nil, 6 * time.Second},
		{"fails", 0, errDisk, 0},
		{"fails halfway", n / 2, errDisk, 0},
		{"fails at the end", n, errDisk, 0},
		{"comes to its end", n, io.EOF, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &storagetest.Faulty{Store: filled}
				store.SetFaults(storagetest.Fault{On: storagetest.Writes}) // so that nothing is obtained, and found so
				m, stop := runQuietly(t, certmanager.Config{Names: names, Issuers: []certmanager.Issuer{ca}, Storage: breakingScan{store, test.after, test.err}})
				defer stop()
				synctest.Wait()
				if n := valid(m); n < test.after-1 {
					t.Errorf("%d certificates are served, though the scan came to %d", n, test.after)
				}
				// A handshake has its own certificate loaded beside the scan.
				begun := time.Now()
				for _, name := range []string{names[0], names[n-1]} {
					if c, err := ask(t, m, name); c == nil || err != nil || time.Since(begun) > 0 {
						t.Errorf("%s is answered after %v: %v", name, time.Since(begun), err)
					}
				}
				if took := awaitValid(t, m, n); took > test.within {
					t.Errorf("all are served after %v", took)
				}
				if loads := store.Calls(storagetest.Load); loads > n-test.after+200 {
					t.Errorf("%d records were read one by one, though the scan came to %d of %d", loads, test.after, n)
				}
			})
		})
	}
}

// A lonelyStore has records that it can read and 100,000 that it never reads.
type lonelyStore struct {
	storage.Memory
	readable map[string]bool
}

func (s *lonelyStore) Load(ctx context.Context, key string) (storage.Item, error) {
	if storage.Within(key, "certificates") && !s.readable[key] {
		<-ctx.Done()
		return storage.Item{}, ctx.Err()
	}
	return s.Memory.Load(ctx, key)
}

// The first handshakes do not wait for the 100,000 others, none of which can be read.
func TestHandshakesDuringAStartThatHangs(t *testing.T) {
	const cold = 200
	synctest.Test(t, func(t *testing.T) {
		names := manyNames("site%d.example", 100_000)
		ca, store := newLocalCA(t, "local"), &lonelyStore{readable: make(map[string]bool)}
		asked := names[len(names)-cold:]
		ca.stock(t, store, asked...)
		for _, name := range asked {
			store.readable[record.CertificateKey("local", name, string(certmanager.ECDSAP256))] = true
		}
		m, stop := runQuietly(t, certmanager.Config{Names: names, Issuers: []certmanager.Issuer{ca}, Storage: struct{ storage.Store }{store}})
		defer stop()
		time.Sleep(time.Second)
		begun := time.Now()
		var group sync.WaitGroup
		withHello(t, nil, func(hello *tls.ClientHelloInfo) {
			for _, name := range asked {
				group.Go(func() {
					if c, err := m.GetCertificate(named(hello, name)); c == nil || err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			group.Wait()
		})
		if took := time.Since(begun); took > 0 {
			t.Errorf("%d handshakes took %v", cold, took)
		}
	})
}

// 100,000 names are added, none of whose records can be read, and half of them forgotten: no handshake for what is served waits.
func TestHandshakesBesideManageThatHangs(t *testing.T) {
	n := 100_000
	if raceDetector {
		n /= 20
	}
	synctest.Test(t, func(t *testing.T) {
		served, names := manyNames("served%d.example", 5), manyNames("site%d.example", n)
		store, config := stocked(t, served...)
		config.Storage = struct{ storage.Store }{store}
		m, stop := runQuietly(t, config)
		defer stop()
		awaitValid(t, m, len(served))
		store.SetFaults(storagetest.Fault{Kind: storagetest.Hang})
		for _, write := range []func() error{
			func() error { return m.Manage(subjectsOf(names)...) },
			func() error { return m.Forget(names[n/2:]...) },
		} {
			began, written := time.Now(), make(chan error)
			go func() { written <- write() }()
			for _, name := range served {
				if c, err := ask(t, m, name); c == nil || err != nil || time.Since(began) > 0 {
					t.Errorf("%s is answered after %v: %v", name, time.Since(began), err)
				}
			}
			if err := <-written; err != nil || time.Since(began) > 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
	})
}
