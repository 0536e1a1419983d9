package certmanager_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage/storagetest"
)

// onDemandFrom is onDemand with a local CA.
func (w *world) onDemandFrom(ca *localCA) certmanager.Config {
	config := w.onDemand(new(policy))
	config.Issuers = []certmanager.Issuer{ca}
	return config
}

// refusing has the CA refuse all orders.
func (ca *localCA) refusing() { ca.err = &acme.OrderError{Err: errClosed} }

// wantInVain asks for a certificate that is not to be had.
func wantInVain(t *testing.T, m *certmanager.Manager, name string) {
	t.Helper()
	if _, err := ask(t, m, name); !errors.Is(err, errClosed) {
		t.Errorf("%s: %v, want the CA's refusal", name, err)
	}
}

// TestFailingNamesLeaveNoRecords has thousands of names be wanted on demand in vain: an hour after their back-off
// nothing of them is left in the storage, and work goes on meanwhile.
func TestFailingNamesLeaveNoRecords(t *testing.T) {
	names, atOnce := 3000, 500
	if raceDetector {
		names, atOnce = 600, 100
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		local.change((*localCA).refusing)
		config := w.onDemandFrom(local)
		config.MaxNewNames = names
		m, stop := w.running(config)
		defer stop()
		for begun := 0; begun < names; begun += atOnce {
			var clients sync.WaitGroup
			for i := range atOnce {
				clients.Go(func() { wantInVain(t, m, fmt.Sprintf("bad-%04d.example.com", begun+i)) })
			}
			clients.Wait()
		}
		if n := w.keys("work"); n != names {
			t.Errorf("%d records of work at first, want %d", n, names)
		}
		local.change(func(ca *localCA) { ca.err = nil })
		time.Sleep(time.Hour + 2*time.Minute)
		if _, err := ask(t, m, "good.example.com"); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := w.keys("work"); n != 1 {
			t.Errorf("%d records of work an hour after the back-off, want that of the good name", n)
		}
	})
}

// TestFailureOnDemandIsKept has a name be wanted again and again: what is known of its failures stays, until nobody
// wants it any more.
func TestFailureOnDemandIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		tries := 0
		local.change(func(ca *localCA) {
			ca.work = func(certmanager.Request) error {
				tries++
				return &acme.OrderError{Err: errClosed}
			}
		})
		m, stop := w.running(w.onDemandFrom(local))
		defer stop()
		for began := time.Now(); time.Since(began) < 24*time.Hour; time.Sleep(time.Minute / 2) {
			wantInVain(t, m, "example.com")
		}
		if tries != 4 { // at once, after 1, 10 and 100 minutes
			t.Errorf("%d tries in a day, want 4", tries)
		}
		time.Sleep(24 * time.Hour) // the back-off is over within the first half of it
		if n := w.keys("work"); n != 0 {
			t.Errorf("%d records of work are left", n)
		}
	})
}

// TestOrderUnderWayOnDemandIsKept has an order be left under way: its record stays for as long as the order may.
func TestOrderUnderWayOnDemandIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		local.change(func(ca *localCA) {
			ca.work = func(r certmanager.Request) error {
				if err := r.Record(t.Context(), []byte(`{"orderURL":"https://ca.example/order/1"}`)); err != nil {
					return err
				}
				return errClosed
			}
		})
		m, stop := w.running(w.onDemandFrom(local))
		defer stop()
		wantInVain(t, m, "example.com")
		time.Sleep(7*24*time.Hour - time.Minute)
		if n := w.keys("work"); n != 1 {
			t.Errorf("%d records of work while the order may be resumed, want 1", n)
		}
		time.Sleep(2 * time.Hour)
		if n := w.keys("work"); n != 0 {
			t.Errorf("%d records of work are left", n)
		}
	})
}

// TestTwoProcessesForgetFailures has two processes want a name in vain, and storages that fail when it is forgotten: of
// one, and of all for a day.
func TestTwoProcessesForgetFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		local.change((*localCA).refusing)
		faulty := &storagetest.Faulty{Store: w.store}
		config := w.onDemandFrom(local)
		config.Storage = faulty
		for range 2 {
			m, stop := w.running(config)
			defer stop()
			if _, err := ask(t, m, "example.com"); err == nil {
				t.Error("a certificate was to be had")
			}
		}
		faulty.SetFaults(storagetest.Fault{On: storagetest.Writes, Prefix: "work"})
		time.Sleep(24 * time.Hour)
		if w.keys("work") != 1 {
			t.Fatal("the record was deleted by a storage that fails")
		}
		faulty.SetFaults()
		time.Sleep(2 * time.Hour)
		if n := w.keys("work"); n != 0 {
			t.Errorf("%d records of work are left", n)
		}
		reads := faulty.Calls(storagetest.Load)
		time.Sleep(24 * time.Hour)
		if n := faulty.Calls(storagetest.Load) - reads; n > 2*5 {
			t.Errorf("%d reads when all was over, but for those of two surveys each six hours", n)
		}
	})
}
