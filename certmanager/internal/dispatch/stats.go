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
		Waiting: len(d.waiting),
		Ready:   maps.Clone(d.ready.byUrgency),
		Running: d.running,
		Slow:    d.slow,
	}
	if len(d.waiting) > 0 {
		s.NextDue = time.Unix(0, d.waiting[0].place().due)
	}
	if since, ok := d.ready.oldest(); ok {
		s.Oldest = max(0, time.Since(d.began)-time.Duration(since))
	}
	return s
}
