package acmetest

import (
	"crypto/rand"
	"encoding/base64"
	"net/http"
	"sync"
)

// maxNonces is the number of unused nonces that are remembered; the oldest go first.
const maxNonces = 4096

// nonces are the anti-replay nonces given out and not used yet (RFC 8555 §6.5).
type nonces struct {
	mu     sync.Mutex // guards what follows
	unused map[string]bool
	ring   [maxNonces]string // those given out last, used or not
	next   int               // place in ring of the oldest
}

// issue returns a new nonce.
func (n *nonces) issue() string {
	nonce := randomID()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.unused == nil {
		n.unused = make(map[string]bool)
	}
	delete(n.unused, n.ring[n.next])
	n.ring[n.next] = nonce
	n.unused[nonce] = true
	n.next = (n.next + 1) % maxNonces
	return nonce
}

// use reports whether nonce was given out and is used for the first time.
func (n *nonces) use(nonce string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	unused := n.unused[nonce]
	delete(n.unused, nonce)
	return unused
}

// randomID returns 128 random bits as 22 characters that may stand in URLs and JOSE headers.
func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// newNonce answers requests for a nonce (RFC 8555 §7.2).
func (s *Server) newNonce(w http.ResponseWriter, r *http.Request) {
	if !allowMethods(w, r, http.MethodHead, http.MethodGet) {
		return
	}
	s.addNonce(w)
	if r.Method == http.MethodGet {
		w.WriteHeader(http.StatusNoContent)
	}
}

// addNonce puts a fresh nonce into the answer, which no cache may keep.
func (s *Server) addNonce(w http.ResponseWriter) {
	w.Header().Set("Replay-Nonce", s.nonces.issue())
	w.Header().Set("Cache-Control", "no-store")
}
