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

// TestRandomRemovals has names forgotten and deleted on one of two managers while both are at work on them.
func TestRandomRemovals(t *testing.T) {
	n := uint64(10_000)
	if raceDetector {
		n = 300
	}
	for seed := range n {
		synctest.Test(t, func(t *testing.T) { removeAtRandom(t, rand.New(rand.NewPCG(seed, 12))) })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func removeAtRandom(t *testing.T, r *rand.Rand) {
	const victim, other = "victim.example.com", "other.example.com"
	store, pace := new(storage.Memory), rand.New(rand.NewPCG(r.Uint64(), 0))
	var mu sync.Mutex
	takes := func() time.Duration {
		mu.Lock()
		defer mu.Unlock()
		return time.Duration(pace.IntN(3000)) * time.Millisecond
	}
	told, untold := newMember(t, store, takes, victim, other), newMember(t, store, takes, victim, other)
	stop := runAll(t, told, untold)
	defer stop()
	deletes := r.IntN(2) == 0
	if deletes || r.IntN(2) == 0 {
		for _, m := range []*member{told, untold} {
			if err := m.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if r.IntN(2) == 0 {
			time.Sleep(statusOf(t, untold.Manager, victim).Next.Sub(time.Now()))
		}
	}
	var group sync.WaitGroup
	defer group.Wait()
	nap := func(limit int) func() {
		d := time.Duration(r.IntN(limit)) * time.Millisecond
		return func() { time.Sleep(d) }
	}
	for range r.IntN(4) {
		m, soon, kind := []*member{told, untold}[r.IntN(2)], nap(4000), r.IntN(3)
		group.Go(func() {
			soon()
			switch kind {
			case 0, 1:
				_ = m.Renew(t.Context(), victim) // the name may be gone
			case 2:
				m.RenewAll(func(certmanager.Status) bool { return true })
			}
		})
	}
	nap(5000)()
	var removals sync.WaitGroup
	for range 1 + r.IntN(2) {
		soon := nap(2)
		removals.Go(func() {
			soon()
			err := error(nil)
			if deletes {
				err = told.Delete(t.Context(), victim)
			} else {
				err = told.Forget(victim)
			}
			if err != nil {
				t.Error(err)
			}
			if told.answers(t, victim) {
				t.Error("the member that was told serves it")
			}
		})
	}
	removals.Wait()
	ordered := told.ordered(victim)
	synctest.Wait()
	orderedElsewhere := untold.ordered(victim)
	if deletes && untold.answers(t, victim) {
		t.Error("the other member serves what was deleted")
	}
	time.Sleep(5 * time.Hour)
	if told.answers(t, victim) || !told.answers(t, other) || !untold.answers(t, other) || untold.answers(t, victim) == deletes {
		t.Error("after a renewal's time other names are served than should be")
	}
	if n := told.ordered(victim); n != ordered {
		t.Errorf("the member that was told has ordered %d times since", n-ordered)
	}
	if n := untold.ordered(victim); deletes && n != orderedElsewhere {
		t.Errorf("the other member has ordered %d times since", n-orderedElsewhere)
	}
	for key, err := range store.List(t.Context(), "") {
		if err != nil || deletes && strings.Contains(key, victim) {
			t.Errorf("%s is left, %v", key, err)
		}
	}
	if told.ordered(other)+untold.ordered(other) < 2 {
		t.Error("the other name was not renewed")
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
			if !strings.HasSuffix(key, "/example.org/ecdsa-p256") && !strings.HasPrefix(key, "work/first/a.example.net+") {
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
		if err := lease.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := m.Delete(t.Context(), "example.com"); err != nil {
			t.Error(err)
		}
		for key := range store.List(t.Context(), "") {
			t.Errorf("%s is left", key)
		}
	})
}
