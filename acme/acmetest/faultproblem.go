package acmetest

import "net/http"

// Problem has the CA refuse requests before it does anything: with an HTTP status and a problem document
// of a type, such as "unauthorized" (RFC 8555 §6.7). As with all that a CA says itself, there is a fresh
// nonce in the answer, and the nonce of the request is used up.
func (s *Server) Problem(status int, problemType, detail string) Fault {
	return s.refuse(statusProblemf(status, problemType, "%s", detail), "")
}

// RateLimited has the CA refuse requests as too many (RFC 8555 §6.6). Retry-After is as given: seconds as
// in "30", a date in [http.TimeFormat], or what no client can read; with "" there is none.
func (s *Server) RateLimited(retryAfter string) Fault {
	return s.refuse(problemf(rateLimited, "there were too many requests of this kind lately"), retryAfter)
}

// BadNonce has the CA refuse requests for their nonce, however good it is. The one in the answer is good
// (RFC 8555 §6.5). Requests without a nonce, by GET and HEAD, are answered as ever, though Next and Share
// around it count them.
func (s *Server) BadNonce() Fault {
	refuse := s.refuse(problemf(badNonce, "the nonce is not one that this server gave out, or it was used before"), "")
	return func(next http.Handler) http.Handler {
		refusing := refuse(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				refusing.ServeHTTP(w, r)
			} else {
				next.ServeHTTP(w, r)
			}
		})
	}
}

// refuse returns a fault that answers with a problem and, unless it is empty, a Retry-After header.
func (s *Server) refuse(p *problem, retryAfter string) Fault {
	return func(http.Handler) http.Handler {
		return s.linkIndex(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				if jws, err := readJWS(w, r); err == nil && jws.header.Nonce != nil {
					s.nonces.use(*jws.header.Nonce)
				}
				s.addNonce(w)
			}
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			writeProblem(w, p)
		}))
	}
}
