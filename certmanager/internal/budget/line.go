package budget

import "time"

// A Line is that of a class of those who wait for tokens of one bucket. The zero value is empty.
type Line struct {
	first queue
	again queue // of those who have come in vain
}

// IsEmpty reports whether nobody waits in line.
func (n *Line) IsEmpty(now time.Time) bool { return !n.first.end().After(now) }

// A Supply is when the tokens come that a line waits for.
type Supply struct {
	Now, Next time.Time // the next token comes at Next
	Interval  time.Duration
}

// Join returns the place at the end of the line.
func (n *Line) Join(owner any, s Supply) *Place {
	p := &Place{Owner: owner}
	n.first.add(p, s)
	return p
}

// Rejoin returns the next place of one that has come at its own and found no token. It does not stand at the end again. The
// random number r in [0,1) spreads those of several processes.
func (n *Line) Rejoin(owner any, s Supply, r float64) *Place {
	p := &Place{Owner: owner, delay: time.Duration(r * float64(s.Interval) / 8)}
	n.again.add(p, s)
	return p
}

// A Place is one in a line.
type Place struct {
	Owner any // who stands there

	slot  time.Time
	delay time.Duration
	queue *queue
	index int // in the queue
}

// Due returns when the owner is to come.
func (p *Place) Due() time.Time { return p.slot.Add(p.delay) }

// Leave gives up the place. Who stood last in line stands there from then on, and is returned: no token lies idle, and one
// moves up for each that leaves. It is nil if nobody stands behind, or the slot has come.
func (p *Place) Leave(now time.Time) (moved *Place) {
	q := p.queue
	if q == nil || p.index < q.over {
		return nil
	}
	end := len(q.places) - 1
	last := q.places[end]
	if last != p && !p.slot.After(now) {
		return nil
	}
	p.queue, q.places[end] = nil, nil
	q.places = q.places[:end]
	if last == p {
		return nil
	}
	last.slot, last.index = p.slot, p.index
	q.places[last.index-q.over] = last
	return last
}

// A queue is of places, those with the earliest slots first.
type queue struct {
	places []*Place
	over   int // that stood before them, and whose slots have come
}

// end returns the last slot; the zero time: there is none.
func (q *queue) end() time.Time {
	if len(q.places) == 0 {
		return time.Time{}
	}
	return q.places[len(q.places)-1].slot
}

// add puts the place at the end: an interval after the last one, or at the next token if that is over.
func (q *queue) add(p *Place, s Supply) {
	p.slot = s.Next
	if slot := q.end().Add(s.Interval); slot.After(s.Next) {
		p.slot = slot
	}
	for len(q.places) > 0 && !q.places[0].slot.After(s.Now) {
		q.places[0] = nil
		q.places, q.over = q.places[1:], q.over+1
	}
	p.queue, p.index = q, q.over+len(q.places)
	q.places = append(q.places, p)
}
