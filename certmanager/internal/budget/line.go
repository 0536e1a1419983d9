package budget

import "time"

// A Line is that of a class of those who wait for tokens of one bucket. The zero value is empty.
type Line struct {
	last   time.Time // the slot of the one at its end
	behind time.Time // that of the last one who has come in vain
}

// IsEmpty reports whether nobody waits in line.
func (n *Line) IsEmpty(now time.Time) bool { return !n.last.After(now) }

// Join returns the slot at the end of the line, when there is a token at next and one more at each interval.
func (n *Line) Join(next time.Time, interval time.Duration) time.Time {
	n.last = after(n.last, next, interval)
	return n.last
}

// Rejoin returns the next slot of one that has come at its own and found no token. It does not stand at the end again. The
// random number r in [0,1) spreads those of several processes.
func (n *Line) Rejoin(next time.Time, interval time.Duration, r float64) time.Time {
	n.behind = after(n.behind, next, interval)
	return n.behind.Add(time.Duration(r * float64(interval) / 8))
}

// after returns the slot after the last one, or the next one if that is over.
func after(last, next time.Time, interval time.Duration) time.Time {
	if slot := last.Add(interval); slot.After(next) {
		return slot
	}
	return next
}
