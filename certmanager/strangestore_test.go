package certmanager_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/everseal/everseal/certmanager"
	"github.com/everseal/everseal/storage"
	"github.com/everseal/everseal/storage/storagetest"
)

// A pickyStore refuses saves while refuse says so.
type pickyStore struct {
	storage.Store

	mu     sync.Mutex
	refuse func(key string, value []byte) bool
}

func (p *pickyStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	p.mu.Lock()
	refuse := p.refuse
	p.mu.Unlock()
	if refuse != nil && refuse(key, value) {
		return "", errDisk
	}
	return p.Store.Save(ctx, key, value, old)
}

func (p *pickyStore) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = nil
}

// leaseValue returns what the record of a lease carries.
func leaseValue(record []byte) string {
	_, value, _ := strings.Cut(string(record), "\n")
	return value
}

// growing returns a pickyStore that takes of each lease no longer value than the one before.
func growing(s storage.Store) *pickyStore {
	return &pickyStore{Store: s, refuse: func(key string, value []byte) bool {
		item, err := s.Load(context.Background(), key)
		return strings.HasPrefix(key, "work/") && (err == nil || leaseValue(value) != "") && len(leaseValue(value)) > len(leaseValue(item.Value))
	}}
}

// oneASecond returns a pickyStore that takes one write a second of each key.
func oneASecond(s storage.Store) *pickyStore {
	last := make(map[string]time.Time)
	var mu sync.Mutex
	return &pickyStore{Store: s, refuse: func(key string, _ []byte) bool {
		mu.Lock()
		defer mu.Unlock()
		now := time.Now()
		if now.Sub(last[key]) < time.Second {
			return true
		}
		last[key] = now
		return false
	}}
}

// almostFull returns a pickyStore that takes no value of more bytes than that.
func almostFull(s storage.Store, most int) *pickyStore {
	return &pickyStore{Store: s, refuse: func(_ string, value []byte) bool { return len(value) > most }}
}

// A fullDisk has few pages left, each for 4 KiB of one record.
type fullDisk struct {
	storage.Store

	mu    sync.Mutex
	left  int            // none is less than zero
	taken map[string]int // by records that were made since; nil: it is not full any more
}

func (d *fullDisk) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	const page = 4 << 10
	d.mu.Lock()
	defer d.mu.Unlock()
	pages := (len(value) + page - 1) / page
	if d.taken != nil && pages > d.left {
		return "", errDisk // a record is written beside the one that it replaces
	}
	revision, err := d.Store.Save(ctx, key, value, old)
	if err == nil && d.taken != nil {
		d.left, d.taken[key] = d.left+d.taken[key]-pages, pages
	}
	return revision, err
}

func (d *fullDisk) Delete(ctx context.Context, key string, old storage.Revision) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	err := d.Store.Delete(ctx, key, old)
	if err == nil {
		d.left += d.taken[key]
		delete(d.taken, key)
	}
	return err
}

func (d *fullDisk) heal() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.taken = nil
}

// withoutOrder returns a pickyStore that takes the key of a certificate and not the order's URL.
func withoutOrder(s storage.Store) *pickyStore {
	return &pickyStore{Store: s, refuse: func(_ string, value []byte) bool { return strings.Contains(string(value), "orderURL") }}
}

// A forgetfulStore takes writes below "work" and loses them after a while: what was there before is there again.
type forgetfulStore struct {
	storage.Store
	after time.Duration

	mu     sync.Mutex
	writes int
	kept   map[string]forgettable // nil: nothing is forgotten
}

type forgettable struct {
	storage.Item
	written time.Time
}

func (f *forgetfulStore) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept = nil
}

// remembered returns what is not forgotten yet. The caller holds f.mu.
func (f *forgetfulStore) remembered(ctx context.Context, key string) (storage.Item, error) {
	if kept, ok := f.kept[key]; ok && time.Since(kept.written) < f.after {
		return kept.Item, nil
	}
	return f.Store.Load(ctx, key)
}

func (f *forgetfulStore) Load(ctx context.Context, key string) (storage.Item, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.remembered(ctx, key)
}

func (f *forgetfulStore) Save(ctx context.Context, key string, value []byte, old storage.Revision) (storage.Revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kept == nil || !strings.HasPrefix(key, "work/") {
		return f.Store.Save(ctx, key, value, old)
	}
	item, err := f.remembered(ctx, key)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if item.Revision != old {
		return "", storage.Conflict(key)
	}
	f.writes++
	revision := storage.Revision(fmt.Sprintf("forgettable-%d", f.writes))
	f.kept[key] = forgettable{storage.Item{Value: value, Revision: revision}, time.Now()}
	return revision, nil
}

// forgetting returns a store that forgets after that time.
func forgetting(s storage.Store, after time.Duration) *forgetfulStore {
	return &forgetfulStore{Store: s, after: after, kept: make(map[string]forgettable)}
}

// A healable store is one that something is wrong with until it is healed.
type healable interface {
	storage.Store
	heal()
}

// An ambiguousStore has its answers lost.
type ambiguousStore struct{ *storagetest.Faulty }

func (a ambiguousStore) heal() { a.SetFaults() }

// strangeStores are what storages have been seen to do, by name, over a sound one.
func strangeStores() map[string]func(storage.Store) healable {
	stores := map[string]func(storage.Store) healable{
		"the lease but not the journal":   func(s storage.Store) healable { return growing(s) },
		"one write a second for each key": func(s storage.Store) healable { return oneASecond(s) },
		"the key but not the order's URL": func(s storage.Store) healable { return withoutOrder(s) },
		"a disk with two pages left": func(s storage.Store) healable {
			return &fullDisk{Store: s, left: 2, taken: make(map[string]int)}
		},
		"no answers to the challenges":     func(s storage.Store) healable { return withoutSaves(s, "challenges") },
		"work that is forgotten at once":   func(s storage.Store) healable { return forgetting(s, 0) },
		"work that is forgotten in 100 ms": func(s storage.Store) healable { return forgetting(s, 100*time.Millisecond) },
		"work that is forgotten in 3 s":    func(s storage.Store) healable { return forgetting(s, 3*time.Second) },
		"work that is forgotten in 5 min":  func(s storage.Store) healable { return forgetting(s, 5*time.Minute) },
	}
	for _, most := range []int{200, 500, 900, 1500, 2200} {
		stores[fmt.Sprintf("at most %d bytes", most)] = func(s storage.Store) healable { return almostFull(s, most) }
	}
	for _, prefix := range []string{"work", "certificates", "challenges"} {
		stores["ambiguous saves of "+prefix] = func(s storage.Store) healable {
			return ambiguousStore{failingSaves(s, prefix, 0, true)}
		}
	}
	return stores
}

func withoutSaves(s storage.Store, prefix string) *pickyStore {
	return &pickyStore{Store: s, refuse: func(key string, _ []byte) bool { return storage.Within(key, prefix) }}
}

// TestOrdersWithStrangeStores counts what a CA is asked for in a day while its answers can't be kept, or are not found
// again: two orders an hour at the most, also if it does not get to the end of one. When all is well again the
// certificate comes, and is stored.
func TestOrdersWithStrangeStores(t *testing.T) {
	for name, open := range strangeStores() {
		for _, down := range []string{"nothing", "finalize"} {
			t.Run(name+"/"+down+" is down", func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { orderWithStrangeStore(t, open, down) })
			})
		}
	}
}

// orderWithStrangeStore is for a CA that does not answer requests for that resource.
func orderWithStrangeStore(t *testing.T, open func(storage.Store) healable, down string) {
	w := newWorld(t)
	front, strange := w.front(), open(w.store)
	front.answerWith(only(down, func(r *http.Request) (*http.Response, error) {
		time.Sleep(5 * time.Second)
		return reply(r, http.StatusInternalServerError, "text/plain", "no"), nil
	}))
	config := w.config("example.com")
	config.Storage, acmeOf(config).HTTPClient = strange, front.client()
	_, stop := w.start(config)
	defer stop()
	hours := 24
	if raceDetector {
		hours = 6 // each is as the one before
	}
	w.checkOrders(t, hours)
	strange.heal()
	front.answerWith(nil)
	healed := time.Now()
	for w.keys("certificates") == 0 && time.Since(healed) < time.Hour {
		time.Sleep(time.Second)
	}
	t.Logf("%d orders; stored %v after all was well", w.newOrders(), time.Since(healed))
	if _, err := w.handshake(t.Context(), "example.com"); err != nil || w.keys("certificates") != 1 {
		t.Errorf("an hour after all was well: %d certificates are stored, %v", w.keys("certificates"), err)
	}
	if n := len(w.ca.Certificates()); n != 1 {
		t.Errorf("the CA issued %d certificates, want 1", n)
	}
}

// checkOrders lets so many hours pass, and checks how often the CA was asked for an order in each.
func (w *world) checkOrders(t *testing.T, hours int) {
	t.Helper()
	before, most := w.newOrders(), 0
	for range hours {
		time.Sleep(time.Hour)
		n := w.newOrders()
		most, before = max(most, n-before), n
	}
	if most > 2 {
		t.Errorf("%d orders within an hour, want two at most (%d in %d hours)", most, before, hours)
	}
}

// TestFailuresWithForgetfulStores has a CA refuse a name, and the storage forget that it did.
func TestFailuresWithForgetfulStores(t *testing.T) {
	for _, after := range []time.Duration{0, 100 * time.Millisecond, 10 * time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			front := w.front()
			front.answerWith(only("newOrder", func(r *http.Request) (*http.Response, error) {
				return reply(r, http.StatusBadRequest, "application/problem+json", `{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no"}`), nil
			}))
			strange := forgetting(w.store, after)
			config := w.config("example.com")
			config.Storage, acmeOf(config).HTTPClient = strange, front.client()
			_, stop := w.start(config)
			defer stop()
			time.Sleep(24 * time.Hour)
			if n := front.count("newOrder"); n > 5 {
				t.Errorf("failures are forgotten after %v: %d orders in a day, want those at once, after 1, 10 and 100 minutes, and a day", after, n)
			}
			strange.heal()
			front.answerWith(nil)
			w.await(certmanager.EventObtained, "example.com", 1)
		})
	}
}

// TestNoOrderWithoutRecord has the storage take leases and no key of a certificate: for a key that nobody would find again
// nothing is ordered, however often it is tried. A storage that says it has taken the key, and has not, is found out by the
// write after the order, which is resumed from then on.
func TestNoOrderWithoutRecord(t *testing.T) {
	for _, test := range []struct {
		name string
		open func(storage.Store) healable
		most int // orders
	}{
		{"no journal", func(s storage.Store) healable { return growing(s) }, 0},
		{"at most 200 bytes", func(s storage.Store) healable { return almostFull(s, 200) }, 0},
		{"forgotten at once", func(s storage.Store) healable { return forgetting(s, 0) }, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			config := w.config("example.com")
			config.Storage = test.open(w.store)
			_, stop := w.start(config)
			defer stop()
			time.Sleep(24 * time.Hour)
			if n := w.newOrders(); n > test.most {
				t.Errorf("%s: %d orders, want %d at most", test.name, n, test.most)
			}
		})
	}
}
