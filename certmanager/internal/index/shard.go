package index

import (
	"iter"
	"math/bits"
	"slices"
)

// A shard is a hash table with open addressing. What a look-up compares stands beside the value, so that it reads one place of memory
// and then the name's own; Go's maps have what they compare first in a place apart. A published shard is not changed.
type shard[V any] struct {
	slots []slot[V] // about half of them are vacant: there searches end
	names int       // in the slots
	depth uint8     // how many bits of the hash a name has in common with all others here
}

// A slot holds a name with its value, or is vacant if its mark is 0.
type slot[V any] struct {
	mark  uint64 // see markOf
	name  string
	value V
}

// empty returns a shard for so many names.
func empty[V any](names int, depth uint8) *shard[V] {
	return &shard[V]{slots: make([]slot[V], 2*names+1), depth: depth}
}

// hasRoom reports whether names can be added before searches become long.
func (s *shard[V]) hasRoom(names int) bool { return s.names+names <= len(s.slots)*9/16 }

// find returns the slot that holds the name, or the vacant one that it belongs in.
func (s *shard[V]) find(mark uint64, name string) *slot[V] {
	i, _ := bits.Mul64(mark, uint64(len(s.slots))) // by the high bits: the low ones have chosen the shard
	for {
		at := &s.slots[i]
		if at.mark == 0 || at.mark == mark && at.name == name {
			return at
		}
		if i++; i == uint64(len(s.slots)) {
			i = 0
		}
	}
}

// put sets a name's value. There has to be room for it.
func (s *shard[V]) put(added slot[V]) {
	at := s.find(added.mark, added.name)
	if at.mark == 0 {
		s.names++
	}
	*at = added
}

// all returns what the slots hold.
func (s *shard[V]) all() iter.Seq[slot[V]] {
	return func(yield func(slot[V]) bool) {
		for _, at := range s.slots {
			if at.mark != 0 && !yield(at) {
				return
			}
		}
	}
}

// with returns a copy that has the names added as well.
func (s *shard[V]) with(added []slot[V]) *shard[V] {
	var c *shard[V]
	if s.hasRoom(len(added)) {
		c = &shard[V]{slices.Clone(s.slots), s.names, s.depth} // a fraction of what it costs to put each name again
	} else {
		c = empty[V](s.names+len(added), s.depth)
		for at := range s.all() {
			c.put(at)
		}
	}
	for _, at := range added {
		c.put(at)
	}
	return c
}

// without returns a copy that lacks names, all of which the shard holds.
func (s *shard[V]) without(names map[string]bool) *shard[V] {
	c := empty[V](s.names-len(names), s.depth)
	for at := range s.all() {
		if !names[at.name] {
			c.put(at)
		}
	}
	return c
}

// split returns the shard with the names added as 1<<more shards, by that many more bits of the hash.
func (s *shard[V]) split(added []slot[V], more uint8) []*shard[V] {
	part := func(at slot[V]) uint64 { return at.mark >> s.depth & (1<<more - 1) }
	sizes := make([]int, 1<<more)
	for at := range s.all() {
		sizes[part(at)]++
	}
	for _, at := range added {
		sizes[part(at)]++
	}
	parts := make([]*shard[V], 1<<more)
	for i := range parts {
		parts[i] = empty[V](sizes[i], s.depth+more)
	}
	for at := range s.all() {
		parts[part(at)].put(at)
	}
	for _, at := range added {
		parts[part(at)].put(at)
	}
	return parts
}
