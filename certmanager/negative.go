package certmanager

import "time"

// A negative is an outcome that handshakes for the name are answered with until its time is over.
type negative struct {
	until time.Time
	err   error
	entry *entry // that could not be obtained; nil: it was not tried
}

func (r *negative) Error() string { return r.err.Error() }
func (r *negative) Unwrap() error { return r.err }

// failing returns the entry that could not be obtained, or nil. One whose time is over is none: no client has asked since, and
// none is waited for.
func (r *negative) failing(now time.Time) *entry {
	if r == nil || !now.Before(r.until) {
		return nil
	}
	return r.entry
}

// negatives are those remembered; the zero value is empty.
type negatives map[string]*negative

const maxNegatives = 10000

// find returns the negative of the name, or nil.
func (all negatives) find(name string, now time.Time) error {
	if r := all[name]; r != nil && now.Before(r.until) {
		return r
	}
	return nil
}

// add remembers a negative. If there are too many it forgets some, those that are over among them:
// a forgotten one costs one more question.
func (all *negatives) add(name string, r *negative, now time.Time) {
	if *all == nil {
		*all = make(negatives)
	}
	const some = 100
	seen := 0
	for other, old := range *all {
		if seen++; seen > some {
			break
		}
		if !now.Before(old.until) || len(*all) >= maxNegatives {
			delete(*all, other)
		}
	}
	(*all)[name] = r
}
