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
	x.PutMap(map[string]V{name: v})
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
	exact, wildcard := make([]slot[V], 0, len(added)), []slot[V](nil)
	for name, v := range added {
		if rest, ok := strings.CutPrefix(name, wildcardPrefix); ok {
			wildcard = append(wildcard, slot[V]{markOf(next.seed, rest), rest, v})
		} else {
			exact = append(exact, slot[V]{markOf(next.seed, name), name, v})
		}
	}
	next.exact = next.exact.with(exact)
	next.wildcard = next.wildcard.with(wildcard)
	x.current.Store(next)
}

// Delete removes a name or wildcard, as it was put, and reports whether it was there.
func (x *Index[V]) Delete(name string) bool {
	return x.remove([]string{name})
}

// DeleteAll removes names and wildcards, as they were put, in one step: a Lookup finds all of them or none. Those that
// are not there are passed over. Each shard is copied once.
func (x *Index[V]) DeleteAll(names []string) {
	x.remove(names)
}

// remove is DeleteAll and reports whether one of the names was there.
func (x *Index[V]) remove(names []string) bool {
	x.writing.Lock()
	defer x.writing.Unlock()
	next := x.successor()
	var exact, wildcard []string
	for _, name := range names {
		if rest, ok := strings.CutPrefix(name, wildcardPrefix); ok {
			wildcard = append(wildcard, rest)
		} else {
			exact = append(exact, name)
		}
	}
	var some, more bool
	next.exact, some = next.exact.without(next.seed, exact)
	next.wildcard, more = next.wildcard.without(next.seed, wildcard)
	x.current.Store(next)
	return some || more
}

// Len returns how many names and wildcards the index holds.
func (x *Index[V]) Len() int {
	n := 0
	if s := x.current.Load(); s != nil {
		for _, t := range []*table[V]{&s.exact, &s.wildcard} {
			for shard := range t.distinct() {
				n += shard.names
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
			for at := range shard.all() {
				if !yield(at.name, at.value) {
					return
				}
			}
		}
		for shard := range s.wildcard.distinct() {
			for at := range shard.all() {
				if !yield(wildcardPrefix+at.name, at.value) {
					return
				}
			}
		}
	}
}

// successor returns a copy of the current snapshot, to be changed and published. The caller holds writing.
func (x *Index[V]) successor() *snapshot[V] {
	s := x.current.Load()
	if s == nil {
		return &snapshot[V]{seed: maphash.MakeSeed()}
	}
	next := *s
	return &next
}
