package certmanager_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// noteDeletion notes that the certificate at the key was deleted, as Delete does.
func noteDeletion(t *testing.T, s storage.Store, key string) {
	t.Helper()
	d := record.Deletion{Deleted: time.Now(), Obtained: time.Now()}
	value, err := d.Encode()
	if err == nil {
		_, err = s.Save(t.Context(), record.DeletionKey(key), value, "")
	}
	if err != nil {
		t.Fatal(err)
	}
}

// The record of a certificate is deleted by hand, or lost by its engine. It is served on, and obtained anew, by one of the members:
// a name of the configuration as well as one that was wanted on demand, and one that is not in memory.
func TestLostRecord(t *testing.T) {
	anyName := func(context.Context, certmanager.Question) error { return nil }
	for name, change := range map[string]func(*certmanager.Config){
		"configured":         func(*certmanager.Config) {},
		"without Watch":      func(c *certmanager.Config) { c.Storage = unwatched{c.Storage, c.Storage} },
		"on demand":          func(c *certmanager.Config) { c.Names, c.OnDemand = nil, anyName },
		"on demand, evicted": func(c *certmanager.Config) { c.Names, c.OnDemand, c.MaxLoaded = nil, anyName, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, ca := newWorld(t), newLocalCA(t, "local")
				config := w.fromLocalCA(ca, "a.example.com", "b.example.com")
				change(&config)
				var members []*certmanager.Manager
				for range 2 {
					m, stop := w.start(config)
					defer stop()
					synctest.Wait()
					for _, name := range []string{"a.example.com", "b.example.com"} {
						if _, err := ask(t, m, name); err != nil {
							t.Fatal(err)
						}
					}
					members = append(members, m)
				}
				time.Sleep(2 * time.Minute)
				issued := ca.count()
				key := "certificates/local/a.example.com/ecdsa-p256"
				remove(t, w.store, key)
				if config.MaxLoaded > 0 {
					time.Sleep(time.Second) // there is nothing to serve meanwhile
				}
				for range 60 {
					for i, m := range members {
						if c, err := ask(t, m, "a.example.com"); err != nil || c == nil {
							t.Errorf("member %d: %v", i, err)
						}
					}
					time.Sleep(10 * time.Second)
				}
				if n := ca.count() - issued; n != 1 {
					t.Errorf("%d certificates were obtained for the one that was lost", n)
				}
				if _, err := w.store.Load(t.Context(), key); err != nil {
					t.Errorf("it is not stored: %v", err)
				}
				for i, m := range members {
					if s, ok := m.Status("b.example.com"); ok && s.State != certmanager.StateValid {
						t.Errorf("member %d: the other one is %+v", i, s)
					}
				}
			})
		})
	}
}

// What was lost is told once, and not again while it can't be replaced.
func TestLostRecordIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		config.Storage = unwatched{w.store, w.store}
		_, stop := w.serving(config)
		defer stop()
		keep := config
		keep.Names = []string{"other.example.com"} // a storage that has lost all is not believed
		_, stop = w.serving(keep)
		defer stop()
		ca.change((*localCA).refusing)
		remove(t, w.store, "certificates/local/example.com/ecdsa-p256")
		time.Sleep(time.Hour)
		told := w.await(certmanager.EventCorrupt, "example.com", 1)
		if n := w.count(certmanager.EventCorrupt); n != 1 || !strings.Contains(fmt.Sprint(told.Err), "example.com: its record is gone from the storage") {
			t.Errorf("told was %d times %v, want once that it is gone", n, told.Err)
		}
	})
}

// A certificate that was obtained on demand ends, for it can't be renewed, and another member's sweep deletes it: nobody has to have it back.
func TestEndedRecordOnDemandIsSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca)
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := w.start(config)
		defer stop()
		synctest.Wait()
		if _, err := ask(t, m, "example.com"); err != nil {
			t.Fatal(err)
		}
		ca.change((*localCA).refusing)
		time.Sleep(time.Until(statusOf(t, m, "example.com").NotAfter) + time.Hour)
		if s := statusOf(t, m, "example.com"); s.State != certmanager.StateExpired {
			t.Fatalf("it is %+v", s)
		}
		remove(t, w.store, "certificates/local/example.com/ecdsa-p256")
		synctest.Wait()
		if _, ok := m.Status("example.com"); ok || w.count(certmanager.EventCorrupt) != 0 {
			t.Errorf("it is managed: %t; it was taken for lost %d times", ok, w.count(certmanager.EventCorrupt))
		}
	})
}

// A name is deleted, managed again by the one who has deleted it, and the record of its new certificate lost: the older deletion does
// not count for that.
func TestLostAfterDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		m, stop := w.serving(w.fromLocalCA(ca, "example.com", "other.example.com"))
		defer stop()
		if err := m.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if err := m.Manage(certmanager.Subject{Names: []string{"example.com"}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // it is served before it is stored
		issued := ca.count()
		remove(t, w.store, "certificates/local/example.com/ecdsa-p256")
		time.Sleep(time.Minute)
		if _, err := ask(t, m, "example.com"); err != nil || ca.count() != issued+1 {
			t.Errorf("%v; %d certificates were obtained, want 1", err, ca.count()-issued)
		}
	})
}

// A member that is told of nothing finds the deletion when it wants to renew the certificate: it forgets the name, and orders nothing.
func TestRenewalOfADeletedRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		config.Storage, config.FollowInterval = unwatched{w.store, w.store}, -1
		m, stop := w.serving(config)
		defer stop()
		other, err := certmanager.New(w.fromLocalCA(ca))
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		if s, ok := m.Status("example.com"); !ok || s.State != certmanager.StateValid {
			t.Errorf("it is not served until the deletion is known: %+v", s)
		}
		result := make(chan error, 1)
		go func() { result <- m.Renew(t.Context(), "example.com") }()
		w.await(certmanager.EventDeleted, "example.com", 1)
		synctest.Wait()
		if err := <-result; err == nil || !strings.Contains(err.Error(), "another process has deleted it") {
			t.Errorf("Renew: %v", err)
		}
		time.Sleep(24 * time.Hour)
		if _, ok := m.Status("example.com"); ok || ca.count() != 1 || w.keys("certificates") != 0 {
			t.Errorf("it is managed: %t; %d certificates were issued and %d are stored", ok, ca.count(), w.keys("certificates"))
		}
	})
}

// A process is killed between noting a deletion and deleting. Nothing is deleted, and nobody takes it for that.
func TestKilledBeforeDeletion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		config.Storage = unwatched{w.store, w.store}
		m, stop := w.serving(config)
		defer stop()
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{On: storagetest.Delete, Err: errKilled})
		late := w.fromLocalCA(ca)
		late.Storage = store
		other, err := certmanager.New(late)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := other.Delete(ctx, "example.com"); err == nil {
			t.Fatal("no error")
		}
		if w.keys("deletions") != 1 {
			t.Error("what is deleted is not noted before")
		}
		time.Sleep(time.Hour)
		if s, ok := m.Status("example.com"); !ok || s.State != certmanager.StateValid {
			t.Errorf("it is %+v", s)
		}
		if err := m.Renew(t.Context(), "example.com"); err != nil || w.keys("certificates") != 1 {
			t.Errorf("%v; %d certificates are stored", err, w.keys("certificates"))
		}
	})
}
