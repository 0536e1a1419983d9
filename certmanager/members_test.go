package certmanager_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
)

// A meter counts what a fleet asks of its storage.
type meter struct {
	storage.Store
	calls     atomic.Int64 // but those of Watch and Scan
	claims    atomic.Int64 // of leases on work that were free, successful or not
	conflicts atomic.Int64 // in vain, for another has the lease or was faster
}

func (m *meter) Unwrap() storage.Store { return m.Store }

func (m *meter) Load(ctx context.Context, key string) (storage.Item, error) {
	m.calls.Add(1)
	item, err := m.Store.Load(ctx, key)
	if strings.HasPrefix(key, "work/") {
		if line, _, _ := bytes.Cut(item.Value, []byte("\n")); err == nil && !bytes.Contains(line, []byte(`"owner":""`)) {
			m.conflicts.Add(1)
		} else {
			m.claims.Add(1)
		}
	}
	return item, err
}

func (m *meter) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	m.calls.Add(1)
	revision, err := m.Store.Save(ctx, key, value, old)
	if errors.Is(err, storage.ErrConflict) && strings.HasPrefix(key, "work/") {
		m.conflicts.Add(1)
	}
	return revision, err
}

func (m *meter) Delete(ctx context.Context, key string, old storage.Revision) error {
	m.calls.Add(1)
	return m.Store.Delete(ctx, key, old)
}

// unwatched hides that a store tells of changes. It can be scanned, by another way to the store.
type unwatched struct {
	storage.Store
	scanned storage.Store
}

func (u unwatched) Scan(ctx context.Context, prefix, cursor string) iter.Seq2[storage.Record, error] {
	return storage.Scan(ctx, u.scanned, prefix, cursor)
}

// slowCA returns an issuer that takes a while for each certificate.
func slowCA(t *testing.T, takes time.Duration) *localCA {
	ca := newLocalCA(t, "local")
	ca.work = func(certmanager.Request) error {
		time.Sleep(takes)
		return nil
	}
	return ca
}

// runMembers runs managers of one configuration.
func runMembers(t *testing.T, n int, config certmanager.Config) (all []*certmanager.Manager, stop func()) {
	var stops []func()
	for range n {
		m, stop := runQuietly(t, config)
		all, stops = append(all, m), append(stops, stop)
	}
	return all, func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// Four members that start together, or are told of new names together, have certificates for all of them in a quarter of
// the time that one takes, and seldom come to the same name together.
func TestMembersFillTogether(t *testing.T) {
	const names, workers, takes = 320, 4, 2 * time.Second
	for _, test := range []struct {
		members int
		added   bool // by Manage
	}{{4, false}, {4, true}} {
		if raceDetector && test.added {
			continue // adding them is what all other tests do, too
		}
		synctest.Test(t, func(t *testing.T) {
			members, all := test.members, manyNames("site%d.example", names)
			store, ca := &meter{Store: new(storage.Memory)}, slowCA(t, takes)
			config := certmanager.Config{Storage: store, Issuers: []certmanager.Issuer{ca}, Workers: workers}
			if !test.added {
				config.Names = all
			}
			managers, stop := runMembers(t, members, config)
			defer stop()
			for _, m := range managers {
				if err := m.Manage(subjectsOf(all)...); err != nil {
					t.Fatal(err)
				}
			}
			var took time.Duration
			for _, m := range managers {
				took += awaitValid(t, m, names)
			}
			alone := names / workers * takes
			if most := alone/time.Duration(members)*5/4 + takes; took > most {
				t.Errorf("%d members: it took %v, want %v at most; one needs %v", members, took, most, alone)
			}
			if n := ca.count(); n != names {
				t.Errorf("%d members: %d certificates for %d names", members, n, names)
			}
			each := float64(store.conflicts.Load()) / names
			if most := 0.2 * float64(members-1); each > most {
				t.Errorf("%d members: %.2f claims of leases in vain for each name, want %.2f at most", members, each, most)
			}
			t.Logf("%d members: %v, %.2f claims in vain and %.1f storage operations for each name", members, took, each, float64(store.calls.Load())/names)
		})
	}
}

// A certificate that is due is mostly renewed by one of four members, before the others come to it: they
// ask the storage for no more than it takes to hear of it.
func TestMembersRenewOnce(t *testing.T) {
	const members, day = 4, 24 * time.Hour
	for _, test := range []struct {
		lifetime time.Duration
		watched  bool
		names    int
		claims   float64 // at most, for each renewal: by those that do it, and in vain
		calls    float64
	}{
		{90 * day, true, 200, 1.2, 12},
		{6 * day, true, 50, 1.2, 12},
		{day, false, 40, 1.8, 12},
		{5 * time.Minute, true, 40, 6, 25},
	} {
		if raceDetector {
			test.names = 40
		}
		synctest.Test(t, func(t *testing.T) {
			store, ca := &meter{Store: new(storage.Memory)}, slowCA(t, 2*time.Second)
			ca.lifetime = test.lifetime
			config := certmanager.Config{Names: manyNames("site%d.example", test.names), Storage: store, Issuers: []certmanager.Issuer{ca}, SweepInterval: -1}
			if !test.watched {
				config.Storage = unwatched{store, store.Store}
			}
			managers, stop := runMembers(t, members, config)
			defer stop()
			awaitValid(t, managers[0], test.names)
			time.Sleep(test.lifetime / 4)
			before := [3]int64{store.calls.Load(), store.claims.Load(), store.conflicts.Load()}
			time.Sleep(test.lifetime / 2)
			renewed := float64(ca.count() - test.names)
			calls := float64(store.calls.Load()-before[0]) / renewed
			claims := float64(store.claims.Load()-before[1]+store.conflicts.Load()-before[2]) / renewed
			if renewed != float64(test.names) {
				t.Errorf("%+v: %v renewals", test, renewed)
			}
			if claims > test.claims || calls > test.calls {
				t.Errorf("%+v: %.2f claims and %.1f storage operations for each renewal", test, claims, calls)
			}
			t.Logf("%+v: %.2f claims, %.1f storage operations", test, claims, calls)
		})
	}
}

// TestHandshakesBesideRenewals renews a thousand certificates at once: handshakes for them are served without a wait.
func TestHandshakesBesideRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := manyNames("site%d.example", 1000)
		if raceDetector {
			names = names[:300]
		}
		ca := slowCA(t, 2*time.Second)
		m, stop := runQuietly(t, certmanager.Config{Names: names, Storage: new(storage.Memory), Issuers: []certmanager.Issuer{ca}, Workers: 100})
		defer stop()
		awaitValid(t, m, len(names))
		m.RenewAll(func(certmanager.Status) bool { return true })
		for i := 0; ca.count() < 2*len(names); i = (i + 7) % len(names) {
			begun := time.Now()
			if c, err := ask(t, m, names[i]); c == nil || time.Since(begun) > 0 {
				t.Fatalf("%s: a handshake waited for %v: %v", names[i], time.Since(begun), err)
			}
			time.Sleep(100 * time.Millisecond)
		}
	})
}
