package budget

import "time"

const (
	maxSkew       = time.Hour          // between the clocks of a fleet, that is believed
	maxCorrection = 8 * 24 * time.Hour // that a CA is believed to ask to wait for
)

// A Bucket is what is kept of one. The zero value is full.
type Bucket struct {
	Full      time.Time // when it is full again
	Since     time.Time // since when it is not
	Corrected time.Time // when the CA said last that it is empty; zero: never
}

// Equal reports whether both say the same, of whatever location their times are.
func (b Bucket) Equal(other Bucket) bool {
	return b.Full.Equal(other.Full) && b.Since.Equal(other.Since) && b.Corrected.Equal(other.Corrected)
}

// believed returns the bucket, or a full one if no clock that is about right can have left it so.
func (b Bucket) believed(l Limit, now time.Time) Bucket {
	most := l.span(l.Count) + l.lag() + maxSkew
	if !b.Corrected.IsZero() {
		most += maxCorrection
	}
	latest := now.Add(maxSkew)
	if b.Full.After(now.Add(most)) || b.Since.After(latest) || b.Corrected.After(latest) {
		return Bucket{}
	}
	return b
}

// room returns how many tokens the bucket has, or of which there are too few.
func (l Limit) room(b Bucket, now time.Time) int {
	if lagging := b.Since.Add(l.lag()); lagging.After(now) {
		now = lagging // none has come back yet
	}
	missing := max(0, b.Full.Sub(now))
	return l.Count - int((missing+l.Interval()-1)/l.Interval())
}

// Room returns how many tokens the class may take now.
func (l Limit) Room(b Bucket, c Class, now time.Time) int {
	return max(0, l.room(b.believed(l, now), now)-c.reserve(l.Count))
}

// Next returns when the class may take a token, which is now if it may at once.
func (l Limit) Next(b Bucket, c Class, now time.Time) time.Time {
	if l.Room(b, c, now) > 0 {
		return now
	}
	return b.Full.Add(-l.span(l.Count - c.reserve(l.Count) - 1))
}

// Take returns the bucket without n more tokens, and no emptier than empty.
func (l Limit) Take(b Bucket, n int, now time.Time) Bucket {
	b = b.believed(l, now)
	if lagging := now.Add(l.lag()); b.Full.Before(lagging) {
		b = Bucket{Full: lagging, Since: now}
	}
	b.Full = b.Full.Add(l.span(min(n, max(0, l.room(b, now)))))
	return b
}

// GiveBack returns the bucket with n tokens more that were taken at a time. If it was full since, they have come back
// already; what the CA said since holds.
func (l Limit) GiveBack(b Bucket, n int, taken, now time.Time) Bucket {
	b = b.believed(l, now)
	if !taken.Before(b.Since) && !taken.Before(b.Corrected) {
		b.Full = b.Full.Add(-l.span(n))
	}
	return b
}

// Correct returns the bucket as the CA says that it is: empty, with the next token at a time, of which eight days are
// believed. What is known of it to be emptier stays.
func (l Limit) Correct(b Bucket, until, now time.Time) Bucket {
	b = b.believed(l, now)
	if latest := now.Add(maxCorrection); until.After(latest) {
		until = latest
	}
	full, since := until.Add(l.span(l.Count-1)), now.Add(-l.lag())
	switch {
	case !full.After(b.Full):
		return b
	case b.Since.Before(since) && b.Full.After(now):
		since = b.Since
	}
	return Bucket{Full: full, Since: since, Corrected: now}
}

// IsIdle reports whether the bucket is full by every clock of a fleet, so that nothing is lost with it.
func (b Bucket) IsIdle(now time.Time) bool { return b.Full.Add(maxSkew).Before(now) }
