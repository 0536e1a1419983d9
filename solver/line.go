package solver

import (
	"container/list"
	"time"
)

// The ranks of those who wait in a line. From rankCalm on they rise with the networks that ask.
const (
	rankLowest  = 0
	rankAsked   = 5 // of those that six requests of a network ask for which waits for many, or more
	rankCalm    = 6 // of those that a network asks for which waits for few
	rankHighest = rankCalm + maxNetworks
)

const (
	maxNetworks = 6 // that are told apart; CAs ask from five places and their own
	maxCalm     = 4 // looks that a network can have in a line before it is one that waits for many
)

// A line has the looks that wait for their load: by rank, and the oldest of a rank before the others.
// The zero value is empty.
type line struct {
	ranks  [rankHighest + 1]list.List
	length int
	by     map[network]int // how many looks each network was the first to ask for
}

// A place is that of a look in a line.
type place struct {
	element *list.Element // nil: not in the line
	rank    int
}

func (n *line) add(l *look) {
	n.put(l, n.rank(l))
	if n.by == nil {
		n.by = make(map[network]int)
	}
	n.by[l.networks[0]]++
	n.length++
}

func (n *line) put(l *look, rank int) { l.place = place{n.ranks[rank].PushBack(l), rank} }

// remove takes a look out of the line, if it is there.
func (n *line) remove(l *look) {
	if l.place.element == nil {
		return
	}
	n.ranks[l.place.rank].Remove(l.place.element)
	l.place.element = nil
	n.length--
	first := l.networks[0]
	if n.by[first]--; n.by[first] == 0 {
		delete(n.by, first)
	}
}

// promote moves a look, if it is in the line, to where it belongs since one more has asked.
func (n *line) promote(l *look) {
	if l.place.element == nil {
		return
	}
	if rank := n.rank(l); rank > l.place.rank {
		n.ranks[l.place.rank].Remove(l.place.element)
		n.put(l, rank)
	}
}

// rank returns where a look belongs. Requests cost a scanner nothing, networks do: what several ask for comes
// before all that a single one does, be it many tokens or few again and again. What was absent a moment ago
// does not rise by the requests of one: tokens that are made up once and asked for again would come before a
// CA's. Requests count among those of one network, as all clients behind a proxy are.
func (n *line) rank(l *look) int {
	switch {
	case l.inquiry.last == wasFound:
		return rankHighest
	case l.from > 1:
		return rankCalm + l.from - 1
	case l.inquiry.last == wasAbsent:
		return rankLowest
	case n.by[l.networks[0]] < maxCalm:
		return rankCalm
	}
	return min(l.askers-1, rankAsked)
}

// foremost returns the look to load next. The line is not empty.
func (n *line) foremost() *look {
	for rank := rankHighest; ; rank-- {
		if first := n.ranks[rank].Front(); first != nil {
			return first.Value.(*look)
		}
	}
}

// hindmost returns the look that makes room where there is none: of the lowest rank, it has waited
// longest for others to ask for it too. The line is not empty.
func (n *line) hindmost() *look {
	for rank := rankLowest; ; rank++ {
		if first := n.ranks[rank].Front(); first != nil {
			return first.Value.(*look)
		}
	}
}

// The bounds of an allowance.
const (
	missInterval = 40 * time.Millisecond
	missBurst    = 50
)

// An allowance bounds a rate: a burst, and after that one in each interval. The zero value is untouched.
type allowance struct {
	used time.Time // when all of it will be there again
}

// take uses one up, or returns how long to wait until there is one.
func (a *allowance) take(now time.Time) time.Duration {
	if wait := a.used.Add(-(missBurst - 1) * missInterval).Sub(now); wait > 0 {
		return wait
	}
	if a.used.Before(now) {
		a.used = now
	}
	a.used = a.used.Add(missInterval)
	return 0
}

// giveBack returns what was taken and not used.
func (a *allowance) giveBack() { a.used = a.used.Add(-missInterval) }
