package count

import (
	"math/rand/v2"
	"sync/atomic"
)

// MaxKinds is how many kinds of thing a Spread can count.
const MaxKinds = 8

const (
	shards    = 32
	cacheLine = 128 // bytes: two lines of most processors, which fetch them in pairs
)

// A Spread counts things of some kinds that come on all processors at once. Each is counted in a place that is chosen by
// chance, so that processors seldom want the same one: it takes no lock and makes no allocation. The zero value is ready.
type Spread struct {
	shards [shards]shard
}

type shard struct {
	kinds [MaxKinds]atomic.Int64
	_     [cacheLine - 8*MaxKinds]byte
}

// Add counts one thing of a kind, which is less than MaxKinds.
func (s *Spread) Add(kind uint8) {
	s.shards[rand.Uint32()%shards].kinds[kind%MaxKinds].Add(1)
}

// Count returns how many of the kind were counted.
func (s *Spread) Count(kind uint8) (n int64) {
	for i := range s.shards {
		n += s.shards[i].kinds[kind%MaxKinds].Load()
	}
	return n
}
