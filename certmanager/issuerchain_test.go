package certmanager_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/solver"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// workKey is where the work on the certificate for example.com is kept, by issuers of which this is the first.
func workKey(issuer string) string {
	return record.WorkKey(issuer, "example.com", string(certmanager.ECDSAP256))
}

// hold takes a lease as another process does.
func hold(t *testing.T, s storage.Store, key string) *storage.Lease {
	t.Helper()
	lease, err := storage.Acquire(t.Context(), s, key, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return lease
}

// A chain is two issuers, and who was asked when.
type chain struct {
	first, second *localCA

	mu    sync.Mutex
	asked []string                        // the IDs, in order
	keys  map[string]bool                 // of the requests to the second
	notes []string                        // that the second was given
	fails map[string]error                // by the issuers
	alone func(name string, entered bool) // is told who begins and ends to be asked
}

func newChain(t *testing.T) *chain {
	c := &chain{first: newLocalCA(t, "first"), second: newLocalCA(t, "second"), keys: make(map[string]bool), fails: make(map[string]error)}
	for _, ca := range []*localCA{c.first, c.second} {
		ca.work = func(r certmanager.Request) error { return c.work(ca.id, r) }
	}
	return c
}

func (c *chain) work(issuer string, r certmanager.Request) error {
	c.mu.Lock()
	c.asked = append(c.asked, issuer)
	if issuer == "second" {
		c.notes = append(c.notes, string(r.Journal))
		c.keys[fmt.Sprint(r.Key.Public())] = true
	}
	err, alone := c.fails[issuer], c.alone
	c.mu.Unlock()
	if alone != nil {
		alone(r.Identifiers[0].Value, true)
		defer alone(r.Identifiers[0].Value, false)
		time.Sleep(2 * time.Second)
	}
	return err
}

func (c *chain) fail(issuer string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fails[issuer] = err
}

// wantAsked checks who was asked so far.
func (c *chain) wantAsked(t *testing.T, when, want string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if got := strings.Join(c.asked, " "); got != want {
		t.Errorf("%s: asked were %q, want %q", when, got, want)
	}
}

func (c *chain) config(s storage.Store, names ...string) certmanager.Config {
	return certmanager.Config{Names: names, Issuers: []certmanager.Issuer{c.first, c.second}, Storage: s}
}

// refusal is an issuer's.
func refusal(detail string) error {
	return &acme.Problem{Type: acme.ErrRejectedIdentifier, Detail: detail, Status: http.StatusForbidden}
}

// A storage that fails is no reason to ask the next issuer: neither at once, nor by whoever finds the failure written
// down.
func TestStorageFailureDoesNotLeadToTheNextIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storagetest.Faulty)
		config := c.config(store, "example.com")
		config.KeyTypes = []certmanager.KeyType{certmanager.RSA2048} // which is recorded after the lease is taken
		store.SetFaults(storagetest.Fault{On: storagetest.Save, Prefix: "work", After: 1, Err: errDisk})
		_, stop := runQuietly(t, config)
		time.Sleep(30*time.Second + time.Millisecond) // the key could not be recorded, and that is about to be
		c.wantAsked(t, "while no key can be recorded", "")
		store.SetFaults()
		time.Sleep(200 * time.Millisecond)
		stop()
		rsaKey := record.WorkKey("first", "example.com", string(certmanager.RSA2048))
		item, err := store.Load(t.Context(), rsaKey)
		if err != nil || !strings.Contains(string(item.Value), errDisk.Error()) {
			t.Fatalf("the failure was not written down: %s, %v", item.Value, err)
		}
		m, stop := runQuietly(t, config)
		defer stop()
		synctest.Wait()
		c.wantAsked(t, "after a restart, before the next attempt is due", "")
		if s := statusOf(t, m, "example.com"); s.Failure == nil || !strings.Contains(s.Failure.Err.Error(), errDisk.Error()) {
			t.Errorf("after a restart the status is %+v", s)
		}
		time.Sleep(10 * time.Minute)
		c.wantAsked(t, "when the storage is well", "first")
		if item, err := store.Load(t.Context(), rsaKey); err != nil || strings.Contains(string(item.Value), errDisk.Error()) {
			t.Errorf("the record still tells of the failure: %s, %v", item.Value, err)
		}
	})
}

// While another process has the lease, no issuer is asked, and whoever waits is told of it.
func TestHeldLeaseDoesNotLeadToTheNextIssuer(t *testing.T) {
	const words = "another process is obtaining the certificate"
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		lease := hold(t, store, workKey("first"))
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		time.Sleep(time.Minute)
		if s := statusOf(t, m, "example.com"); !strings.Contains(s.Deferred, words) || s.Failure != nil {
			t.Errorf("status %+v", s)
		}
		if _, err := ask(t, m, "example.com"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("a handshake is told %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Renew(ctx, "example.com"); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("Renew returns %v", err)
		}
		time.Sleep(time.Hour)
		c.wantAsked(t, "while another has the lease", "")
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		c.wantAsked(t, "when it is free", "first")
	})
}

// On demand, a handshake is told that another process is at work.
func TestOnDemandIsToldOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		lease := hold(t, store, workKey("first"))
		defer func() { _ = lease.Release(context.WithoutCancel(t.Context())) }()
		config := c.config(store)
		config.OnDemand = func(context.Context, certmanager.Question) error { return nil }
		m, stop := runQuietly(t, config)
		defer stop()
		time.Sleep(time.Second)
		for range 10 { // also when the manager has given up, and before
			_, err := ask(t, m, "example.com")
			if err == nil || !strings.Contains(err.Error(), "another process is obtaining the certificate") {
				t.Errorf("a handshake is told %v", err)
			}
			time.Sleep(time.Second)
		}
		c.wantAsked(t, "while another has the lease", "")
	})
}

// Under the lease, what any issuer's record has is looked at before something is ordered.
func TestCertificateOfTheSecondIssuerByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storagetest.Faulty)
		lease := hold(t, store, workKey("first"))
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		time.Sleep(time.Minute)
		// From now on the manager sees certificates only when it has the lease.
		store.SetFaults(storagetest.Fault{On: storagetest.Load, Prefix: "certificates"})
		c.second.stock(t, store, "example.com")
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		c.wantAsked(t, "while the records can't be read", "")
		store.SetFaults()
		time.Sleep(15 * time.Minute)
		c.wantAsked(t, "though there is one", "")
		if issuer := served(t, m, "example.com"); issuer != "second" {
			t.Errorf("a certificate of %q is served", issuer)
		}
	})
}

// Who failed when is kept: a restart waits as long as each of them said.
func TestRestartHonoursTheFailuresOfBothIssuers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		c.fail("first", &acme.Problem{Type: acme.ErrRateLimited, Status: http.StatusTooManyRequests, RetryAfter: 2 * time.Hour, Subproblems: []*acme.Problem{{}}})
		c.fail("second", refusal("not for you"))
		begun := time.Now()
		_, stop := runQuietly(t, c.config(store, "example.com"))
		time.Sleep(10 * time.Second)
		stop()
		c.wantAsked(t, "at first", "first second")
		for range 3 {
			_, stop := runQuietly(t, c.config(store, "example.com"))
			time.Sleep(10 * time.Second)
			stop()
		}
		c.wantAsked(t, "after restarts", "first second")
		c.fail("second", nil)
		m, stop := runQuietly(t, c.config(store, "example.com"))
		defer stop()
		if awaitValid(t, m, 1); time.Since(begun) < time.Minute {
			t.Error("the second issuer was asked before its time")
		}
		c.wantAsked(t, "when the second is due", "first second second")
	})
}

// Of two members with the same issuers, the first of which refuses, never do two issuers have an order for one name.
func TestNeverTwoIssuersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, store := newChain(t), new(storage.Memory)
		c.fail("first", refusal("not for you"))
		var mu sync.Mutex
		inFlight := make(map[string]int)
		c.alone = func(name string, entered bool) {
			mu.Lock()
			defer mu.Unlock()
			if !entered {
				inFlight[name]--
			} else if inFlight[name]++; inFlight[name] > 1 {
				t.Errorf("%s is ordered twice at once", name)
			}
		}
		names := manyNames("site%d.example", 20)
		var members []*certmanager.Manager
		for range 2 {
			m, stop := runQuietly(t, c.config(store, names...))
			defer stop()
			members = append(members, m)
		}
		for _, m := range members {
			awaitValid(t, m, len(names))
		}
		time.Sleep(time.Hour)
		if c.first.count() != 0 || c.second.count() != len(names) {
			t.Errorf("%d and %d certificates were issued, want 0 and %d", c.first.count(), c.second.count(), len(names))
		}
	})
}

// A storage that does not take, or hangs for, the answers to an issuer's challenges is no reason to ask the next one, or to make
// another order.
func TestUnstoredAnswerDoesNotLeadToTheNextIssuer(t *testing.T) {
	for _, kind := range []storagetest.Kind{storagetest.Fail, storagetest.Hang} {
		synctest.Test(t, func(t *testing.T) {
			w, second := newWorld(t), newLocalCA(t, "second")
			store := &storagetest.Faulty{Store: w.store}
			store.SetFaults(storagetest.Fault{Kind: kind, On: storagetest.Save, Prefix: "challenges", Err: errDisk})
			config := w.config("example.com")
			config.Issuers, config.Storage = append(config.Issuers, second), store
			_, stop := w.start(config)
			defer stop()
			time.Sleep(6 * time.Hour)
			if n := w.newOrders(); n != 1 || second.count() != 0 {
				t.Errorf("%v: %d orders, and %d certificates of the second issuer, want 1 and 0", kind, n, second.count())
			}
			if failed := w.firstFailure(); !errors.Is(failed.Err, certmanager.ErrStorage) {
				t.Errorf("%v: the failure is %v", kind, failed.Err)
			}
			store.SetFaults()
			if obtained := w.await(certmanager.EventObtained, "example.com", 1); obtained.Issuer == "second" {
				t.Errorf("%v: the certificate is of the second issuer", kind)
			}
		})
	}
}

// The answer to a challenge waits for that of another order, of another process, until the time is over: no other issuer is asked.
func TestWaitingForAnAnswersTurnDoesNotLeadToTheNextIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, second := newWorld(t), newLocalCA(t, "second")
		other := &solver.TLSALPN01{Storage: w.store}
		proof := acme.Proof{
			Challenge: acme.Challenge{Type: acme.TypeTLSALPN01, Token: "another"}, Identifier: acme.Identifier{Type: acme.TypeDNS, Value: "example.com"},
			KeyAuthorization: "another.key", DirectoryURL: "https://another.example/directory",
		}
		config := w.config("example.com")
		config.Issuers, config.Solvers, config.Preflight = append(config.Issuers, second), []acme.Solver{new(solver.TLSALPN01)}, certmanager.PreflightOff
		if err := other.Present(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
		_, stop := w.start(config)
		defer stop()
		for began := time.Now(); time.Since(began) < time.Hour; time.Sleep(20 * time.Second) {
			if err := other.Present(t.Context(), proof); err != nil { // as of a process that is at work
				t.Fatal(err)
			}
		}
		if failed := w.firstFailure(); !strings.Contains(failed.Err.Error(), "is cleaned up") {
			t.Errorf("the failure is %v", failed.Err)
		}
		if n := w.newOrders(); n != 1 || second.count() != 0 {
			t.Errorf("%d orders, and %d certificates of the second issuer, want 1 and 0", n, second.count())
		}
		if err := other.CleanUp(t.Context(), proof); err != nil {
			t.Fatal(err)
		}
		if obtained := w.await(certmanager.EventObtained, "example.com", 1); obtained.Issuer == "second" {
			t.Error("the certificate is of the second issuer")
		}
	})
}

// A solver that all issuers have fails: the next issuer would fare no better, and is not asked.
func TestSolverFailureDoesNotLeadToTheNextIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, second := newWorld(t), newLocalCA(t, "second")
		config := w.config("*.example.com")
		config.Issuers, config.Solvers, config.Preflight = append(config.Issuers, second), []acme.Solver{brokenDNS{}}, certmanager.PreflightOff
		m, stop := w.start(config)
		defer stop()
		time.Sleep(6 * time.Hour)
		if s := statusOf(t, m, "*.example.com"); s.Attempts < 3 || s.Failure.Kind != certmanager.FailureSolver || !strings.Contains(s.Failure.Err.Error(), "the provider refuses the token") {
			t.Errorf("%d attempts, the failure is %+v", s.Attempts, s.Failure)
		}
		if n := w.newOrders(); n != 1 || second.count() != 0 {
			t.Errorf("%d orders, and %d certificates of the second issuer, want 1 and 0", n, second.count())
		}
	})
}

// A brokenDNS can publish nothing.
type brokenDNS struct{}

func (brokenDNS) Type() string { return acme.TypeDNS01 }

func (brokenDNS) Present(context.Context, acme.Proof) error {
	return errors.New("the provider refuses the token")
}

func (brokenDNS) CleanUp(context.Context, acme.Proof) error { return nil }
