package solver

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/storage"
)

// maxToken bounds tokens in bytes. CAs use 43 and less; RFC 8555 names no limit.
const maxToken = 256

// An answer is the record of one pending challenge.
type answer struct {
	Token            string          `json:"token"`
	KeyAuthorization string          `json:"keyAuthorization"`
	Identifier       acme.Identifier `json:"identifier"`
	DirectoryURL     string          `json:"directoryURL"`
	Created          time.Time       `json:"created"`
}

// checkProof reports that a proof is for the solver of another type of challenge, or of nothing.
func checkProof(p acme.Proof, challengeType string) error {
	switch {
	case p.Type == "":
		return fmt.Errorf("solver: a proof without a type of challenge was given to the solver of %s", challengeType)
	case p.Type != challengeType:
		return fmt.Errorf("solver: a challenge of type %.60q was given to the solver of %s", p.Type, challengeType)
	case p.Identifier.Value == "":
		return fmt.Errorf("solver: %s: the proof has no identifier", challengeType)
	}
	return nil
}

// newAnswer returns the answer to a challenge of the given type, or an error if p, much of which came
// from a CA, is none that could be answered.
func newAnswer(p acme.Proof, challengeType string) (answer, error) {
	if err := checkProof(p, challengeType); err != nil {
		return answer{}, err
	}
	id, err := acme.ParseIdentifier(p.Identifier.Value)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("solver: %s: %w", challengeType, err)
	case id.Type != p.Identifier.Type:
		return answer{}, fmt.Errorf("solver: %s: %q is not of identifier type %.60q", challengeType, id, p.Identifier.Type)
	case p.Wildcard || isWildcard(id):
		return answer{}, fmt.Errorf("solver: %s is no proof for a wildcard, which %q is asked for as: use a DNS challenge", challengeType, id)
	case p.Token == "":
		return answer{}, fmt.Errorf("solver: %s for %q: the proof has no token", challengeType, id)
	case !isToken(p.Token):
		return answer{}, fmt.Errorf("solver: %s for %q: the CA's token %.60q is not base64url of 1 to %d bytes", challengeType, id, p.Token, maxToken)
	}
	thumbprint, ok := strings.CutPrefix(p.KeyAuthorization, p.Token+".")
	if !ok || !isToken(thumbprint) {
		return answer{}, fmt.Errorf("solver: %s for %q: the proof's key authorization is not its token, a dot and a thumbprint", challengeType, id)
	}
	return answer{
		Token:            p.Token,
		KeyAuthorization: p.KeyAuthorization,
		Identifier:       id,
		DirectoryURL:     p.DirectoryURL,
		Created:          time.Now().UTC(),
	}, nil
}

// supports reports whether a host can prove control of an identifier by answering itself.
func supports(id acme.Identifier, wildcard bool) bool {
	return (id.Type == acme.TypeDNS || id.Type == acme.TypeIP) && !wildcard && !isWildcard(id)
}

func isWildcard(id acme.Identifier) bool { return strings.HasPrefix(id.Value, "*.") }

// isToken reports whether s is unpadded base64url (RFC 8555 §8.3) of a length worth looking up.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// http01Key returns the key of the answer to an http-01 challenge. Tokens differ by case, which keys
// cannot have: hence the digest.
func http01Key(token string) string {
	digest := sha256.Sum256([]byte(token))
	return "challenges/http-01/" + hex.EncodeToString(digest[:])
}

// tlsALPN01Key returns the key of the answer to a tls-alpn-01 challenge.
func tlsALPN01Key(id acme.Identifier) string {
	return "challenges/tls-alpn-01/" + id.Value
}

// save stores the answer under key, in place of any other.
func (a answer) save(ctx context.Context, s storage.Store, key string) error {
	value, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("solver: answer for %q: %w", a.Identifier, err)
	}
	replace := func([]byte) ([]byte, error) { return value, nil }
	if _, err := storage.Update(ctx, s, key, replace); err != nil {
		return fmt.Errorf("solver: store the answer for %q: %w", a.Identifier, err)
	}
	return nil
}

// load returns the answer stored under key. The error wraps fs.ErrNotExist if there is none.
func load(ctx context.Context, s storage.Store, key string) (answer, error) {
	item, err := s.Load(ctx, key)
	if err != nil {
		return answer{}, fmt.Errorf("load a challenge's answer: %w", err)
	}
	return parseAnswer(key, item.Value)
}

func parseAnswer(key string, value []byte) (answer, error) {
	var a answer
	if err := json.Unmarshal(value, &a); err != nil {
		return answer{}, fmt.Errorf("the record %q is no answer to a challenge: %w", key, err)
	}
	if a.KeyAuthorization == "" {
		return answer{}, fmt.Errorf("the record %q holds no key authorization", key)
	}
	return a, nil
}

// remove deletes the answer under key if it is a, or if it cannot be read and so answers nobody.
func (a answer) remove(ctx context.Context, s storage.Store, key string) error {
	for {
		item, err := s.Load(ctx, key)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("solver: clean up the answer for %q: %w", a.Identifier, err)
		}
		stored, err := parseAnswer(key, item.Value)
		if err == nil && stored.KeyAuthorization != a.KeyAuthorization {
			return nil
		}
		err = s.Delete(ctx, key, item.Revision)
		if err == nil {
			return nil
		}
		// After a conflict the record may be another order's by now: it is judged anew.
		if !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("solver: clean up the answer for %q: %w", a.Identifier, err)
		}
	}
}
