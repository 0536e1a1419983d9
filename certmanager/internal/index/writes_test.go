package index

import (
	"crypto/tls"
	"testing"
	"time"
)

// TestLookupWaitsForNoWrite has a write hold its lock: names are looked up, counted and listed all the same.
func TestLookupWaitsForNoWrite(t *testing.T) {
	x := filled(append(names(exactFormat, 100_000), names(wildcardFormat, 1_000)...))
	x.writing.Lock()
	defer x.writing.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for name, found := range map[string]bool{"site-000007.example.com": true, "www.site-000007.example.com": true, "unknown.example.org": false} {
			if _, ok := x.Lookup(name); ok != found {
				t.Errorf("Lookup(%q) is %t", name, ok)
			}
		}
		for range x.All() {
			break
		}
		if n := x.Len(); n != 101_000 {
			t.Errorf("Len() = %d", n)
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a look-up waits for the lock of writes")
	}
}

// TestWriteCopiesOneShard has a write copy one shard, of however many names there are: all others stay as they are.
func TestWriteCopiesOneShard(t *testing.T) {
	for _, n := range []int{1_000, 100_000} {
		x := filled(names(exactFormat, n))
		for verb, write := range map[string]func(){
			"Put":       func() { x.Put("new.example.com", nil) },
			"Delete":    func() { x.Delete("site-000007.example.com") },
			"DeleteAll": func() { x.DeleteAll([]string{"site-000008.example.com"}) },
			"PutMap":    func() { x.PutMap(map[string]*tls.Certificate{"site-000009.example.com": nil}) },
		} {
			before := shardsOf(&x.current.Load().exact)
			write()
			copied := 0
			for shard, size := range shardsOf(&x.current.Load().exact) {
				if _, kept := before[shard]; !kept {
					copied += size
				}
			}
			if copied == 0 || copied > maxShard+1 {
				t.Errorf("%s among %d copies %d names", verb, n, copied)
			}
		}
	}
}

// shardsOf returns the sizes of the shards, by what is theirs alone.
func shardsOf[V any](t *table[V]) map[*slot[V]]int {
	all := make(map[*slot[V]]int)
	for shard := range t.distinct() {
		all[&shard.slots[0]] = shard.names
	}
	return all
}
