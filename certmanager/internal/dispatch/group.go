package dispatch

import "maps"

// A group exists while something of it is ready or running.
type group struct {
	name    string
	running int
	queues  *queue // the first of them, linked by sibling
}

// A queue has the ready tasks of one group and urgency, at least one.
type queue struct {
	group       *group
	sibling     *queue
	since       int64 // the first one's
	first, last int32 // the numbers of their entries
	position    int32 // among the heads; -1: not there, as the group has its share at work
	urgency     Urgency
}

// queue returns the group's queue of an urgency, an empty one if there is none.
func (g *group) queue(urgency Urgency) *queue {
	for q := g.queues; q != nil; q = q.sibling {
		if q.urgency == urgency {
			return q
		}
	}
	g.queues = &queue{group: g, sibling: g.queues, urgency: urgency, position: -1}
	return g.queues
}

// drop takes a queue off the group.
func (g *group) drop(q *queue) {
	link := &g.queues
	for *link != q {
		link = &(*link).sibling
	}
	*link = q.sibling
}

// groups are those that exist.
type groups struct {
	byName map[string]*group
	most   int // since the map was made
}

// get returns the group of a name, which it makes if there is none.
func (s *groups) get(name string) *group {
	g := s.byName[name]
	if g == nil {
		if s.byName == nil {
			s.byName = make(map[string]*group)
		}
		g = &group{name: name}
		s.byName[name] = g
		s.most = max(s.most, len(s.byName))
	}
	return g
}

// tidy forgets a group of which nothing is left.
func (s *groups) tidy(g *group) {
	if g.running == 0 && g.queues == nil {
		delete(s.byName, g.name)
	}
}

// shrink gives back what a great many groups took; a map does not shrink.
func (s *groups) shrink() {
	if s.most <= many+len(s.byName) {
		return
	}
	left := make(map[string]*group, len(s.byName))
	maps.Copy(left, s.byName)
	s.byName, s.most = left, len(left)
}
