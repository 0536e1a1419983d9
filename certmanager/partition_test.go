package certmanager_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A wire leads one member to an issuer, unless it is cut.
type wire struct {
	*localCA
	cut atomic.Bool
}

func (w *wire) Issue(ctx context.Context, r certmanager.Request) (*acme.Certificate, error) {
	if w.cut.Load() {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
	}
	return w.localCA.Issue(ctx, r)
}

// TestPartitions cuts members off from the storage, or from the CA, for the days in which all certificates come to be renewed.
// All members serve on, nobody obtains a certificate twice, whoever is cut off from what it needs obtains none; and soon
// after it is over all of them serve the successors.
func TestPartitions(t *testing.T) {
	t.Parallel()
	const members, day = 3, 24 * time.Hour
	names := 5
	if raceDetector {
		names = 2
	}
	for _, test := range []struct {
		name    string
		storage int // members that are cut off from the storage
		kind    storagetest.Kind
		ca      int // those that are cut off from the CA
		renewed int // meanwhile
	}{
		{"one member without the storage", 1, storagetest.Fail, 0, names},
		{"one member whose storage hangs", 1, storagetest.Hang, 0, names},
		{"a storage without a member", members, storagetest.Fail, 0, 0},
		{"a storage that hangs for all", members, storagetest.Hang, 0, 0},
		{"a CA that one member reaches", 0, 0, members - 1, names},
		{"a CA that only members without the storage reach", 1, storagetest.Fail, members - 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ca, store := newLocalCA(t, "local"), new(storage.Memory)
			ca.lifetime = 9 * day
			var managers []*certmanager.Manager
			var stores []*storagetest.Faulty
			var wires []*wire
			for range members {
				s, w := &storagetest.Faulty{Store: store}, &wire{localCA: ca}
				stores, wires = append(stores, s), append(wires, w)
				m, stop := runQuietly(t, certmanager.Config{Names: siteNames(names), Issuers: []certmanager.Issuer{w}, Storage: s})
				defer stop()
				managers = append(managers, m)
			}
			for _, m := range managers {
				awaitValid(t, m, names)
			}
			served := func(when string) {
				t.Helper()
				for i, m := range managers {
					for _, name := range siteNames(names) {
						if c, err := ask(t, m, name); err != nil || leafOf(t, c).NotAfter.Before(time.Now()) {
							t.Errorf("%s: %s: member %d does not serve %s: %v", test.name, when, i, name, err)
						}
					}
				}
			}
			time.Sleep(4 * day)
			for _, s := range stores[:test.storage] {
				s.SetFaults(storagetest.Fault{Kind: test.kind})
			}
			for _, w := range wires[members-test.ca:] {
				w.cut.Store(true)
			}
			for range 4 {
				time.Sleep(day / 2)
				served("cut off")
			}
			if n := ca.count() - names; n != test.renewed {
				t.Errorf("%s: %d certificates were obtained meanwhile, want %d", test.name, n, test.renewed)
			}
			for i := range members {
				stores[i].SetFaults()
				stores[i].Release()
				wires[i].cut.Store(false)
			}
			time.Sleep(time.Hour)
			served("afterwards")
			if n := ca.count(); n != 2*names {
				t.Errorf("%s: %d certificates in all, want %d", test.name, n, 2*names)
			}
			for _, name := range siteNames(names) {
				want := statusOf(t, managers[0], name).Serial
				for i, m := range managers {
					if got := statusOf(t, m, name); got.Serial != want || time.Until(got.NotAfter) < 5*day {
						t.Errorf("%s: member %d serves %s with %s until %v, the first one with %s", test.name, i, name, got.Serial, got.NotAfter, want)
					}
				}
			}
		})
	}
}

// TestMemberDies has one of three members die when its order is about to be finalized. One of the others finishes the
// order, with the key that the first one made, when the lease's term is over.
func TestMemberDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		front := w.front()
		front.answerWith(only("finalize", hang))
		config, dead := w.config("example.com"), make(chan struct{})
		reached := &storagetest.Faulty{Store: w.store}
		acmeOf(config).HTTPClient, config.Storage = front.client(), reached
		m, err := certmanager.New(config)
		if err != nil {
			t.Fatal(err)
		}
		wait := w.runUntil(m, dead)
		for front.count("finalize") == 0 {
			time.Sleep(time.Second)
		}
		issuer := (&certmanager.ACME{DirectoryURL: w.ca.URL}).ID()
		_, item := w.record("work")
		_, text, _ := bytes.Cut(item.Value, []byte("\n")) // behind the lease's line
		begun, err := record.DecodeWork(text, issuer)
		if err != nil {
			t.Fatal(err)
		}
		reached.SetFaults(storagetest.Fault{Err: errKilled})
		died := time.Now()
		for range 2 {
			_, stop := w.start(w.config("example.com"))
			defer stop()
		}
		obtained := w.await(certmanager.EventObtained, "example.com", 1)
		close(dead)
		wait()
		if took := obtained.Time.Sub(died); took < 40*time.Second || took > 90*time.Second {
			t.Errorf("it was succeeded after %v, want about the term of a minute", took)
		}
		synctest.Wait()
		_, item = w.record("certificates")
		stored, err := record.DecodeCertificate(item.Value, ids(t, "example.com"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if orders, certificates := len(w.ca.Orders()), len(w.ca.Certificates()); orders != 1 || certificates != 1 || !stored.Key.Equal(begun.Journal(issuer).Key) {
			t.Errorf("%d orders and %d certificates, want one each, with the key of the first member", orders, certificates)
		}
		w.await(certmanager.EventLoaded, "example.com", 1) // the other one
	})
}
