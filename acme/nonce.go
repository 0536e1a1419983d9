package acme

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Bounds of the pool: CAs forget old nonces, and a pool larger than the requests that are ever under
// way at once is of no use.
const (
	maxNonces      = 64
	oldestNonce    = 10 * time.Minute
	maxNonceLength = 512
)

// A noncePool keeps the anti-replay nonces that came with the CA's answers (RFC 8555 §6.5).
type noncePool struct {
	mu     sync.Mutex
	nonces []pooledNonce // the oldest first
}

type pooledNonce struct {
	value string
	since time.Time
}

func (p *noncePool) put(nonce string) {
	if !validNonce(nonce) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.nonces) == maxNonces {
		p.nonces = append(p.nonces[:0], p.nonces[1:]...)
	}
	p.nonces = append(p.nonces, pooledNonce{nonce, time.Now()})
}

// take returns the freshest nonce, or "" if there is none young enough.
func (p *noncePool) take() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.nonces) - 1
	if last < 0 || time.Since(p.nonces[last].since) > oldestNonce {
		p.nonces = p.nonces[:0]
		return ""
	}
	nonce := p.nonces[last].value
	p.nonces = p.nonces[:last]
	return nonce
}

// clear drops all nonces: one was refused, and the others are no younger.
func (p *noncePool) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.nonces = p.nonces[:0]
}

// validNonce reports whether nonce is as RFC 8555 §6.5.1 wants; others are ignored.
func validNonce(nonce string) bool { return len(nonce) <= maxNonceLength && isBase64URL(nonce) }

// A nonceError says that no nonce could be had: the request it was for has not been made.
type nonceError struct{ error }

func (e nonceError) Error() string { return "get a nonce: " + e.error.Error() }
func (e nonceError) Unwrap() error { return e.error }

// nonce returns a nonce of the pool, or else a new one from the CA (RFC 8555 §7.2).
func (c *Client) nonce(ctx context.Context) (string, error) {
	if nonce := c.nonces.take(); nonce != "" {
		return nonce, nil
	}
	d, err := c.GetDirectory(ctx)
	if err != nil {
		return "", err
	}
	resp, err := c.exchange(ctx, request{action: "newNonce", method: http.MethodHead, url: d.NewNonce})
	if err != nil {
		return "", nonceError{err}
	}
	nonce := resp.nonce()
	if nonce == "" {
		return "", errors.New("get a nonce: the answer has no valid Replay-Nonce")
	}
	return nonce, nil
}
