package index

import (
	"hash/maphash"
	"iter"
	"maps"
	"math/bits"
	"slices"
)

// maxShard is how many names a shard holds before it is split. It balances reading and writing: of shorter shards a
// writer copies less, and has more of them to list.
const maxShard = 1024

// A table is a hash table whose parts, the shards, are maps: what a writer changes is one of them. Their number grows
// with the names (extendible hashing): a shard that is full is split by one more bit of the hash, and the others are
// left as they are. A published table is not changed.
type table[V any] struct {
	shards []map[string]V // by the low bits of the hash, as many as count all; a shard that goes by fewer of them stands here repeatedly
	depths []uint8        // how many bits each shard goes by
}

// clone returns a table with the same shards, to be changed: each shard that changes has to be copied first.
func (t *table[V]) clone() table[V] {
	return table[V]{slices.Clone(t.shards), slices.Clone(t.depths)}
}

// index returns the place of the shard that holds the name, if any does.
func (t *table[V]) index(seed maphash.Seed, name string) int {
	if len(t.shards) <= 1 {
		return 0
	}
	return int(maphash.String(seed, name) & uint64(len(t.shards)-1))
}

func (t *table[V]) lookup(seed maphash.Seed, name string) (V, bool) {
	if len(t.shards) == 0 {
		var none V
		return none, false
	}
	v, ok := t.shards[t.index(seed, name)][name]
	return v, ok
}

// first returns the first place of the shard that stands at i.
func (t *table[V]) first(i int) int { return i & (1<<t.depths[i] - 1) }

// set has a shard that goes by depth bits stand in all its places, of which i is one.
func (t *table[V]) set(i int, depth uint8, shard map[string]V) {
	for step := 1 << depth; len(t.shards) < step; {
		t.shards, t.depths = append(t.shards, t.shards...), append(t.depths, t.depths...)
	}
	for at := i & (1<<depth - 1); at < len(t.shards); at += 1 << depth {
		t.shards[at], t.depths[at] = shard, depth
	}
}

// own copies the shard at i, with room for n names more, or splits it into copies if these are too many for one.
func (t *table[V]) own(seed maphash.Seed, i, n int) {
	if len(t.shards) == 0 {
		t.shards, t.depths = make([]map[string]V, 1), make([]uint8, 1)
	}
	old, depth := t.shards[i], t.depths[i]
	total := len(old) + n
	if total <= maxShard {
		t.set(i, depth, resized(old, total))
		return
	}
	more := bits.Len(uint(total) * 4 / 3 / (maxShard + 1)) // so that a part is three quarters full at most, on average
	low := t.first(i)
	for part := range 1 << more {
		t.set(low|part<<depth, depth+uint8(more), make(map[string]V, total>>more))
	}
	for name, v := range old {
		t.shards[t.index(seed, name)][name] = v
	}
}

// distinct returns the shards, each once.
func (t *table[V]) distinct() iter.Seq[map[string]V] {
	return func(yield func(map[string]V) bool) {
		for i, shard := range t.shards {
			if t.first(i) == i && !yield(shard) {
				return
			}
		}
	}
}

// resized returns a copy of a map with room for n names. Not maps.Clone, whose copies are as large as the map ever was.
func resized[V any](m map[string]V, n int) map[string]V {
	c := make(map[string]V, n)
	maps.Copy(c, m)
	return c
}
