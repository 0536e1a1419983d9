package certmanager

import (
	"fmt"
	"testing"
	"time"

	"github.com/everseal/everseal/certmanager/internal/lifecycle"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// residentsOf returns the entries of n names, all with a certificate, and the room for some of them.
func residentsOf(t testing.TB, most, n int) (*residents, []*entry) {
	t.Helper()
	r, all := &residents{most: most}, make([]*entry, n)
	for i := range all {
		all[i] = newEntry(*subjectOf(fmt.Sprint(i, ".example.com")), managed)
		all[i].offer(certificateFor90Days())
		all[i].progress.finish(outcome{kind: lifecycle.Loaded})
	}
	return r, all
}

func certificateFor90Days() *record.Certificate {
	now := time.Now()
	return &record.Certificate{Chain: [][]byte{nil}, Meta: record.Meta{Obtained: now}, NotBefore: now, End: now.Add(90 * 24 * time.Hour)}
}

func loadedOf(all []*entry) (loaded []int) {
	for i, e := range all {
		if e.served.Load() != nil {
			loaded = append(loaded, i)
		}
		if e.held() == nil {
			panic("nothing is known of it")
		}
	}
	return loaded
}

// TestSecondChance evicts what is not asked for, and keeps what is.
func TestSecondChance(t *testing.T) {
	r, all := residentsOf(t, 10, 100)
	for i, e := range all {
		r.add(e)
		for _, busy := range all[:3] {
			busy.roles.set(used)
		}
		if n := len(loadedOf(all[:i+1])); n > 10 {
			t.Fatalf("%d of %d are in memory", n, i+1)
		}
	}
	if loaded := loadedOf(all); len(loaded) != 10 || loaded[0] != 0 || loaded[1] != 1 || loaded[2] != 2 {
		t.Errorf("in memory are %v, want those that are asked for and seven others", loaded)
	}
	r.read(errNotRunning)
	for _, e := range all {
		e.offer(certificateFor90Days())
		r.add(e)
	}
	if n := len(loadedOf(all)); n != 100 {
		t.Errorf("%d are in memory, want all when the storage can't be read", n)
	}
	r.read(nil)
	for range 10 {
		r.add(all[0])
	}
	if n := len(loadedOf(all)); n != 10 {
		t.Errorf("%d are in memory when it can be read again", n)
	}
}

// TestNotEvicted has entries be in need of their certificates.
func TestNotEvicted(t *testing.T) {
	for name, need := range map[string]func(*entry){
		"not stored":              func(e *entry) { e.roles.set(unstored) },
		"waited for":              func(e *entry) { e.roles.set(wanted) },
		"read for handshakes":     func(e *entry) { e.roles.set(pinned) },
		"its renewal is underway": func(e *entry) { e.begin(func(error) {}) },
	} {
		_, all := residentsOf(t, 1, 1)
		need(all[0])
		if all[0].evict() || all[0].served.Load() == nil {
			t.Errorf("%s: it is evicted", name)
		}
	}
	r, all := residentsOf(t, 1, 3)
	r.add(all[0])
	all[0].roles.unset(managed) // it is managed no more
	all[0].roles.set(used)
	r.add(all[1])
	if len(r.ring) != 1 || r.ring[0] != all[1] {
		t.Errorf("what is not managed is kept among %d", len(r.ring))
	}
}

// TestUsedNamesCostNothing shows that handshakes take no detour for names that are asked for, nor the first time an
// allocation.
func TestUsedNamesCostNothing(t *testing.T) {
	m, err := New(Config{Issuers: []Issuer{&ACME{DirectoryURL: "https://ca.example.com/directory"}}, Storage: new(storage.Memory), MaxLoaded: 1})
	if err != nil {
		t.Fatal(err)
	}
	added, err := m.catalogue.add([]subject{*subjectOf("example.com")})
	if err != nil {
		t.Fatal(err)
	}
	e := added[0]
	e.offer(certificateFor90Days())
	if e.roles.areUsual() {
		t.Error("it counts as asked for before it is")
	}
	hello := clientHello(t)
	if n := testing.AllocsPerRun(100, func() {
		e.roles.unset(used)
		if c, err := m.GetCertificate(hello); c == nil || err != nil {
			t.Error(err)
		}
	}); n != 0 || !e.roles.areUsual() {
		t.Errorf("%v allocations", n)
	}
	now := time.Now()
	e.offer(&record.Certificate{Chain: [][]byte{nil}, Meta: record.Meta{Obtained: now.Add(time.Second)}, NotBefore: now.AddDate(0, -4, 0), End: now.Add(-time.Hour)})
	if e.roles.areUsual() {
		t.Error("nobody is to look at the clock when a certificate may have expired")
	}
}
