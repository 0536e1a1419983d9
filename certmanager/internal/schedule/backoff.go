package schedule

import "time"

const (
	firstTransient   = time.Second
	longestTransient = 10 * time.Minute
)

// TransientBackoff returns how long to wait after the given number of failures in a row that cost nothing at the CA: it
// could not be reached, or the storage could not. The limit is one second after the first failure, twice as much
// after each further one, and ten minutes at most. The random number r in [0,1) chooses uniformly from the upper half,
// between half the limit and the limit, which spreads what one outage has brought together. A number of failures below
// one counts as one.
func TransientBackoff(failures int, r float64) time.Duration {
	limit := firstTransient
	for i := 1; i < failures && limit < longestTransient; i++ {
		limit *= 2
	}
	limit = min(limit, longestTransient)
	return limit/2 + part(limit/2, r)
}

// RefusalBackoff returns how long to wait after the given number of failures in a row for which the CA did work: it
// refused an order, or a validation failed. These count against its rate limits, so that asking again soon makes
// things worse. The wait is at least one, ten and a hundred minutes after the first three failures, and a day
// after each further one, as Let's Encrypt asks of its clients. The random number r in [0,1) adds up to a quarter of
// that. A number of failures below one counts as one.
func RefusalBackoff(failures int, r float64) time.Duration {
	least := 24 * time.Hour
	switch {
	case failures <= 1:
		least = time.Minute
	case failures == 2:
		least = 10 * time.Minute
	case failures == 3:
		least = 100 * time.Minute
	}
	return least + part(least/4, r)
}
