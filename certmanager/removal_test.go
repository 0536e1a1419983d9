package certmanager_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A member is a manager on a storage that others share, with an issuer of its own that counts orders.
type member struct {
	*certmanager.Manager
	ca *localCA

	mu     sync.Mutex
	orders map[string]int
}

// newMember returns a member whose issuer takes as long as the function says, and minds the end of ctx or not.
func newMember(t *testing.T, s storage.Store, takes func() time.Duration, names ...string) *member {
	t.Helper()
	m := &member{ca: newLocalCA(t, "local"), orders: make(map[string]int)}
	m.ca.change(func(ca *localCA) {
		ca.lifetime = 4 * time.Hour // a long one costs CPU for each ten minutes
		ca.work = func(r certmanager.Request) error {
			m.mu.Lock()
			m.orders[r.Identifiers[0].Value]++
			m.mu.Unlock()
			time.Sleep(takes())
			return r.Record(context.Background(), []byte("{}"))
		}
	})
	var err error
	m.Manager, err = certmanager.New(certmanager.Config{Names: names, Issuers: []certmanager.Issuer{m.ca}, Storage: s, Logger: new(book).logger()})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *member) ordered(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.orders[name]
}

// answers reports whether a handshake for the name gets a certificate; it fails the test if it gets neither that nor
// unrecognized_name.
func (m *member) answers(t *testing.T, name string) bool {
	t.Helper()
	certificate, err := m.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Errorf("a handshake for %s: %v", name, err)
	}
	return certificate != nil
}

// runAll has the managers run until stop is called.
func runAll(t *testing.T, members ...*member) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for _, m := range members {
		group.Go(func() {
			if err := m.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	return func() { cancel(); group.Wait() }
}

// TestRandomRemovals has 10,000 names forgotten or deleted on one of two managers while both are at work on them.
func TestRandomRemovals(t *testing.T) {
	t.Parallel()
	const together = 20
	n := uint64(10_000 / together)
	if raceDetector {
		n = 20
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { removeAtRandom(t, rand.New(rand.NewPCG(seed, 12)), together) })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

// removeAtRandom removes so many names, each in a course of its own.
func removeAtRandom(t *testing.T, r *rand.Rand, n int) {
	const other = "other.example.com"
	store, pace := new(storage.Memory), rand.New(rand.NewPCG(r.Uint64(), 0))
	var mu sync.Mutex
	takes := func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(pace.IntN(3000)) * time.Millisecond
	}
	names := append(siteNames(n), other)
	told, untold := newMember(t, store, takes, names...), newMember(t, store, takes, names...)
	stop := runAll(t, told, untold)
	defer stop()
	served := r.IntN(4) > 0
	if served {
		for _, m := range []*member{told, untold} {
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(2) == 0 {
			time.Sleep(time.Until(statusOf(t, untold.Manager, other).Next))
		}
	}
	var group sync.WaitGroup
	var removals []*removal
	for _, name := range names[:n] {
		c := &removal{name: name, told: told, untold: untold, deletes: served && r.IntN(2) == 0}
		own := rand.New(rand.NewPCG(r.Uint64(), 1))
		removals = append(removals, c)
		group.Go(func() { c.run(t, own) })
	}
	group.Wait()
	synctest.Wait()
	for _, c := range removals {
		c.since = untold.ordered(c.name)
		if c.deletes && untold.answers(t, c.name) {
			t.Errorf("%s: the other member serves what was deleted", c.name)
		}
	}
	time.Sleep(5 * time.Hour) // longer than a certificate is good for
	for _, c := range removals {
		c.check(t, store)
	}
	if !told.answers(t, other) || !untold.answers(t, other) || told.ordered(other)+untold.ordered(other) < 2 {
		t.Error("the other name is not served, or was not renewed")
	}
}

// A removal is the course of one name that is forgotten or deleted.
type removal struct {
	name         string
	told, untold *member
	deletes      bool
	ordered      int // on the member that was told, when it had done so
	since        int // on the other, when it had been told
}

// run removes the name, amid what others do about it.
func (c *removal) run(t *testing.T, r *rand.Rand) {
	var group sync.WaitGroup
	defer group.Wait()
	nap := func(limit int) func() {
		d := time.Duration(r.IntN(limit)) * time.Millisecond
		return func() { time.Sleep(d) }
	}
	for range r.IntN(4) {
		m, soon, all := []*member{c.told, c.untold}[r.IntN(2)], nap(4000), r.IntN(4) == 0
		group.Go(func() {
			soon()
			if all {
				m.RenewAll(func(s certmanager.Status) bool { return s.Names[0] == c.name })
			} else {
				_ = m.Renew(t.Context(), c.name) // the name may be gone
			}
		})
	}
	nap(5000)()
	var removals sync.WaitGroup
	for range 1 + r.IntN(2) {
		soon := nap(2)
		removals.Go(func() {
			soon()
			var err error
			if c.deletes {
				err = c.told.Delete(t.Context(), c.name)
			} else {
				err = c.told.Forget(c.name)
			}
			if err != nil {
				t.Error(err)
			}
			if c.told.answers(t, c.name) {
				t.Errorf("%s: the member that was told serves it", c.name)
			}
		})
	}
	removals.Wait()
	c.ordered = c.told.ordered(c.name)
}

// check compares what has become of the name after a renewal's time.
func (c *removal) check(t *testing.T, store storage.Store) {
	if c.told.answers(t, c.name) || c.untold.answers(t, c.name) == c.deletes {
		t.Errorf("%s: is served after a renewal's time, or is not (deleted: %t)", c.name, c.deletes)
	}
	if n := c.told.ordered(c.name); n != c.ordered {
		t.Errorf("%s: the member that was told has ordered %d times since", c.name, n-c.ordered)
	}
	if n := c.untold.ordered(c.name); c.deletes && n != c.since {
		t.Errorf("%s: the other member has ordered %d times since", c.name, n-c.since)
	}
	for _, prefix := range []string{"certificates/local/", "work/local/"} {
		for key, err := range store.List(t.Context(), prefix+c.name) {
			if err != nil || c.deletes {
				t.Errorf("%s is left, %v", key, err)
			}
		}
	}
}

// TestForgetEndsWaits has callers and handshakes wait for a name that is forgotten then.
func TestForgetEndsWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMember(t, new(storage.Memory), func() time.Duration { return time.Hour }, "example.com")
		m.ca.change(func(ca *localCA) { ca.work = func(certmanager.Request) error { time.Sleep(time.Minute); return nil } })
		defer runAll(t, m)()
		results := make(chan error, 2)
		go func() { results <- m.Renew(t.Context(), "example.com") }()
		go func() { results <- m.Wait(t.Context(), "example.com") }()
		time.Sleep(10 * time.Second)
		if err := m.Forget("EXAMPLE.com."); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		for range cap(results) {
			select {
			case err := <-results:
				if err == nil {
					t.Error("nil for a name that was forgotten")
				}
			default:
				t.Error("somebody waits for a name that was forgotten")
			}
		}
		if err := m.Renew(t.Context(), "example.com"); err == nil {
			t.Error("a forgotten name was renewed")
		}
		if _, known := m.Status("example.com"); known {
			t.Error("a forgotten name has a Status")
		}
		// What was issued nevertheless is stored, and comes back only with the name.
		time.Sleep(2 * time.Minute)
		if m.answers(t, "example.com") {
			t.Error("the attempt has brought a forgotten name back")
		}
		issued := m.ca.count()
		if err := m.Manage(certmanager.Subject{Names: []string{"example.com"}}); err != nil {
			t.Fatal(err)
		}
		if err := m.Wait(t.Context(), "example.com"); err != nil || m.ca.count() != issued || issued != 1 {
			t.Errorf("managed again: %v; %d certificates, and %d before", err, m.ca.count(), issued)
		}
	})
}

func TestForgetWhatIsNotThere(t *testing.T) {
	m := newMember(t, new(storage.Memory), nil, "example.com")
	if err := m.Forget("example.org", "192.0.2.1"); err != nil {
		t.Error(err)
	}
	for _, forget := range []func() error{
		func() error { return m.Forget("example.com", "no name") },
		func() error { return m.Delete(t.Context(), "example.com", "no name") },
		func() error { return new(certmanager.Manager).Forget("example.com") },
		func() error { return new(certmanager.Manager).Delete(t.Context(), "example.com") },
	} {
		if forget() == nil {
			t.Error("no error")
		}
	}
	if _, known := m.Status("example.com"); !known {
		t.Error("a name was forgotten beside a malformed one")
	}
}

// TestForgetOneOfSeveral forgets a certificate by one of its names, and none by a name that a wildcard covers.
func TestForgetOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := newLocalCA(t, "local")
		m, err := certmanager.New(certmanager.Config{
			Subjects: []certmanager.Subject{{Names: []string{"a.example.com", "b.example.com"}}, {Names: []string{"*.example.net"}}},
			Issuers:  []certmanager.Issuer{ca}, Storage: new(storage.Memory), Logger: new(book).logger(),
		})
		if err != nil {
			t.Fatal(err)
		}
		all := &member{Manager: m, ca: ca}
		defer runAll(t, all)()
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Forget("b.example.com", "www.example.net"); err != nil {
			t.Fatal(err)
		}
		if all.answers(t, "a.example.com") || all.answers(t, "b.example.com") || !all.answers(t, "www.example.net") {
			t.Error("other names are served than should be")
		}
	})
}

// TestDeleteStored deletes what no manager here manages: certificates of one name and of several, of two issuers.
func TestDeleteStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		first, second := newLocalCA(t, "first"), newLocalCA(t, "second")
		issuers := []certmanager.Issuer{first, second}
		config := certmanager.Config{
			Names:    []string{"example.com", "example.org"},
			Subjects: []certmanager.Subject{{Names: []string{"a.example.net", "b.example.net"}}},
			Issuers:  issuers, Storage: store, Logger: new(book).logger(),
		}
		for range 2 { // with the second issuer alone, and then with the first
			m, err := certmanager.New(config)
			if err != nil {
				t.Fatal(err)
			}
			stop := runAll(t, &member{Manager: m})
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := m.Renew(t.Context(), "example.com"); err != nil {
				t.Fatal(err)
			}
			stop()
			first.change((*localCA).refusing)
		}
		m, err := certmanager.New(certmanager.Config{Issuers: issuers, Storage: store, Logger: new(book).logger()})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), "example.com", "b.example.net", "nothing.example.com"); err != nil {
			t.Error(err)
		}
		for key := range store.List(t.Context(), "") {
			if !strings.HasSuffix(key, "/example.org/ecdsa-p256") && !strings.HasPrefix(key, "work/first/a.example.net+") && !strings.HasPrefix(key, "deletions/") {
				t.Errorf("%s is left", key)
			}
		}
	})
}

// TestDeleteFails has a storage that can't delete, and another process that has the lease.
func TestDeleteFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := new(storage.Memory)
		m := newMember(t, store, func() time.Duration { return 0 }, "example.com", "example.org")
		stop := runAll(t, m)
		if err := m.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		stop()
		lease, err := storage.Acquire(t.Context(), store, "work/local/example.com/ecdsa-p256", time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = m.Delete(ctx, "example.com", "example.org")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(fmt.Sprint(err), "example.com: another process") || strings.Contains(fmt.Sprint(err), "example.org") {
			t.Errorf("error %v", err)
		}
		for key := range store.List(t.Context(), "certificates") {
			t.Errorf("%s waits for the lease of the work", key)
		}
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		for key := range store.List(t.Context(), "") {
			if !strings.HasPrefix(key, "deletions/") {
				t.Errorf("%s is left", key)
			}
		}
	})
}

// A name on demand is forgotten while its certificate is read from the storage.
func TestForgottenWhileRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		s := &storagetest.Faulty{Store: w.store}
		config := w.onDemandFrom(newLocalCA(t, "ca"))
		config.Storage = s
		m, stop := w.running(config)
		if issuer := served(t, m, "example.com"); issuer != "ca" {
			t.Fatal(issuer)
		}
		stop()
		m, stop = w.running(config)
		defer stop()
		s.SetFaults(storagetest.Fault{Kind: storagetest.Slow, On: storagetest.Load, Prefix: "certificates", Delay: 2 * time.Second})
		var client sync.WaitGroup
		client.Go(func() {
			if c, err := ask(t, m, "example.com"); err == nil {
				t.Errorf("%v is served, which was forgotten", c)
			}
		})
		time.Sleep(time.Second)
		if err := m.Forget("example.com"); err != nil {
			t.Error(err)
		}
		client.Wait()
		s.SetFaults()
		if issuer := served(t, m, "example.com"); issuer != "ca" {
			t.Error(issuer)
		}
	})
}
