package count

import (
	"reflect"
	"sync/atomic"
)

// MaxKinds is how many kinds of thing a Spread can count.
const MaxKinds = 8

const (
	shardBits = 6
	shards    = 1 << shardBits
	cacheLine = 128 // bytes: two lines of most processors, which fetch them in pairs
)

// A Spread counts things of some kinds that come on all processors at once. Each is counted in a place that is chosen by
// where in memory it lies, so that processors seldom want the same one, for they allocate from spans of their own: it takes
// no lock and makes no allocation. The zero value is ready.
type Spread struct {
	shards [shards]shard
}

type shard struct {
	kinds [MaxKinds]atomic.Int64
	_     [cacheLine - 8*MaxKinds]byte
}

// Add counts a thing, to which it is given a pointer, of a kind, which is less than MaxKinds.
func (s *Spread) Add(kind uint8, thing any) {
	const span = 13 // bits of an address within one: there are objects of one size and one processor
	place := uint32(reflect.ValueOf(thing).Pointer()>>span) * 0x9E3779B9 >> (32 - shardBits)
	s.shards[place].kinds[kind%MaxKinds].Add(1)
}

// Count returns how many of the kind were counted.
func (s *Spread) Count(kind uint8) (n int64) {
	for i := range s.shards {
		n += s.shards[i].kinds[kind%MaxKinds].Load()
	}
	return n
}
