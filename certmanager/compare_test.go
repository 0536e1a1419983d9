package certmanager_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// TestMembersWithoutWatch has a member whose storage tells of no changes, or fails to: it serves what another obtains, at
// the interval of its Config, and orders nothing itself.
func TestMembersWithoutWatch(t *testing.T) {
	for _, test := range []struct {
		name     string
		broken   bool // there is a Watch, which fails
		interval time.Duration
		within   time.Duration // zero: never
	}{
		{"no Watch", false, 5 * time.Second, 5 * time.Second},
		{"no Watch, usual interval", false, 0, time.Minute},
		{"no Watch, never", false, -1, 0},
		{"a Watch that fails", true, 5 * time.Second, watchPause + 5*time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ca, faulty := newLocalCA(t, "local"), &storagetest.Faulty{Store: new(storage.Memory)}
			config := certmanager.Config{Names: []string{"a.example", "b.example"}, Issuers: []certmanager.Issuer{ca}, Storage: faulty}
			one, stop := runQuietly(t, config)
			defer stop()
			awaitValid(t, one, 2)
			config.Storage, config.FollowInterval = unwatched{faulty, faulty}, test.interval
			if test.broken {
				config.Storage = faulty
				faulty.SetFaults(storagetest.Fault{On: storagetest.Watch})
			}
			other, stop := runQuietly(t, config)
			defer stop()
			awaitValid(t, other, 2)
			time.Sleep(time.Hour)
			if err := one.Renew(t.Context(), "a.example"); err != nil {
				t.Fatal(err)
			}
			begun, want := time.Now(), statusOf(t, one, "a.example").Serial
			for statusOf(t, other, "a.example").Serial != want && time.Since(begun) < 2*time.Hour {
				time.Sleep(time.Second)
			}
			took := time.Since(begun)
			if test.within == 0 && took < 2*time.Hour || test.within > 0 && took > test.within+time.Second {
				t.Errorf("%s: the other member serves the new certificate after %v, want %v at most", test.name, took, test.within)
			}
			if n := ca.count(); n != 3 {
				t.Errorf("%s: %d certificates, want 3", test.name, n)
			}
		})
	}
}

// watchPause is how long after a Watch has failed another is begun.
const watchPause = time.Minute

// TestComparisonsDelete has certificates deleted, and a storage that has lost some, or seems to: only what was deleted for certain
// is forgotten.
func TestComparisonsDelete(t *testing.T) {
	key := func(name string) string { return "certificates/local/" + name + "/" + string(certmanager.ECDSAP256) }
	for _, test := range []struct {
		name   string
		delete []string // keys; nil: all
		marked bool     // by a Delete, and not by hand
		fault  storagetest.Fault
		want   int // that are served afterwards
	}{
		{"one deleted", []string{key("site1.example")}, true, storagetest.Fault{}, 4},
		{"one lost", []string{key("site1.example")}, false, storagetest.Fault{}, 5},
		{"all lost", nil, false, storagetest.Fault{}, 5},
		{"it can't be found out", []string{key("site1.example")}, true, storagetest.Fault{On: storagetest.Load, Prefix: "deletions"}, 5},
		{"a scan that ends too soon", []string{}, false, storagetest.Fault{On: storagetest.Scan | storagetest.List}, 5},
		{"a scan that hangs", []string{}, false, storagetest.Fault{On: storagetest.Scan | storagetest.List, Kind: storagetest.Hang}, 5},
		{"one that can't be read", []string{}, false, storagetest.Fault{On: storagetest.Load | storagetest.Scan, Prefix: key("site2.example")}, 5},
		{"none can be read", []string{key("site1.example")}, true, storagetest.Fault{On: storagetest.Load, Prefix: "certificates"}, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			names := manyNames("site%d.example", 5)
			store, config := stocked(t, names...)
			var deleted []string
			config.Storage, config.FollowInterval = unwatched{store, store}, 10*time.Second
			config.OnEvent = func(e certmanager.Event) {
				if e.Kind == certmanager.EventDeleted {
					deleted = append(deleted, e.Names...)
				}
			}
			m, stop := runQuietly(t, config)
			defer stop()
			awaitValid(t, m, len(names))
			gone := test.delete
			if gone == nil {
				for _, name := range names {
					gone = append(gone, key(name))
				}
			}
			for _, k := range gone {
				if test.marked {
					noteDeletion(t, store, k)
				}
				remove(t, store, k)
			}
			if test.fault.On != 0 {
				store.SetFaults(test.fault)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := valid(m); n != test.want || len(deleted) != len(names)-test.want {
				t.Errorf("%s: %d are served, want %d; told as deleted were %s", test.name, n, test.want, strings.Join(deleted, ", "))
			}
		})
	}
}

func remove(t *testing.T, s storage.Store, key string) {
	t.Helper()
	item, err := s.Load(context.Background(), key)
	if err == nil {
		err = s.Delete(context.Background(), key, item.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
}
