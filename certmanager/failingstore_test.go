package certmanager_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A delayMeter is a store that notes how long after their issuance certificates are stored in it.
type delayMeter struct {
	storage.Store

	mu      sync.Mutex
	serials map[string]bool
	longest time.Duration
}

func (d *delayMeter) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	revision, err := d.Store.Save(ctx, key, value, old)
	if err == nil && storage.Within(key, "certificates") {
		d.note(value)
	}
	return revision, err
}

func (d *delayMeter) note(value []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for block, rest := pem.Decode(value); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		leaf, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			panic(err) // the manager has read it
		}
		if serial := leaf.SerialNumber.String(); !d.serials[serial] {
			d.serials[serial] = true
			d.longest = max(d.longest, time.Since(leaf.NotBefore))
		}
		return
	}
}

// fromLocalCA is config with a local CA.
func (w *world) fromLocalCA(ca *localCA, names ...string) certmanager.Config {
	config := w.config(names...)
	config.Issuers = []certmanager.Issuer{ca}
	return config
}

// TestStorageFailsOften has a fifth of all calls fail for days, whether they reach the medium or not. What the CA issues is
// stored within ten minutes, none is lost, and none is issued that was not due.
func TestStorageFailsOften(t *testing.T) {
	t.Parallel()
	for _, kind := range []storagetest.Kind{storagetest.Fail, storagetest.Lost} {
		synctest.Test(t, func(t *testing.T) {
			const days, lifetime = 3, 12 * time.Hour
			w := newWorld(t)
			meter := &delayMeter{Store: w.store, serials: make(map[string]bool)}
			faulty := &storagetest.Faulty{Store: meter, Seed: 1}
			local := newLocalCA(t, "local")
			local.change(func(ca *localCA) { ca.lifetime = lifetime })
			names := make([]string, 100)
			if raceDetector {
				names = names[:25]
			}
			for i := range names {
				names[i] = fmt.Sprintf("www%d.example.com", i)
			}
			config := w.fromLocalCA(local, names...)
			config.Storage = faulty
			m, stop := w.running(config)
			defer stop()
			faulty.SetFaults(storagetest.Fault{Kind: kind, Share: 0.2})
			time.Sleep(days * 24 * time.Hour)
			faulty.SetFaults()
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			t.Logf("%d issuances, %d faults; the longest way into the storage took %v", local.count(), faulty.Hits(), meter.longest)
			if meter.longest > 10*time.Minute {
				t.Errorf("a certificate was stored %v after it was issued", meter.longest)
			}
			if stored := len(meter.serials); stored != local.count() || stored < 10*len(names) {
				t.Errorf("of %d certificates %d were stored; want all of %d at least", local.count(), stored, 10*len(names))
			}
			// Each is renewed when about half of its time is over, not before.
			if most := len(names) * (1 + int(days*24*time.Hour/(lifetime*11/24))); local.count() > most {
				t.Errorf("%d certificates were issued, want %d at most", local.count(), most)
			}
			for _, s := range statuses(m) {
				if s.State != certmanager.StateValid {
					t.Errorf("%v is %s: %v", s.Names, s.State, s.Failure)
				}
			}
		})
	}
}

// TestFailedReleaseIsTriedAgain has the write fail a few times that gives a lease back: another process is not kept
// waiting for the lease's term, also if Run has ended.
func TestFailedReleaseIsTriedAgain(t *testing.T) {
	for _, ending := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			local := newLocalCA(t, "local")
			config := w.fromLocalCA(local, "example.com")
			faulty := &storagetest.Faulty{Store: w.store}
			config.Storage = faulty
			fail := func(certmanager.Request) error {
				// From now on all that comes is the certificate, and what gives the lease back.
				faulty.SetFaults(storagetest.Fault{On: storagetest.Writes, Prefix: "work", Times: 3})
				if ending {
					time.Sleep(10 * time.Second)
				}
				return nil
			}
			local.change(func(ca *localCA) { ca.work = fail })
			_, stop := w.running(config)
			if ending {
				time.Sleep(time.Second)
			}
			stop()
			began := time.Now()
			lease, err := storage.Acquire(t.Context(), w.store, "work/local/example.com/ecdsa-p256", time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			if waited := time.Since(began); waited > time.Second || faulty.Hits() < 3 {
				t.Errorf("Run is ending (%t): the lease was to be had after %v and %d failures", ending, waited, faulty.Hits())
			}
			if err := lease.Release(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStorageBecomesUnwritable has the storage not be written to for days, from the start or later: what is stored is
// served, nothing is ordered, and what is due is done when it can be written again.
func TestStorageBecomesUnwritable(t *testing.T) {
	for _, fromTheStart := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			local := newLocalCA(t, "local")
			local.change(func(ca *localCA) { ca.lifetime = 4 * 24 * time.Hour })
			config := w.fromLocalCA(local, "example.com")
			_, stop := w.serving(config)
			stop()
			shown := new(logs)
			faulty := &storagetest.Faulty{Store: w.store}
			full := storagetest.Fault{On: storagetest.Save, Err: errDisk}
			config.Names = append(config.Names, "new.example.com")
			config.Storage, config.Logger = faulty, shown.logger()
			if fromTheStart {
				faulty.SetFaults(full)
			} else {
				config.Names = config.Names[:1]
			}
			m, stop := w.running(config)
			defer stop()
			faulty.SetFaults(full)
			if !fromTheStart {
				if err := m.Manage(certmanager.Subject{Names: []string{"new.example.com"}}); err != nil {
					t.Fatal(err)
				}
			}
			time.Sleep(3 * 24 * time.Hour)
			if _, err := ask(t, m, "example.com"); err != nil {
				t.Error(err)
			}
			if n := local.count(); n != 1 {
				t.Errorf("%d certificates were issued, want that of before", n)
			}
			if n := strings.Count(shown.String(), "level=ERROR"); fromTheStart && (n < 10 || n > 40) {
				t.Errorf("%d errors in the log in three days, want some at first and then two a day", n)
			}
			faulty.SetFaults()
			time.Sleep(11 * time.Minute)
			for _, s := range statuses(m) {
				if s.State != certmanager.StateValid || s.Failure != nil {
					t.Errorf("from the start (%t): %v is %s: %+v", fromTheStart, s.Names, s.State, s.Failure)
				}
			}
			if n := local.count(); n != 3 {
				t.Errorf("%d certificates were issued, want 3", n)
			}
		})
	}
}

// TestStorageHangs has single records or methods hang for an hour: others are worked on, and these when it is over.
func TestStorageHangs(t *testing.T) {
	const bad, good = "bad.example.com", "good.example.com"
	for name, fault := range map[string]storagetest.Fault{
		"load of work":        {On: storagetest.Load, Prefix: "work/local/" + bad},
		"save of work":        {On: storagetest.Save, Prefix: "work/local/" + bad},
		"load of certificate": {On: storagetest.Load, Prefix: "certificates/local/" + bad},
		"save of certificate": {On: storagetest.Save, Prefix: "certificates/local/" + bad},
		"third save of work":  {On: storagetest.Save, Prefix: "work/local/" + bad, After: 2},
		"all saves":           {On: storagetest.Save},
		"all loads":           {On: storagetest.Load},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				local := newLocalCA(t, "local")
				faulty := &storagetest.Faulty{Store: w.store}
				config := w.fromLocalCA(local)
				config.Storage = faulty
				m, stop := w.running(config)
				defer stop()
				fault.Kind = storagetest.Hang
				faulty.SetFaults(fault)
				if err := m.Manage(certmanager.Subject{Names: []string{bad}}, certmanager.Subject{Names: []string{good}}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				if s := statusOf(t, m, good); !strings.HasPrefix(name, "all") && (s.State != certmanager.StateValid || s.NotBefore.After(time.Now().Add(-59*time.Minute))) {
					t.Errorf("the other name is %s, since %v", s.State, s.NotBefore)
				}
				faulty.SetFaults()
				time.Sleep(13 * time.Minute) // back-off, and what hangs at the time
				for _, name := range []string{bad, good} {
					if s := statusOf(t, m, name); s.State != certmanager.StateValid || s.Failure != nil {
						t.Errorf("when it is over %s is %s: %v", name, s.State, s.Failure)
					}
				}
				if n := local.count(); n != 2 || w.keys("certificates") != 2 {
					t.Errorf("%d certificates were issued and %d stored, want 2", n, w.keys("certificates"))
				}
			})
		})
	}
}

// TestUnsavedIsOlder has a process hold a certificate that its storage did not take, when another has obtained a
// newer one: that stays.
func TestUnsavedIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		local := newLocalCA(t, "local")
		config := w.fromLocalCA(local, "example.com")
		own := failingSaves(w.store, "certificates", 0, false)
		config.Storage = own
		m, stop := w.running(config)
		defer stop()
		if _, err := ask(t, m, "example.com"); err != nil || w.keys("certificates") != 0 {
			t.Fatalf("it is not served from memory: %v", err)
		}
		config.Storage = w.store
		_, stopOther := w.start(config)
		defer stopOther()
		obtained := w.await(certmanager.EventObtained, "example.com", 1)
		own.SetFaults()
		time.Sleep(time.Hour)
		if s := statusOf(t, m, "example.com"); s.Serial != obtained.Serial || local.count() != 2 {
			t.Errorf("%s is served, want %s of the other process; %d were issued", s.Serial, obtained.Serial, local.count())
		}
		_, item := w.record("certificates")
		d := delayMeter{serials: make(map[string]bool)}
		if d.note(item.Value); d.longest > time.Since(obtained.Time)+time.Second {
			t.Error("the newer certificate was replaced")
		}
	})
}
