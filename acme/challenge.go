package acme

import (
	"context"
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Challenge types (RFC 8555 §8, RFC 8737, draft-ietf-acme-dns-account-label).
const (
	TypeHTTP01       = "http-01"
	TypeTLSALPN01    = "tls-alpn-01"
	TypeDNS01        = "dns-01"
	TypeDNSAccount01 = "dns-account-01"
)

// A Challenge is one way the CA offers to prove control of an identifier (RFC 8555 §7.1.5).
type Challenge struct {
	Type      string    `json:"type"`
	URL       string    `json:"url"`
	Token     string    `json:"token,omitempty"` // empty for types that have none
	Status    string    `json:"status"`
	Validated time.Time `json:"validated,omitzero"`
	Error     *Problem  `json:"error,omitempty"` // why validation failed, or has failed so far
}

// A Proof is all that answering one challenge needs. It can be written down as JSON and read back, so
// that another process, or this one after a restart, can take the answer away again.
type Proof struct {
	Challenge
	Identifier       Identifier `json:"identifier"`
	Wildcard         bool       `json:"wildcard,omitempty"`
	KeyAuthorization string     `json:"keyAuthorization,omitempty"` // RFC 8555 §8.1; empty without a token
	AccountURL       string     `json:"accountURL"`
	DirectoryURL     string     `json:"directoryURL"`
}

// name returns the identifier as it stands in the order.
func (p *Proof) name() string { return orderedName(p.Identifier, p.Wildcard) }

// A Solver puts the answers to one type of challenge in place. Its methods are called concurrently.
//
// Solvers may also have these methods:
//
//	// Wait returns once the CA can be expected to see the answer that Present put in place, or an
//	// error that says why it can't. The CA is told to look only after it has returned nil.
//	Wait(ctx context.Context, p Proof) error
//
//	// Supports reports whether the solver can answer for an identifier. Without it, a solver is
//	// taken to support all identifiers for which the CA offers its type.
//	Supports(id Identifier, wildcard bool) bool
type Solver interface {
	// Type returns the type of challenge the solver answers, such as "http-01".
	Type() string
	// Present puts the answer in place. Doing so again for the same proof is no error.
	Present(ctx context.Context, p Proof) error
	// CleanUp takes the answer away. It works from the proof alone, also in a process that did not
	// present it; that there is nothing to take away is no error.
	CleanUp(ctx context.Context, p Proof) error
}

// waitPresented calls the solver's Wait method, if it has one.
func waitPresented(ctx context.Context, s Solver, p Proof) error {
	if w, ok := s.(interface {
		Wait(context.Context, Proof) error
	}); ok {
		return w.Wait(ctx, p)
	}
	return nil
}

// Supports reports whether the solver can answer for the identifier: what its Supports method says, or
// true if it has none.
func Supports(s Solver, id Identifier, wildcard bool) bool {
	if f, ok := s.(interface{ Supports(Identifier, bool) bool }); ok {
		return f.Supports(id, wildcard)
	}
	return true
}

// KeyAuthorization returns the token joined with the thumbprint of the account's key, which is what
// most challenges are answered with (RFC 8555 §8.1).
func (c *Client) KeyAuthorization(token string) (string, error) {
	if c.Key == nil {
		return "", errNoKey
	}
	thumbprint, err := (&jose.JSONWebKey{Key: c.Key.Public()}).Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("acme: thumbprint of the account key: %w", err)
	}
	return token + "." + base64.RawURLEncoding.EncodeToString(thumbprint), nil
}

// AcceptChallenge tells the CA that the answer to the challenge is in place and may be looked for. It
// returns the challenge as the CA sees it then; the outcome shows in the authorization or the order
// (RFC 8555 §7.5.1).
func (c *Client) AcceptChallenge(ctx context.Context, url string) (*Challenge, error) {
	challenge := new(Challenge)
	if _, err := c.postJSON(ctx, url, json.RawMessage("{}"), challenge); err != nil {
		return nil, fmt.Errorf("acme: accept challenge: %w", err)
	}
	return challenge, nil
}
