package index

import (
	"hash/maphash"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

const wildcardPrefix = "*."

// An Index maps names to values, for one look-up in each handshake. Names are compared byte by byte: those put
// and those looked up are lower case, A-labels for international ones, without a final dot. Names that begin with
// "*." stand for every name with one label in place of the asterisk.
//
// The zero Index is empty and ready for use. All methods may be called at the same time. An Index must not be copied
// after first use.
type Index[V any] struct {
	current atomic.Pointer[snapshot[V]] // nil until something is put
	writing sync.Mutex                  // held from the load of current to the store of its successor
}

// A snapshot is not changed once it is published.
type snapshot[V any] struct {
	seed     maphash.Seed
	exact    table[V]
	wildcard table[V] // "*.example.com" under "example.com"
}

// place returns the table that holds a name as it was put, and the name's key in there.
func (s *snapshot[V]) place(name string) (t *table[V], key string) {
	if rest, ok := strings.CutPrefix(name, wildcardPrefix); ok {
		return &s.wildcard, rest
	}
	return &s.exact, name
}

// Lookup returns the value for the name that a client asks for: that of the name itself, else that of the wildcard
// that covers it. It reports false, with V's zero value, if there is neither.
func (x *Index[V]) Lookup(name string) (V, bool) {
	var none V
	s := x.current.Load()
	if s == nil {
		return none, false
	}
	if v, ok := s.exact.lookup(s.seed, name); ok {
		return v, true
	}
	dot := strings.IndexByte(name, '.')
	if dot <= 0 { // a wildcard stands for a label, not for the want of one
		return none, false
	}
	return s.wildcard.lookup(s.seed, name[dot+1:])
}

// Put sets the value of a name or wildcard, in place of the one it had. It copies one shard; use PutAll for many
// names.
func (x *Index[V]) Put(name string, v V) {
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.successor()
	t, key := next.place(name)
	*t = t.clone()
	i := t.index(next.seed, key)
	if len(t.shards) > 0 && len(t.shards[i]) > 0 && len(t.shards[i]) < maxShard {
		t.set(i, t.depths[i], maps.Clone(t.shards[i]))
	} else {
		t.own(next.seed, i, 1)
	}
	t.shards[t.index(next.seed, key)][key] = v
	x.current.Store(next)
}

// PutAll is Put for every pair of the sequence, the last one of a name counting, in one step: a Lookup finds all of
// them or none. It reads the sequence to its end before it changes anything.
func (x *Index[V]) PutAll(values iter.Seq2[string, V]) {
	// Collected without the lock: the sequence is the caller's code and may use this Index.
	x.PutMap(maps.Collect(values))
}

// PutMap is PutAll for the pairs of a map, which it only reads.
func (x *Index[V]) PutMap(added map[string]V) {
	if len(added) == 0 {
		return
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.successor()
	next.exact, next.wildcard = next.exact.clone(), next.wildcard.clone()
	type shard struct {
		table *table[V]
		first int
	}
	arrivals := make(map[shard]int)
	for name := range added {
		t, key := next.place(name)
		at := shard{table: t}
		if len(t.shards) > 0 {
			at.first = t.first(t.index(next.seed, key))
		}
		arrivals[at]++
	}
	for at, n := range arrivals {
		at.table.own(next.seed, at.first, n)
	}
	for name, v := range added {
		t, key := next.place(name)
		t.shards[t.index(next.seed, key)][key] = v
	}
	x.current.Store(next)
}

// Delete removes a name or wildcard, as it was put, and reports whether it was there.
func (x *Index[V]) Delete(name string) bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	s := x.current.Load()
	if s == nil {
		return false
	}
	t, key := s.place(name)
	if _, held := t.lookup(s.seed, key); !held {
		return false
	}
	next := x.successor()
	t, _ = next.place(name)
	*t = t.clone()
	i := t.index(next.seed, key)
	left := resized(t.shards[i], len(t.shards[i])) // an index that shrinks gives its memory back
	delete(left, key)
	t.set(i, t.depths[i], left)
	x.current.Store(next)
	return true
}

// DeleteAll removes names and wildcards, as they were put, in one step: a Lookup finds all of them or none. Those that
// are not there are passed over. Each shard is copied once.
func (x *Index[V]) DeleteAll(names []string) {
	x.writing.Lock()
	defer x.writing.Unlock()
	if x.current.Load() == nil || len(names) == 0 {
		return
	}
	next := x.successor()
	next.exact, next.wildcard = next.exact.clone(), next.wildcard.clone()
	type place struct {
		table *table[V]
		shard int
	}
	leaving := make(map[place][]string)
	for _, name := range names {
		t, key := next.place(name)
		if _, held := t.lookup(next.seed, key); held {
			at := place{t, t.first(t.index(next.seed, key))}
			leaving[at] = append(leaving[at], key)
		}
	}
	for at, keys := range leaving {
		old := at.table.shards[at.shard]
		left := make(map[string]V, max(len(old)-len(keys), 0))
		gone := make(map[string]bool, len(keys))
		for _, key := range keys {
			gone[key] = true
		}
		for key, v := range old {
			if !gone[key] {
				left[key] = v
			}
		}
		at.table.set(at.shard, at.table.depths[at.shard], left)
	}
	x.current.Store(next)
}

// Len returns how many names and wildcards the index holds.
func (x *Index[V]) Len() int {
	n := 0
	if s := x.current.Load(); s != nil {
		for _, t := range []*table[V]{&s.exact, &s.wildcard} {
			for shard := range t.distinct() {
				n += len(shard)
			}
		}
	}
	return n
}

// All returns the names and wildcards, as they were put, with their values, in no particular order. Each iteration
// sees the index as it is when it begins, whatever is written meanwhile.
func (x *Index[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		s := x.current.Load()
		if s == nil {
			return
		}
		for shard := range s.exact.distinct() {
			for name, v := range shard {
				if !yield(name, v) {
					return
				}
			}
		}
		for shard := range s.wildcard.distinct() {
			for rest, v := range shard {
				if !yield(wildcardPrefix+rest, v) {
					return
				}
			}
		}
	}
}

// successor returns a snapshot to be changed and published, with the tables of the current one: those to be changed
// have to be cloned first. The caller holds writing.
func (x *Index[V]) successor() *snapshot[V] {
	s := x.current.Load()
	if s == nil {
		return &snapshot[V]{seed: maphash.MakeSeed()}
	}
	next := *s
	return &next
}
