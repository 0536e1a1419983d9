package certmanager_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// Bounds of a read of the storage for handshakes.
const (
	expiredPatience = 2 * time.Second
	recallTimeout   = 10 * time.Second
	recallInterval  = 5 * time.Second
)

// expired returns a manager whose certificate for example.com has expired and is not renewed, and the storage that it
// uses. Its CA refuses; another's with its ID, which it returns, does not.
func (w *world) expired(demand bool) (m *certmanager.Manager, s *storagetest.Faulty, working *localCA, stop func()) {
	w.t.Helper()
	broken := newLocalCA(w.t, "local")
	s = &storagetest.Faulty{Store: w.store}
	config := w.onDemandFrom(broken)
	config.Storage = s
	if !demand {
		config.Names = []string{"example.com"}
	}
	m, stop = w.running(config)
	if _, err := ask(w.t, m, "example.com"); err != nil {
		w.t.Fatal(err)
	}
	broken.change((*localCA).refusing)
	time.Sleep(91 * 24 * time.Hour)
	synctest.Wait()
	if status := statusOf(w.t, m, "example.com"); status.State != certmanager.StateExpired {
		w.t.Fatalf("it is %+v", status)
	}
	s.SetFaults()
	return m, s, newLocalCA(w.t, "local"), stop
}

// TestExpiredIsLookedFor has another member renew what this one can't: who asks for the expired certificate gets that,
// at once, though the next attempt is far. Before that storage is read once in a while for all handshakes.
func TestExpiredIsLookedFor(t *testing.T) {
	for _, demand := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			m, s, working, stop := w.expired(demand)
			defer stop()
			reads := s.Calls(storagetest.Load)
			var clients sync.WaitGroup
			for range 100 {
				clients.Go(func() {
					if c, err := ask(t, m, "example.com"); err != nil || leafOf(t, c).NotAfter.After(time.Now()) {
						t.Errorf("%v, want the expired one", err)
					}
				})
			}
			clients.Wait()
			if n := s.Calls(storagetest.Load) - reads; n != 1 {
				t.Errorf("%d reads for 100 handshakes, want 1", n)
			}
			other, stopOther := w.running(w.issuedBy([]certmanager.Issuer{working}, "example.com"))
			if err := other.Renew(t.Context(), "example.com"); err != nil {
				t.Fatal(err)
			}
			stopOther()
			time.Sleep(recallInterval)
			if c, err := ask(t, m, "example.com"); err != nil || !leafOf(t, c).NotAfter.After(time.Now()) {
				t.Errorf("%v, want the one that another member has renewed", err)
			}
			reads = s.Calls(storagetest.Load)
			for range 10 {
				if _, err := ask(t, m, "example.com"); err != nil {
					t.Error(err)
				}
			}
			if n := s.Calls(storagetest.Load) - reads; n != 0 {
				t.Errorf("%d reads for a certificate that is valid", n)
			}
		})
	}
}

// TestExpiredIsServedIfTheStorageFails has the storage fail and hang, also such that it does not obey its context.
func TestExpiredIsServedIfTheStorageFails(t *testing.T) {
	for _, test := range []struct {
		kind storagetest.Kind
		wait time.Duration
	}{{storagetest.Fail, 0}, {storagetest.Hang, expiredPatience}, {storagetest.Stuck, expiredPatience}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			m, s, _, stop := w.expired(false)
			defer stop()
			defer s.Release()
			s.SetFaults(storagetest.Fault{Kind: test.kind, On: storagetest.Load, Prefix: "certificates"})
			for i := range 4 {
				began := time.Now()
				if c, err := ask(t, m, "example.com"); c == nil || err != nil {
					t.Errorf("the expired certificate is not served: %v", err)
				}
				if took := time.Since(began); i == 0 && took != test.wait || i > 0 && took > 0 {
					t.Errorf("handshake %d waited for %v, want %v for the first one", i, took, test.wait)
				}
			}
		})
	}
}

// TestEvictedIsReadAgain has more certificates than are to be in memory: each is served, and renewed, all the same.
func TestEvictedIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		names, most := someNames(60), 10
		config := w.issuedBy([]certmanager.Issuer{local}, names...)
		config.MaxLoaded = most
		m, stop := w.serving(config)
		check := func() {
			t.Helper()
			for _, name := range names {
				c, err := ask(t, m, name)
				if err != nil {
					t.Error(err)
				} else if leaf := leafOf(t, c); leaf.DNSNames[0] != name || !leaf.NotAfter.After(time.Now()) {
					t.Errorf("%s is served the certificate of %v until %v", name, leaf.DNSNames, leaf.NotAfter)
				}
			}
			if stats := m.Stats(); stats.Loaded > most || stats.Loaded < most/2 || stats.States[certmanager.StateValid] != len(names) || stats.Overdue != 0 {
				t.Errorf("%+v", stats)
			}
		}
		check()
		before := slices.Collect(m.All())
		stop()
		m, stop = w.running(config)
		defer stop()
		check()
		for i, status := range before {
			if again := statusOf(t, m, status.Names[0]); again.Serial != status.Serial || again.Serial == "" || again.Issuer != "local" || !again.NotAfter.Equal(status.NotAfter) || again.Next.Sub(status.Next).Abs() > 10*time.Minute { // of a member of its own
				t.Fatalf("%d: %+v after a restart, before it %+v", i, again, status)
			}
		}
		for range 4 {
			time.Sleep(50 * 24 * time.Hour) // without traffic
			if stats := m.Stats(); stats.Overdue != 0 || stats.States[certmanager.StateExpired] != 0 || stats.Loaded > most {
				t.Errorf("%+v", stats)
			}
		}
		check()
		if err := m.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		issued := local.count()
		evicted := statusOf(t, m, names[0])
		if err := m.Renew(t.Context(), names[0]); err != nil || local.count() != issued+1 || statusOf(t, m, names[0]).Serial == evicted.Serial {
			t.Errorf("Renew: %v, %d issued", err, local.count()-issued)
		}
	})
}

func someNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = "site-" + string(rune('a'+i/26)) + string(rune('a'+i%26)) + ".example.com"
	}
	return names
}

// TestEvictedWhileTheStorageFails shows that what is in the storage alone can't be served then, that the error says so, and
// that nothing leaves memory meanwhile, though much comes in.
func TestEvictedWhileTheStorageFails(t *testing.T) {
	for _, test := range []struct {
		kind storagetest.Kind
		wait time.Duration
	}{{storagetest.Fail, 0}, {storagetest.Hang, recallTimeout}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			names, s := someNames(20), &storagetest.Faulty{Store: w.store}
			config := w.issuedBy([]certmanager.Issuer{newLocalCA(t, "local")}, names...)
			config.MaxLoaded, config.Storage = 5, s
			m, stop := w.serving(config)
			defer stop()
			loaded := func() (names []string) {
				for _, name := range someNames(20) {
					if _, ok := m.Certificate(name); ok {
						names = append(names, name)
					}
				}
				return names
			}
			before := loaded()
			s.SetFaults(storagetest.Fault{Kind: test.kind, Err: errDisk})
			for _, name := range names {
				began := time.Now()
				_, err := ask(t, m, name)
				if isLoaded := slices.Contains(before, name); isLoaded != (err == nil) || test.kind == storagetest.Fail && !isLoaded && !errors.Is(err, errDisk) {
					t.Errorf("%s, in memory %t: %v", name, isLoaded, err)
				}
				if took := time.Since(began); err != nil && took != test.wait {
					t.Errorf("a handshake took %v, want %v", took, test.wait)
				}
			}
			if after := loaded(); !slices.Equal(before, after) {
				t.Errorf("%q are in memory, before the storage failed %q", after, before)
			}
			s.SetFaults()
			time.Sleep(recallInterval)
			for _, name := range names {
				if _, err := ask(t, m, name); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestEvictedAndDeleted has somebody delete the records of certificates that are in the storage alone.
func TestEvictedAndDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		names := someNames(10)
		config := w.issuedBy([]certmanager.Issuer{newLocalCA(t, "local")}, names...)
		config.MaxLoaded = 1
		m, stop := w.serving(config)
		defer stop()
		for key := range w.store.List(t.Context(), "certificates") {
			item, err := w.store.Load(t.Context(), key)
			if err == nil {
				err = w.store.Delete(t.Context(), key, item.Revision)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for range 2 { // the one that was in memory finds out the second time
			for _, name := range names {
				_, _ = ask(t, m, name)
			}
			time.Sleep(time.Minute)
		}
		for _, name := range names {
			if _, err := ask(t, m, name); err != nil {
				t.Error(err)
			}
		}
	})
}

// TestEvictionsBesideAll looks names up, renews and evicts all at the same time.
func TestEvictionsBesideAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, local := newWorld(t), newLocalCA(t, "local")
		local.lifetime = 24 * time.Hour
		names, most := someNames(40), 8
		config := w.issuedBy([]certmanager.Issuer{local}, names...)
		config.MaxLoaded, config.Workers = most, 4
		m, stop := w.serving(config)
		defer stop()
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := range 400 {
					name := names[(i*(worker*2+7)+i*i*worker)%len(names)]
					c, err := ask(t, m, name)
					if err != nil {
						t.Error(err)
					} else if leaf := leafOf(t, c); leaf.DNSNames[0] != name || !leaf.NotAfter.After(time.Now()) {
						t.Errorf("%s is served the certificate of %v", name, leaf.DNSNames)
					}
					if n := m.Stats().Loaded; n > most+config.Workers+4 {
						t.Errorf("%d certificates in memory", n)
					}
					time.Sleep(7 * time.Minute)
				}
			})
		}
		group.Go(func() {
			for i := range 50 {
				if err := m.Renew(t.Context(), names[i%len(names)]); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Hour)
			}
		})
		group.Wait()
	})
}
