package index

import (
	"hash/maphash"
	"iter"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
)

// shardCount balances reading and writing: more shards make the copies of writers shorter, and keep the maps of a
// small index so short that reading them is slower than hashing. It is a power of two.
const shardCount = 64

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
	exact    [shardCount]map[string]V
	wildcard [shardCount]map[string]V // "*.example.com" under "example.com"
}

func (s *snapshot[V]) shard(name string) int {
	return int(maphash.String(s.seed, name) % shardCount)
}

// place returns the shard that holds a name as it was put, and the name's key in there.
func (s *snapshot[V]) place(name string) (shard *map[string]V, key string) {
	if rest, ok := strings.CutPrefix(name, wildcardPrefix); ok {
		return &s.wildcard[s.shard(rest)], rest
	}
	return &s.exact[s.shard(name)], name
}

// Lookup returns the value for the name that a client asks for: that of the name itself, else that of the wildcard
// that covers it. It reports false, with V's zero value, if there is neither.
func (x *Index[V]) Lookup(name string) (V, bool) {
	var none V
	s := x.current.Load()
	if s == nil {
		return none, false
	}
	if v, ok := s.exact[s.shard(name)][name]; ok {
		return v, true
	}
	dot := strings.IndexByte(name, '.')
	if dot <= 0 { // a wildcard stands for a label, not for the want of one
		return none, false
	}
	rest := name[dot+1:]
	v, ok := s.wildcard[s.shard(rest)][rest]
	return v, ok
}

// Put sets the value of a name or wildcard, in place of the one it had. It copies one shard; use PutAll for many
// names.
func (x *Index[V]) Put(name string, v V) {
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.successor()
	shard, key := next.place(name)
	if *shard == nil {
		*shard = map[string]V{key: v}
	} else {
		*shard = maps.Clone(*shard)
		(*shard)[key] = v
	}
	x.current.Store(next)
}

// PutAll is Put for every pair of the sequence, the last one of a name counting, in one step: a Lookup finds all of
// them or none. It reads the sequence to its end before it changes anything.
func (x *Index[V]) PutAll(values iter.Seq2[string, V]) {
	// Collected without the lock: the sequence is the caller's code and may use this Index.
	added := maps.Collect(values)
	if len(added) == 0 {
		return
	}
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.successor()
	arrivals := make(map[*map[string]V]int)
	for name := range added {
		shard, _ := next.place(name)
		arrivals[shard]++
	}
	for shard, n := range arrivals {
		*shard = resized(*shard, len(*shard)+n)
	}
	for name, v := range added {
		shard, key := next.place(name)
		(*shard)[key] = v
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
	if shard, key := s.place(name); !contains(*shard, key) {
		return false
	}
	next := x.successor()
	shard, key := next.place(name)
	// Not maps.Clone, whose copies are as large as the map ever was: an index that shrinks gives its memory back.
	left := resized(*shard, len(*shard))
	delete(left, key)
	*shard = left
	x.current.Store(next)
	return true
}

// Len returns how many names and wildcards the index holds.
func (x *Index[V]) Len() int {
	n := 0
	if s := x.current.Load(); s != nil {
		for i := range shardCount {
			n += len(s.exact[i]) + len(s.wildcard[i])
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
		for i := range shardCount {
			for name, v := range s.exact[i] {
				if !yield(name, v) {
					return
				}
			}
			for rest, v := range s.wildcard[i] {
				if !yield(wildcardPrefix+rest, v) {
					return
				}
			}
		}
	}
}

// successor returns a snapshot to be changed and published, with the shards of the current one: those to be changed
// have to be copied first. The caller holds writing.
func (x *Index[V]) successor() *snapshot[V] {
	s := x.current.Load()
	if s == nil {
		return &snapshot[V]{seed: maphash.MakeSeed()}
	}
	next := *s
	return &next
}

// resized returns a copy of a map with room for n names.
func resized[V any](m map[string]V, n int) map[string]V {
	c := make(map[string]V, n)
	maps.Copy(c, m)
	return c
}

func contains[V any](m map[string]V, key string) bool {
	_, ok := m[key]
	return ok
}
