package lifecycle

import (
	"math"
	"time"
)

// instant returns a time as nanoseconds since 1970, and never zero. What lies beyond their range is as far away as they
// reach: in 1678 or 2262.
func instant(t time.Time) int64 {
	switch seconds := t.Unix(); {
	case seconds <= math.MinInt64/int64(time.Second):
		return math.MinInt64
	case seconds >= math.MaxInt64/int64(time.Second):
		return math.MaxInt64
	}
	if n := t.UnixNano(); n != 0 {
		return n
	}
	return 1
}

func fromInstant(n int64) time.Time { return time.Unix(0, n).UTC() }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
