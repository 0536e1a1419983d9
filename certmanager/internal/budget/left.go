package budget

import "time"

// Left returns how many tokens the bucket has, when there is one more, and when it is full; both zero: it is.
func (l Limit) Left(b Bucket, now time.Time) (tokens int, next, full time.Time) {
	b = b.believed(l, now)
	if !b.Full.After(now) {
		return l.Count, time.Time{}, time.Time{}
	}
	tokens = max(0, l.room(b, now))
	return tokens, b.Full.Add(-l.span(l.Count - tokens - 1)), b.Full
}
