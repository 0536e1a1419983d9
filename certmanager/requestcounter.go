package certmanager

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/count"
)

// A requestCounter counts what is requested of CAs.
type requestCounter struct {
	mu   sync.Mutex // guards what follows; nothing else is locked under it
	made map[requestKey]*madeRequests
}

// A requestKey is what requests are counted by.
type requestKey struct{ issuer, action string }

type madeRequests struct {
	statuses  map[int]int64
	durations count.Histogram
}

// observer returns what counts the requests of an issuer; nil: nobody counts.
func (r *requestCounter) observer(issuer string) func(acme.Exchange) {
	if r == nil {
		return nil
	}
	return func(x acme.Exchange) {
		r.mu.Lock()
		defer r.mu.Unlock()
		key := requestKey{issuer, x.Action}
		made := r.made[key]
		if made == nil {
			if r.made == nil {
				r.made = make(map[requestKey]*madeRequests)
			}
			made = &madeRequests{statuses: make(map[int]int64)}
			r.made[key] = made
		}
		made.statuses[knownStatus(x.Status)]++
		made.durations.Add(x.Duration)
	}
}

// knownStatus returns the status, or the first of its hundred if HTTP has no name for it: a CA may send any of a thousand.
func knownStatus(status int) int {
	if http.StatusText(status) == "" {
		return status / 100 * 100
	}
	return status
}

// all returns the requests made so far, in the order of issuer and action.
func (r *requestCounter) all() []Requests {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Requests, 0, len(r.made))
	for key, made := range r.made {
		all = append(all, Requests{key.issuer, key.action, maps.Clone(made.statuses),
			Histogram{count.Bounds(), made.durations.Buckets(), made.durations.Sum()}})
	}
	slices.SortFunc(all, func(a, b Requests) int {
		return cmp.Or(cmp.Compare(a.Issuer, b.Issuer), cmp.Compare(a.Action, b.Action))
	})
	return all
}
