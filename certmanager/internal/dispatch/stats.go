package dispatch

import (
	"maps"
	"time"
)

// Stats is what a [Dispatcher] has in hand at one moment.
type Stats struct {
	Waiting int             // tasks due in the future
	Ready   map[Urgency]int // tasks that are due but not at work, by urgency; no zeros
	Running int             // tasks at work
	Slow    int             // of them, those at work for longer than Patience
	NextDue time.Time       // when the first one that waits is due; zero: none waits
	Oldest  time.Duration   // how long the longest ready one has been ready; zero: none is
}

// Stats returns what is in hand.
func (d *Dispatcher[T]) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{
		Waiting: len(d.agenda.waiting),
		Ready:   maps.Clone(d.agenda.ready.byUrgency),
		Running: d.room.running,
		Slow:    d.room.slow,
		Oldest:  d.agenda.ready.oldest(time.Now()),
	}
	if s.Waiting > 0 {
		s.NextDue = time.Unix(0, d.agenda.waiting[0].due)
	}
	return s
}
