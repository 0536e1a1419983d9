package solver

import (
	"container/list"
)

// The ranks of those who wait in a queue. From rankCalm on they rise with the networks that ask.
const (
	rankLowest  = 0
	rankAsked   = 5 // of those that six requests of a network ask for which waits for many, or more
	rankCalm    = 6 // of those that a network asks for which waits for few
	rankHighest = rankCalm + maxNetworks
)

const (
	maxNetworks = 6 // that are told apart; CAs ask from five places and their own
	maxCalm     = 4 // loads that a network can have in a queue before it is one that waits for many
)

// A queue has the loads that wait to begin: by rank, and the oldest of a rank before the others.
// The zero value is empty.
type queue struct {
	ranks  [rankHighest + 1]list.List
	length int
	by     map[network]int // how many loads each network was the first to ask for
}

// A place is that of a load in a queue.
type place struct {
	element *list.Element // nil: not in the queue
	rank    int
}

func (q *queue) add(l *sharedLoad) {
	q.put(l, q.rank(l))
	if q.by == nil {
		q.by = make(map[network]int)
	}
	q.by[l.networks[0]]++
	q.length++
}

func (q *queue) put(l *sharedLoad, rank int) { l.place = place{q.ranks[rank].PushBack(l), rank} }

// remove takes a load out of the queue, if it is there.
func (q *queue) remove(l *sharedLoad) {
	if l.place.element == nil {
		return
	}
	q.ranks[l.place.rank].Remove(l.place.element)
	l.place.element = nil
	q.length--
	first := l.networks[0]
	if q.by[first]--; q.by[first] == 0 {
		delete(q.by, first)
	}
}

// promote moves a load, if it is in the queue, to where it belongs since one more has asked.
func (q *queue) promote(l *sharedLoad) {
	if l.place.element == nil {
		return
	}
	if rank := q.rank(l); rank > l.place.rank {
		q.ranks[l.place.rank].Remove(l.place.element)
		q.put(l, rank)
	}
}

// rank returns where a load belongs. Requests cost a scanner nothing, networks do: what several ask for comes
// before all that a single one does, be it many tokens or few again and again. What was absent a moment ago
// does not rise by the requests of the same one: tokens that are made up once and asked for again would come before a
// CA's. Requests count among those of one network, as all clients behind a proxy are.
func (q *queue) rank(l *sharedLoad) int {
	switch {
	case l.inquiry.last == wasFound:
		return rankHighest
	case l.from > 1:
		return rankCalm + l.from - 1
	case l.inquiry.last == wasAbsent && l.inquiry.by == l.networks[0]:
		return rankLowest
	case q.by[l.networks[0]] < maxCalm:
		return rankCalm
	}
	return min(l.askers-1, rankAsked)
}

// foremost returns the load to begin next. The queue is not empty.
func (q *queue) foremost() *sharedLoad {
	for rank := rankHighest; ; rank-- {
		if first := q.ranks[rank].Front(); first != nil {
			return first.Value.(*sharedLoad)
		}
	}
}

// hindmost returns the load that makes room if there is none: of the lowest rank, it has waited
// longest for others to ask for it too. The queue is not empty.
func (q *queue) hindmost() *sharedLoad {
	for rank := rankLowest; ; rank++ {
		if first := q.ranks[rank].Front(); first != nil {
			return first.Value.(*sharedLoad)
		}
	}
}
