package acmetest

import (
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// handler returns the CA, with the faults that are set, as an http.Handler.
func (s *Server) handler() http.Handler {
	s.well = chain(s.resources(), s.linkIndex, requireUserAgent)
	return chain(http.HandlerFunc(s.serveFaulty), s.untilClosed, s.countRequests, tellTime)
}

// tellTime dates the answers (RFC 9110 §6.6.1), as a server on a socket does by itself.
func tellTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
		next.ServeHTTP(w, r)
	})
}

// chain puts handlers around h, the first outermost.
func chain(h http.Handler, around ...func(http.Handler) http.Handler) http.Handler {
	for i := len(around) - 1; i >= 0; i-- {
		h = around[i](h)
	}
	return h
}

// resources returns the handler of all resources. The first segment of a resource's path is its name.
func (s *Server) resources() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/directory", s.directory)
	mux.HandleFunc("/terms", s.terms)
	mux.HandleFunc("/newNonce", s.newNonce)
	mux.HandleFunc("/newAccount", s.byKey(s.newAccount))
	mux.HandleFunc("/newOrder", s.byAccount(s.newOrder))
	mux.HandleFunc("/newAuthz", s.byAccount(s.newAuthorization))
	mux.HandleFunc("/keyChange", s.byAccount(s.keyChange))
	mux.HandleFunc("/revokeCert", s.byEither(s.revokeCert))
	mux.HandleFunc("/renewalInfo/{id}", s.renewalInfo)
	mux.HandleFunc("/account/{id}", s.byAccount(s.account))
	mux.HandleFunc("/orders/{id}", s.byAccount(s.orderList))
	mux.HandleFunc("/order/{id}", s.byAccount(s.order))
	mux.HandleFunc("/authorization/{id}", s.byAccount(s.authorization))
	mux.HandleFunc("/challenge/{id}", s.byAccount(s.challenge))
	mux.HandleFunc("/finalize/{id}", s.byAccount(s.finalize))
	mux.HandleFunc("/certificate/{id}", s.byAccount(s.certificate))
	mux.HandleFunc("/certificate/{id}/{chain}", s.byAccount(s.certificate))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, statusProblemf(http.StatusNotFound, malformed, "there is nothing at %s", quote(r.URL.Path)))
	})
	return mux
}

// urlOf returns the URL of a resource; id is empty for those that there is one of.
func (s *Server) urlOf(resource, id string) string {
	switch resource {
	case "account", "orders", "order", "authorization", "challenge", "finalize", "certificate":
		return s.origin + "/" + resource + "/" + id
	}
	return s.origin + "/" + resource
}

// other is the name for requests that are for no resource there is.
const other = "other"

// resourceNames returns the names of all resources.
func resourceNames() []string {
	return []string{
		"directory", "terms", "newNonce", "newAccount", "newOrder", "newAuthz", "keyChange", "revokeCert", "renewalInfo",
		"account", "orders", "order", "authorization", "challenge", "finalize", "certificate",
	}
}

// resourceOf returns the name of the resource that a request is for.
func resourceOf(r *http.Request) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if slices.Contains(resourceNames(), name) {
		return name
	}
	return other
}

// untilClosed lets Close cancel requests and wait for them.
func (s *Server) untilClosed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end, ok := s.begin(r.Context())
		if !ok {
			panic(http.ErrAbortHandler) // as if the process had ended
		}
		defer end()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// countRequests counts for [Server.Requests].
func (s *Server) countRequests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.requests[resourceOf(r)]++
		s.mu.Unlock()
		next.ServeHTTP(w, r)
	})
}

// Requests returns how many requests there were so far for each resource, good and bad. The names are
// those of the directory ("newNonce", "newAccount", …), "directory", "account", "orders" (an account's
// list), "order", "authorization", "challenge", "finalize", "certificate" and "terms"; "other" is what
// does not exist.
func (s *Server) Requests() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.requests)
}

// requireUserAgent refuses clients that do not say who they are (RFC 8555 §6.1).
func requireUserAgent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() == "" {
			writeProblem(w, problemf(malformed, "the request has no User-Agent (RFC 8555 §6.1)"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// linkIndex puts a Link to the directory into the answers of all other resources (RFC 8555 §7.1).
func (s *Server) linkIndex(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if resourceOf(r) != "directory" {
			w.Header().Add("Link", "<"+s.URL+`>;rel="index"`)
		}
		next.ServeHTTP(w, r)
	})
}

// askLater tells the client when to poll again, if [Server.RetryAfter] says so.
func (s *Server) askLater(w http.ResponseWriter) {
	setRetryAfter(w.Header(), s.RetryAfter)
}

// setRetryAfter sets the header, in whole seconds, unless after is zero or less.
func setRetryAfter(header http.Header, after time.Duration) {
	if after > 0 {
		seconds := math.Ceil(after.Seconds())
		header.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
}
