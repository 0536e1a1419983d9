package certmanager

import (
	"fmt"
	"runtime"
	"testing"
)

// Numbers of certificates that are managed, of which half are in memory.
var evictedOf = []int{1_000, 100_000}

// fullResidents returns the residents with no room for any more of n entries than half of them, and one that is to come in.
func fullResidents(t testing.TB, n int) (r *residents, all []*entry, next *entry) {
	t.Helper()
	r, all = residentsOf(t, n/2, n)
	for _, e := range all[:n/2] {
		r.add(e)
	}
	return r, all[:n/2], all[n/2]
}

// TestEvictionCostsTheSame is defect 13 of a peer: there an eviction goes through all certificates. Here one that comes in has one
// entry looked at, which leaves, and if all were asked for lately, 256 looked at and none evicted, however many there are.
func TestEvictionCostsTheSame(t *testing.T) {
	for _, n := range evictedOf {
		r, all, next := fullResidents(t, n)
		for _, e := range all {
			e.roles.set(used)
		}
		r.add(next)
		if looked, evicted := n/2-rolesOf(all, used), n/2-len(loadedOf(all)); looked != maxSteps || evicted != 0 {
			t.Errorf("of %d, all asked for lately, %d are looked at and %d evicted, want %d and none", n, looked, evicted, maxSteps)
		}

		r, all, next = fullResidents(t, n)
		first := r.ring[r.hand]
		if r.add(next); r.hand != 0 || first.served.Load() != nil || len(loadedOf(all)) != n/2-1 {
			t.Errorf("of %d, none asked for lately, %d were passed by, and %d are in memory beside the new one", n, r.hand, len(loadedOf(all)))
		}
		next = first

		const evictions = 1000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range evictions {
			next = replaceResident(r, next)
		}
		runtime.ReadMemStats(&after)
		if each := (after.TotalAlloc - before.TotalAlloc) / evictions; each > 1024 {
			t.Errorf("of %d, an eviction takes %d bytes", n, each)
		}
	}
}

// replaceResident has an entry come into memory, and returns the one that leaves it.
func replaceResident(r *residents, in *entry) (out *entry) {
	out = r.ring[r.hand]
	in.served.Store(out.served.Load()) // which one is no matter
	r.add(in)
	return out
}

// rolesOf returns how many entries have a role.
func rolesOf(all []*entry, some role) (n int) {
	for _, e := range all {
		if e.roles.has(some) {
			n++
		}
	}
	return n
}

// BenchmarkEvict has certificates come into memory in place of others.
func BenchmarkEvict(b *testing.B) {
	for _, n := range evictedOf {
		b.Run(fmt.Sprintf("certs=%d", n), func(b *testing.B) {
			r, _, next := fullResidents(b, n)
			b.ReportAllocs()
			for b.Loop() {
				next = replaceResident(r, next)
			}
		})
	}
}
