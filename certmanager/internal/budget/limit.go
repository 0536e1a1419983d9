package budget

import "time"

// A Limit is how many tokens a bucket holds, which come back evenly over Per.
type Limit struct {
	Count int
	Per   time.Duration
}

const (
	// minInterval is between two tokens of the fastest limit that is counted: to count a faster one would slow it down.
	minInterval = 10 * time.Millisecond
	// fastInterval is that of the slowest limit whose tokens may be lost.
	fastInterval = time.Minute
	maxLag       = 10 * time.Minute
)

// IsCounted reports whether the limit is one, and slow enough to be counted.
func (l Limit) IsCounted() bool { return l.Count > 0 && l.Interval() >= minInterval }

// IsFast reports whether a token that is lost soon comes back.
func (l Limit) IsFast() bool { return l.Interval() <= fastInterval }

// Interval is the time between two tokens that come back.
func (l Limit) Interval() time.Duration { return l.Per / time.Duration(max(l.Count, 1)) }

// lag is how much later than they would tokens come back.
func (l Limit) lag() time.Duration { return min(l.Interval()/4, maxLag) }

// span is how long it takes an empty bucket to fill.
func (l Limit) span(tokens int) time.Duration { return time.Duration(tokens) * l.Interval() }

// A Class is how urgent is what a token is for. Greater ones go first.
type Class uint8

// The classes.
const (
	New    Class = iota // new names, in good time
	Early               // renewals in good time, and handshakes that wait
	Urgent              // what has expired or soon will, and callers that wait
)

// reserve is how many of so many tokens the class leaves to others.
func (c Class) reserve(count int) int {
	switch c {
	case New:
		return count / 10
	case Early:
		return count / 20
	}
	return 0
}
