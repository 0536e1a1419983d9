package acmetest

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"sync"
)

// A Fault is something that goes wrong with requests. It puts a handler around next, which is the CA or
// another fault, and may answer in its place, hold it up, or change what it answers. Faults of a test's
// own can do all that a handler can; one that panics with [http.ErrAbortHandler] ends the connection.
//
// A nil Fault is none. A Fault is a recipe that can be used several times: what [Next] and [Share] count begins anew with
// each call of [Server.SetFaults].
type Fault func(next http.Handler) http.Handler

func (f Fault) around(next http.Handler) http.Handler {
	if f == nil {
		return next
	}
	return f(next)
}

// SetFaults makes things go wrong, instead of what earlier calls set: the first fault is the outermost,
// which gets the requests first and has the last word on the answers. Without faults the server is well
// again. SetFaults may be called at any time, also before the start, and goes for requests that arrive
// after it.
func (s *Server) SetFaults(faults ...Fault) {
	faulty := All(faults...)(http.HandlerFunc(s.serveWell))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faulty = faulty
}

// serveWell answers as the CA does, without faults. The server must have been started.
func (s *Server) serveWell(w http.ResponseWriter, r *http.Request) { s.well.ServeHTTP(w, r) }

// serveFaulty answers through the faults that are set.
func (s *Server) serveFaulty(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	faulty := s.faulty
	s.mu.Unlock()
	if faulty == nil {
		faulty = s.well
	}
	faulty.ServeHTTP(w, r)
}

// All puts faults around each other, the first outermost, and makes one of them: what limits that one
// limits them together.
func All(faults ...Fault) Fault {
	return func(next http.Handler) http.Handler {
		for _, fault := range slices.Backward(faults) {
			next = fault.around(next)
		}
		return next
	}
}

// On limits a fault to the requests for one resource, by the names of [Server.Requests]. It panics if
// there is no resource of that name.
func On(resource string, fault Fault) Fault {
	if resource != other && !slices.Contains(resourceNames(), resource) {
		panic(fmt.Sprintf("acmetest: no resource is called %q; there are %q and %q", resource, resourceNames(), other))
	}
	return func(next http.Handler) http.Handler {
		faulty := fault.around(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if resourceOf(r) == resource {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// Next limits a fault to the next n requests. It counts those that reach it: Next in On counts those for
// the resource.
func Next(n int, fault Fault) Fault {
	return some(fault, func(count int) bool { return count <= n })
}

// Share limits a fault to a share of the requests, from 0 to 1, evenly spread and the same each time:
// with 0.25 it is the fourth, the eighth and so on of those that reach it.
func Share(share float64, fault Fault) Fault {
	due := func(count int) float64 {
		const rounding = 1e-9 // so that ten tenths are one
		return math.Floor(float64(count)*share + rounding)
	}
	return some(fault, func(count int) bool { return due(count) > due(count-1) })
}

// some limits a fault to the requests whose number, counted from 1, is chosen.
func some(fault Fault, chosen func(count int) bool) Fault {
	return func(next http.Handler) http.Handler {
		faulty := fault.around(next)
		var mu sync.Mutex
		count := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			count++
			hit := chosen(count)
			mu.Unlock()
			if hit {
				faulty.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}
