package solver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/solver/internal/challenge"
	"github.com/everseal/everseal/storage"
)

// An answer is the record of one pending challenge.
type answer struct {
	Token            string          `json:"token"`
	KeyAuthorization string          `json:"keyAuthorization"`
	Identifier       acme.Identifier `json:"identifier"`
	DirectoryURL     string          `json:"directoryURL"`
	Created          time.Time       `json:"created"`
}

// newAnswer returns the answer to a challenge of the given type, or an error if p is none that could be answered.
func newAnswer(p acme.Proof, challengeType string) (answer, error) {
	p, err := challenge.Validate(p, challengeType)
	if err != nil {
		return answer{}, fmt.Errorf("solver: %w", err)
	}
	return answer{
		Token:            p.Token,
		KeyAuthorization: p.KeyAuthorization,
		Identifier:       p.Identifier,
		DirectoryURL:     p.DirectoryURL,
		Created:          time.Now().UTC(),
	}, nil
}

// supports reports whether a host can prove control of an identifier by answering itself.
func supports(id acme.Identifier, wildcard bool) bool {
	return (id.Type == acme.TypeDNS || id.Type == acme.TypeIP) && !wildcard && !challenge.IsWildcard(id)
}

// http01Key returns the key of the answer to an http-01 challenge. Tokens differ by case, which keys
// cannot have: hence the digest.
func http01Key(token string) string {
	const prefix = "challenges/http-01/"
	digest := sha256.Sum256([]byte(token))
	key := make([]byte, 0, len(prefix)+2*len(digest)) // once: scanners ask for many
	return string(hex.AppendEncode(append(key, prefix...), digest[:]))
}

// tlsALPN01Key returns the key of the answer to a tls-alpn-01 challenge.
func tlsALPN01Key(id acme.Identifier) string {
	return "challenges/tls-alpn-01/" + id.Value
}

// save stores the answer under key, in place of any other, and returns the revision of its record. It takes the place to be
// free, as that of a new token is, and looks at what is there when it is not.
func (a answer) save(ctx context.Context, s storage.Store, key string) (storage.Revision, error) {
	value, err := json.Marshal(a)
	if err != nil {
		return "", fmt.Errorf("solver: answer for %q: %w", a.Identifier, err)
	}
	revision, err := s.Save(ctx, key, value, "")
	if errors.Is(err, storage.ErrConflict) {
		var item storage.Item
		item, err = storage.Update(ctx, s, key, func([]byte) ([]byte, error) { return value, nil })
		revision = item.Revision
	}
	if err != nil {
		return "", fmt.Errorf("solver: store the answer for %q: %w", a.Identifier, err)
	}
	return revision, nil
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

// AnswerTime returns when an answer was published that is stored under challenges/http-01/, challenges/tls-alpn-01/ or
// challenges/responder/ (see What is stored). An error says that the value is no such answer, or one of a later version of this
// package: it may mean something else. The standing record of a [DNSPersist01] is no answer that could be over.
func AnswerTime(value []byte) (time.Time, error) {
	var a answer
	if isJust(value, &a) && a.KeyAuthorization != "" && !a.Created.IsZero() {
		return a.Created, nil
	}
	var p pendingRecord
	if isJust(value, &p) && p.isAnswer() && !p.Created.IsZero() {
		return p.Created, nil
	}
	return time.Time{}, errors.New("solver: the record is no answer to a challenge that this version knows")
}

// isJust reports whether a value is an object with no other fields than v has, which it reads.
func isJust(value []byte, v any) bool {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.DisallowUnknownFields()
	return decoder.Decode(v) == nil
}

// remove deletes the answer under key if it is a, or if it cannot be read and so answers nobody. The revision is that of a's
// record as far as this process knows; zero: it does not.
func (a answer) remove(ctx context.Context, s storage.Store, key string, revision storage.Revision) error {
	for {
		if revision == "" {
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
			revision = item.Revision
		}
		err := s.Delete(ctx, key, revision)
		if err == nil {
			return nil
		}
		// After a conflict the record may be another order's by now: it is judged anew.
		if !errors.Is(err, storage.ErrConflict) {
			return fmt.Errorf("solver: clean up the answer for %q: %w", a.Identifier, err)
		}
		revision = ""
	}
}
