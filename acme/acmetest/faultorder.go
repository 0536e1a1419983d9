package acmetest

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Processing has the CA say of each order, for its first polls once its certificate is there, that it is
// "processing" still. It concerns requests for "order" alone.
func (s *Server) Processing(polls int) Fault {
	return On("order", func(next http.Handler) http.Handler {
		var mu sync.Mutex
		seen := make(map[string]int) // polls by the order's path
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorded := record(w, func(response *Response) {
				resource := make(map[string]any)
				if json.Unmarshal(response.Body, &resource) != nil || resource["status"] != statusValid {
					return
				}
				mu.Lock()
				seen[r.URL.Path]++
				over := seen[r.URL.Path] > polls
				mu.Unlock()
				if over {
					return
				}
				resource["status"] = statusProcessing
				delete(resource, "certificate")
				if body, err := json.Marshal(resource); err == nil {
					response.Body = body
				}
				setRetryAfter(response.Header, s.RetryAfter)
			})
			next.ServeHTTP(recorded, r)
			recorded.send()
		})
	})
}

// Invalidate makes the order that a request is about invalid, with a problem of the type, before the CA
// answers the request, if the order is ready: on "finalize" for one that was seen to be ready and is
// refused then, on "order" for one that never is. It is so for good, as the polls that follow see.
func (s *Server) Invalidate(problemType, detail string) Fault {
	return s.onOrder(func(o *order) {
		if o.update(time.Now()) == statusReady {
			o.status, o.err = statusInvalid, problemf(problemType, "%s", detail)
		}
	})
}

// FailIssuance makes requests for "finalize" that the CA takes end in no certificate: the order becomes
// "processing", and invalid after that with a problem of the type.
func (s *Server) FailIssuance(problemType, detail string) Fault {
	return On("finalize", s.onOrder(func(o *order) {
		if o.update(time.Now()) == statusReady {
			o.failure = problemf(problemType, "%s", detail)
		}
	}))
}

// onOrder returns a fault that changes the orders which requests for "order" and "finalize" are about,
// before these are answered. It holds s.mu meanwhile.
func (s *Server) onOrder(change func(*order)) Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if resource := resourceOf(r); resource == "order" || resource == "finalize" {
				s.mu.Lock()
				if o := s.orders[strings.TrimPrefix(r.URL.Path, "/"+resource+"/")]; o != nil {
					change(o)
				}
				s.mu.Unlock()
			}
			next.ServeHTTP(w, r)
		})
	}
}

// FailValidations makes the next n validations of a name fail as if its server had not answered right. The
// name is as it stands in orders, which for wildcards begins with "*.". With zero none fails any more.
func (s *Server) FailValidations(name string, n int) {
	s.prepare()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failing[strings.ToLower(name)] = n
}

// failValidation returns the problem of a validation that is to fail, and nil for others.
func (s *Server) failValidation(c *challenge) error {
	name := c.authorization.inOrder().Value
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing[name] <= 0 {
		return nil
	}
	s.failing[name]--
	return problemf(unauthorized, "the answer of %s to %s was not the right one", name, c.challengeType)
}
