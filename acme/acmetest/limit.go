package acmetest

import (
	"slices"
	"time"
)

// A Limit is how often something may happen: Count times at once, and again as these are given back, evenly
// over Per. With 5 in an hour there is one more every twelve minutes. One without a Count or Per is none.
type Limit struct {
	Count int
	Per   time.Duration
}

// take returns the state of a bucket of the limit after one more, and since when there is room for that. The
// state is the time at which the bucket is full again; it is in the past if it is full.
func (l Limit) take(full, now time.Time) (after, room time.Time) {
	if full.Before(now) {
		full = now
	}
	each := l.Per / time.Duration(l.Count)
	after = full.Add(each)
	return after, after.Add(-each * time.Duration(l.Count))
}

// A bucket is what a limit counts by.
type bucket struct {
	limit Limit
	what  string // is counted, in the words of a refusal
	whose string // where what does not say so
}

// admit refuses if one of the buckets has no room: for the one that will have none for longest. If all have,
// it takes from those to spend. It is called with s.mu held.
func (s *Server) admit(spend, check []bucket) error {
	now := time.Now()
	var full bucket
	var until time.Time
	states := make(map[bucket]time.Time)
	for _, b := range slices.Concat(spend, check) {
		if b.limit.Count <= 0 || b.limit.Per <= 0 {
			continue
		}
		after, room := b.limit.take(s.spent[b], now)
		if room.After(now) && room.After(until) {
			full, until = b, room
		}
		states[b] = after
	}
	if !until.IsZero() {
		until = until.Add(time.Second - 1).Truncate(time.Second) // so that the header and the words agree
		p := problemf(rateLimited, "too many %s (%d) in the last %v, retry after %s", full.what, full.limit.Count, full.limit.Per, rfc3339(until))
		p.retryAfter = until.Sub(now)
		return p
	}
	for _, b := range spend {
		if after, ok := states[b]; ok {
			s.spent[b] = after
		}
	}
	return nil
}

// count takes from the buckets what has happened already, as far as they have room, and reports whether any
// is left in all of them. It is called with s.mu held.
func (s *Server) count(spend ...bucket) (left bool) {
	for _, b := range spend {
		_ = s.admit([]bucket{b}, nil)
	}
	return s.admit(nil, spend) == nil
}
