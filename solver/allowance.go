package solver

import "time"

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
