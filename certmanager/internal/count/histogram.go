package count

import (
	"slices"
	"time"
)

// Bounds are the upper ends of a Histogram's buckets, but for the last one, which has none. What a CA does takes from
// a few milliseconds, of one nearby, to the minute after which nobody waits for it.
func Bounds() []time.Duration {
	return []time.Duration{
		10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
		500 * time.Millisecond, time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
}

// A Histogram counts durations. The zero value is ready. It is not safe for concurrent use.
type Histogram struct {
	buckets []int64
	sum     time.Duration
}

// Add counts a duration.
func (h *Histogram) Add(d time.Duration) {
	bounds := Bounds()
	if h.buckets == nil {
		h.buckets = make([]int64, len(bounds)+1)
	}
	i, _ := slices.BinarySearch(bounds, d)
	h.buckets[i]++
	h.sum += d
}

// Buckets returns how many durations were counted in each bucket, which were not longer than its bound and longer than that
// of the one before.
func (h *Histogram) Buckets() []int64 { return slices.Clone(h.buckets) }

// Sum returns the sum of the durations.
func (h *Histogram) Sum() time.Duration { return h.sum }
