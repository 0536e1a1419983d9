package certmanager_test

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// suspension is for how long a process does not run just before it takes a lease that it has found free.
const suspension = 10 * time.Second

// suspendedAtLease returns the store as a process has it that is suspended once.
func suspendedAtLease(s storage.Store) *storagetest.Faulty {
	suspended := &storagetest.Faulty{Store: s}
	suspended.SetFaults(storagetest.Fault{Kind: storagetest.Stuck, On: storagetest.Save, Prefix: "work", Times: 1, Delay: suspension})
	return suspended
}

// Between a member's finding the lease free and its taking it, another does all the work. The first notices, orders nothing,
// and serves what the other has obtained.
func TestOvertakenBeforeLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		late := config
		late.Storage = suspendedAtLease(w.store)
		m, stop := runQuietly(t, late)
		defer stop()
		synctest.Wait()
		other, stopOther := w.serving(config)
		defer stopOther()
		time.Sleep(suspension + 2*time.Second)
		if n := ca.count(); n != 1 || !servedLeaf(t, m, "example.com").Equal(servedLeaf(t, other, "example.com")) {
			t.Errorf("%d certificates were issued, want one that both serve", n)
		}
	})
}

// Nothing has been stored of the work on a certificate. Between a member's finding so and its taking the lease, another
// deletes the certificate: the first does not bring it back.
func TestDeletedBeforeLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		late := config
		store := &storagetest.Faulty{Store: unwatched{w.store, w.store}}
		late.Storage = store
		m, stop := w.serving(late)
		defer stop()
		key, item := w.record("work")
		if err := w.store.Delete(t.Context(), key, item.Revision); err != nil {
			t.Fatal(err)
		}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Stuck, On: storagetest.Save, Prefix: "work", Times: 1, Delay: suspension})
		ctx, cancel := context.WithTimeout(t.Context(), 2*suspension)
		defer cancel()
		go m.Renew(ctx, "example.com")
		synctest.Wait()
		other, err := certmanager.New(w.fromLocalCA(ca))
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Delete(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(suspension + time.Second)
		if n := w.keys("certificates"); n != 0 || ca.count() != 1 {
			t.Errorf("%d certificates are stored and %d were issued, want 0 and 1", n, ca.count())
		}
	})
}

// A process is killed by the write that takes the lease. Who takes over has the same key.
func TestKilledByLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		killed, dead, ended := config, make(chan struct{}), make(chan struct{})
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{Kind: storagetest.Lost, On: storagetest.Save, Prefix: "work", Err: errKilled, Hit: func(string) {
			store.SetFaults(storagetest.Fault{Err: errKilled})
			close(dead)
		}})
		killed.Storage = store
		m, err := certmanager.New(killed)
		if err != nil {
			t.Fatal(err)
		}
		wait := w.runUntil(m, ended)
		<-dead
		synctest.Wait() // until the write is made
		close(ended)
		wait()

		_, item := w.record("work")
		value, held, err := storage.LeaseValue(item.Value)
		if err != nil || !held {
			t.Fatalf("held %v, %v", held, err)
		}
		left, err := record.DecodeWork(value, ca.ID())
		if err != nil || left.Journal(ca.ID()).Key.Signer == nil {
			t.Fatalf("the lease was taken without a key (%v)", err)
		}
		m, stop := w.serving(config)
		defer stop()
		if leaf := servedLeaf(t, m, "example.com"); !left.Journal(ca.ID()).Key.Public().(*ecdsa.PublicKey).Equal(leaf.PublicKey) {
			t.Error("the next holder has made a key of its own")
		}
	})
}

// A key that takes long to be made is made under the lease: two processes make one.
func TestSlowKeyIsMadeUnderLease(t *testing.T) {
	if raceDetector {
		t.Skip("an RSA key takes seconds")
	}
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		log := &callLog{Store: w.store}
		config := w.fromLocalCA(ca, "example.com")
		config.Storage, config.KeyTypes = log, []certmanager.KeyType{certmanager.RSA2048}
		m, stop := w.serving(config)
		defer stop()
		log.take()
		time.Sleep(time.Second)
		if err := m.Renew(t.Context(), "example.com"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"load work", "load certificates", "save work", "save work", "save certificates", "save work"}
		if calls := log.take(); !slices.Equal(calls, want) {
			t.Errorf("%q, want %q: the lease, the key, and the lease given back", calls, want)
		}
	})
}

// A process that finds that it is not time yet writes nothing.
func TestWaitingWritesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		ca.change((*localCA).refusing)
		config := w.fromLocalCA(ca, "example.com")
		_, stop := w.running(config)
		w.await(certmanager.EventFailed, "example.com", 1)
		stop()
		log := &callLog{Store: w.store}
		config.Storage = log
		_, stop = w.running(config)
		defer stop()
		w.await(certmanager.EventFailed, "example.com", 2)
		calls := log.take()
		if slices.Contains(calls, "save work") || !slices.Contains(calls, "load work") {
			t.Errorf("%q: it is to read why it waits, and to write nothing", calls)
		}
	})
}

// A lease that can't be taken is no failure of the issuer's, and one of the storage's is told once.
func TestLeaseCannotBeTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, ca := newWorld(t), newLocalCA(t, "local")
		config := w.fromLocalCA(ca, "example.com")
		store := &storagetest.Faulty{Store: w.store}
		store.SetFaults(storagetest.Fault{On: storagetest.Save, Prefix: "work", Times: 1, Err: errDisk})
		config.Storage = store
		_, stop := w.running(config)
		defer stop()
		failed := w.await(certmanager.EventFailed, "example.com", 1)
		w.await(certmanager.EventObtained, "example.com", 1)
		if !errors.Is(failed.Err, errDisk) || failed.Issuer != "" || w.count(certmanager.EventWarning) != 0 || ca.count() != 1 {
			t.Errorf("%v of issuer %q, %d warnings, %d certificates", failed.Err, failed.Issuer, w.count(certmanager.EventWarning), ca.count())
		}
	})
}
