package index

import (
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
)

// maxShard is how many names a shard holds before it is split. It balances reading and writing: of shorter shards a
// writer copies less, and has more of them to list.
const maxShard = 1024

// A table is a hash table in parts, the shards: what a writer changes is one of them. Their number grows
// with the names (extendible hashing): a shard that is full is split by one more bit of the hash, and the others are
// left as they are. A published table is not changed.
type table[V any] struct {
	shards []*shard[V] // by the low bits of the hash, as many as count all; a shard that goes by fewer of them stands here repeatedly
}

// markOf returns the hash of a name with a bit set that chooses neither shard nor slot. It is not 0.
func markOf(seed maphash.Seed, name string) uint64 {
	return maphash.String(seed, name) | 1<<32
}

// place returns where the shard for a name stands. There is one.
func (t *table[V]) place(mark uint64) int { return int(mark & uint64(len(t.shards)-1)) }

// first returns the first place of the shard that stands at i.
func (t *table[V]) first(i int) int { return i & (1<<t.shards[i].depth - 1) }

func (t *table[V]) lookup(seed maphash.Seed, name string) (v V, ok bool) {
	if len(t.shards) == 0 {
		return v, false
	}
	mark := markOf(seed, name)
	at := t.shards[t.place(mark)].find(mark, name)
	return at.value, at.mark != 0
}

// with returns a table that has the names added as well, the last one of a name counting. It copies each shard that changes once.
func (t table[V]) with(added []slot[V]) table[V] {
	if len(added) == 0 {
		return t
	}
	t.shards = slices.Clone(t.shards)
	if len(t.shards) == 0 {
		t.shards = append(t.shards, empty[V](0, 0))
	}
	for i, some := range t.arrivals(added) {
		old := t.shards[i]
		total := old.names + len(some)
		if total <= maxShard {
			t.set(i, old.with(some))
			continue
		}
		more := bits.Len(uint(total) * 4 / 3 / (maxShard + 1)) // so that a part is three quarters full at most, on average
		for part, s := range old.split(some, uint8(more)) {
			t.set(i|part<<old.depth, s)
		}
	}
	return t
}

// arrivals returns the names added by the first place of the shard that they go to.
func (t table[V]) arrivals(added []slot[V]) map[int][]slot[V] {
	if len(t.shards) == 1 { // as when a server starts with all of its names
		return map[int][]slot[V]{0: added}
	}
	arrivals := make(map[int][]slot[V])
	for _, at := range added {
		i := t.first(t.place(at.mark))
		arrivals[i] = append(arrivals[i], at)
	}
	return arrivals
}

// without returns a table that lacks the names, and reports whether it held one. It copies each shard that changes once.
func (t table[V]) without(seed maphash.Seed, names []string) (table[V], bool) {
	if len(t.shards) == 0 {
		return t, false
	}
	leaving := make(map[int]map[string]bool)
	for _, name := range names {
		mark := markOf(seed, name)
		i := t.first(t.place(mark))
		if t.shards[i].find(mark, name).mark == 0 {
			continue
		}
		if leaving[i] == nil {
			leaving[i] = make(map[string]bool)
		}
		leaving[i][name] = true
	}
	if len(leaving) == 0 {
		return t, false
	}
	t.shards = slices.Clone(t.shards)
	for i, some := range leaving {
		t.set(i, t.shards[i].without(some))
	}
	return t, true
}

// set has a shard stand in all its places, of which i is one.
func (t *table[V]) set(i int, s *shard[V]) {
	for step := 1 << s.depth; len(t.shards) < step; {
		t.shards = append(t.shards, t.shards...)
	}
	for at := i & (1<<s.depth - 1); at < len(t.shards); at += 1 << s.depth {
		t.shards[at] = s
	}
}

// distinct returns the shards, each once.
func (t *table[V]) distinct() iter.Seq[*shard[V]] {
	return func(yield func(*shard[V]) bool) {
		for i, shard := range t.shards {
			if t.first(i) == i && !yield(shard) {
				return
			}
		}
	}
}
