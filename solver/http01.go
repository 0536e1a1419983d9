package solver

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage"
)

// HTTP01 proves control of a domain name or an IP address by answering a request to its port 80
// (RFC 8555 §8.3). Mount [HTTP01.Handler] on the server that owns that port, or set Addr.
//
// In the Storage, the answer is a JSON object with token, keyAuthorization, identifier, directoryURL and created, the
// time of its creation in UTC.
//
// Only pending challenges are answered, and nothing of a request is reflected. A token is base64url of at most 256 bytes;
// what is not never reaches the storage. What is costs at most one Load of one key, shared by all who ask for it at the
// time. The loads that find nothing are bounded: see Handler.
//
// The zero value is useful. An HTTP01 is safe for concurrent use and must not be copied; its fields
// must not be changed after its first use.
type HTTP01 struct {
	// Storage keeps the answers, so that every process on the same storage can give them. Nil: they
	// are kept in this HTTP01 alone.
	Storage storage.Store

	// Addr, if not empty, is the TCP address, such as ":80", of a listener of the solver's own. It is
	// open while a challenge is pending: from the first Present until the last CleanUp.
	Addr string

	memory   storage.Memory
	gate     gate
	listener listener
}

// Type returns "http-01".
func (h *HTTP01) Type() string { return acme.TypeHTTP01 }

// Supports reports whether the identifier is a domain name or an IP address (RFC 8738) and no
// wildcard, for which http-01 is no proof.
func (h *HTTP01) Supports(id acme.Identifier, wildcard bool) bool { return supports(id, wildcard) }

// Present stores the answer, and opens the listener if Addr asks for one: it listens when Present
// returns. If that fails, the error says what can be done instead.
func (h *HTTP01) Present(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeHTTP01)
	if err != nil {
		return err
	}
	opened := false
	if h.Addr != "" {
		if opened, err = h.listener.acquire(ctx, h.Addr, h.Handler(nil), a.KeyAuthorization); err != nil {
			return err
		}
	}
	key, since := http01Key(a.Token), time.Now()
	revision, err := a.save(ctx, h.store(), key)
	if err != nil {
		if opened {
			h.listener.release(ctx, a.KeyAuthorization)
		}
		return err
	}
	h.gate.present(key, ownAnswer{a, since, revision})
	return nil
}

// CleanUp deletes the answer, unless another has taken its place. With the last one that this
// HTTP01 presented it closes the listener of its own, and waits for a second at most until requests
// under way are answered.
func (h *HTTP01) CleanUp(ctx context.Context, p acme.Proof) error {
	a, err := newAnswer(p, acme.TypeHTTP01)
	if err != nil {
		return err
	}
	key := http01Key(a.Token)
	err = a.remove(ctx, h.store(), key, h.gate.withdraw(key, a))
	h.listener.release(ctx, a.KeyAuthorization)
	return err
}

// Handler returns a handler that answers GET and HEAD requests for the tokens of pending challenges
// below /.well-known/acme-challenge/. All other requests, those for unknown tokens too, go to next;
// nil stands for 404 Not Found.
//
// What this HTTP01 presented is answered from memory. For another token Storage is asked, for that
// token's record alone, and not twice within a second if there is none. For tokens that are not
// pending it is asked 25 times a second at most, after a burst of 50; beyond that a request waits for up to
// two seconds. Tokens that were found a moment ago come first, then those that several networks ask for (the
// /24 of an IPv4 address, the /64 of an IPv6 address), as CAs do from several places at once, then those of
// networks that wait for few: they are found also while somebody tries tokens from one address, however fast.
// Two cases are not helped by that, in which only the process that presented an answer gives it surely: many
// networks that ask for the same made-up tokens together; and a proxy in front, by which all clients are of one
// network, unless the Handler gets requests with the client's own address in RemoteAddr. Behind a proxy, tokens
// that many requests are for come first, so that only tokens tried once each do no harm.
//
// If it could not be found out whether a token is pending, as Storage failed or was asked for too much,
// the answer is 503 Service Unavailable. A CA does not ask again after that: the validation has
// failed, and another order is needed. If Storage was asked for too much and next has a file (it succeeds, and
// not with an HTML page), that is the answer: an application's own files go on being served.
func (h *HTTP01) Handler(next http.Handler) http.Handler {
	spare := next // has the application's own files
	if next == nil {
		next = http.NotFoundHandler()
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := requestedToken(r.Method, r.URL.Path)
		if !ok {
			next.ServeHTTP(w, r)
			return
		}
		a, err := h.gate.answer(r.Context(), h.Storage, &h.memory, question{http01Key(token), networkOf(r.RemoteAddr)})
		switch {
		case errors.Is(err, fs.ErrNotExist):
			next.ServeHTTP(w, r)
		case errors.Is(err, errBusy) && spare != nil && serveFile(spare, w, r):
		case err != nil:
			// A page of next must not be the answer: the CA would take it for that of the challenge, and fail
			// with a reason that hides the true one.
			http.Error(w, challenge.UnreadableAnswer, http.StatusServiceUnavailable)
		default:
			writeAnswer(w, a.KeyAuthorization)
		}
	})
}

// WithStorage returns an HTTP01 with the same fields and that Storage, or h itself if it has one.
func (h *HTTP01) WithStorage(s storage.Store) acme.Solver {
	if h.Storage != nil {
		return h
	}
	return &HTTP01{Storage: s, Addr: h.Addr}
}

func (h *HTTP01) store() storage.Store {
	if h.Storage == nil {
		return &h.memory
	}
	return h.Storage
}

// requestedToken returns the token a request asks for, or false if it is none of a CA's.
func requestedToken(method, path string) (string, bool) {
	if method != http.MethodGet && method != http.MethodHead {
		return "", false
	}
	token, ok := strings.CutPrefix(path, challenge.HTTP01Path)
	return token, ok && challenge.IsToken(token)
}

func writeAnswer(w http.ResponseWriter, keyAuthorization string) {
	header := w.Header()
	header.Set("Content-Type", "application/octet-stream")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", strconv.Itoa(len(keyAuthorization)))
	io.WriteString(w, keyAuthorization) // net/http leaves it out of the answer to HEAD
}
