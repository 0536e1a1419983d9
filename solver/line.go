package solver

import (
	"container/list"
	"time"
)

// The ranks of those who wait in a line.
const (
	rankLowest  = 0
	rankAsked   = 5 // of those that six ask for, or more; CAs ask from five places and their own
	rankHighest = 6 // of those that had an answer a moment ago
)

// A line has the looks that wait for their load: by rank, and the oldest of a rank before the others.
// The zero value is empty.
type line struct {
	ranks  [rankHighest + 1]list.List
	length int
}

// A place is that of a look in a line.
type place struct {
	element *list.Element // nil: not in the line
	rank    int
}

func (n *line) add(l *look) {
	l.place.rank = l.rank()
	l.place.element = n.ranks[l.place.rank].PushBack(l)
	n.length++
}

// remove takes a look out of the line, if it is there.
func (n *line) remove(l *look) {
	if l.place.element == nil {
		return
	}
	n.ranks[l.place.rank].Remove(l.place.element)
	l.place.element = nil
	n.length--
}

// promote moves a look, if it is in the line, to where it belongs since one more has asked.
func (n *line) promote(l *look) {
	if l.place.element == nil || l.place.rank == l.rank() {
		return
	}
	n.remove(l)
	n.add(l)
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

// rank returns where a look belongs. What was absent a moment ago does not rise, however often it is asked
// for: tokens that are made up once and asked for again and again would come before a CA's.
func (l *look) rank() int {
	switch l.inquiry.last {
	case wasFound:
		return rankHighest
	case wasAbsent:
		return rankLowest
	}
	return min(l.askers-1, rankAsked)
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
