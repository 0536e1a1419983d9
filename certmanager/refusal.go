package certmanager

import "time"

// A refusal is an outcome that handshakes for the name are answered with until its time is over.
type refusal struct {
	until time.Time
	err   error
	entry *entry // that could not be obtained; nil: it was not tried
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

// refusals are those remembered; the zero value is empty.
type refusals map[string]*refusal

const mostRefusals = 10000

// find returns the refusal of the name, or nil.
func (all refusals) find(name string, now time.Time) error {
	if r := all[name]; r != nil && now.Before(r.until) {
		return r
	}
	return nil
}

// add remembers a refusal. Where there are too many it forgets some, those that are over among them:
// a forgotten one costs one more question.
func (all *refusals) add(name string, r *refusal, now time.Time) {
	if *all == nil {
		*all = make(refusals)
	}
	const some = 100
	seen := 0
	for other, old := range *all {
		if seen++; seen > some {
			break
		}
		if !now.Before(old.until) || len(*all) >= mostRefusals {
			delete(*all, other)
		}
	}
	(*all)[name] = r
}
