// Package challenge says what CAs ask for with each type of challenge, and what answers it: which proofs can be answered,
// and what a server, a certificate or a TXT record must have. Solvers publish answers by it, and diagnoses check for them.
// Its errors are parts of those of its callers, who put their package's name before them.
package challenge

import (
	"fmt"
	"strings"

	"github.com/everseal/everseal/acme"
)

// maxToken bounds tokens in bytes. CAs use 43 and less; RFC 8555 names no limit.
const maxToken = 256

// CheckProof reports that a proof is for the solver of another type of challenge, or of nothing.
func CheckProof(p acme.Proof, challengeType string) error {
	switch {
	case p.Type == "":
		return fmt.Errorf("a proof without a type of challenge was given to the solver of %s", challengeType)
	case p.Type != challengeType:
		return fmt.Errorf("a challenge of type %.60q was given to the solver of %s", p.Type, challengeType)
	case p.Identifier.Value == "":
		return fmt.Errorf("%s: the proof has no identifier", challengeType)
	}
	return nil
}

// Validate returns p with its identifier in the one form, or an error if p, much of which came from a CA, is none of
// the given type that could be answered by a host.
func Validate(p acme.Proof, challengeType string) (acme.Proof, error) {
	if err := CheckProof(p, challengeType); err != nil {
		return acme.Proof{}, err
	}
	id, err := acme.ParseIdentifier(p.Identifier.Value)
	switch {
	case err != nil:
		return acme.Proof{}, fmt.Errorf("%s: %w", challengeType, err)
	case id.Type != p.Identifier.Type:
		return acme.Proof{}, fmt.Errorf("%s: %q is not of identifier type %.60q", challengeType, id, p.Identifier.Type)
	case p.Wildcard || IsWildcard(id):
		return acme.Proof{}, fmt.Errorf("%s is no proof for a wildcard, which %q is asked for as: use a DNS challenge", challengeType, id)
	case p.Token == "":
		return acme.Proof{}, fmt.Errorf("%s for %q: the proof has no token", challengeType, id)
	case !IsToken(p.Token):
		return acme.Proof{}, fmt.Errorf("%s for %q: the CA's token %.60q is not base64url of 1 to %d bytes", challengeType, id, p.Token, maxToken)
	}
	thumbprint, ok := strings.CutPrefix(p.KeyAuthorization, p.Token+".")
	if !ok || !IsToken(thumbprint) {
		return acme.Proof{}, fmt.Errorf("%s for %q: the proof's key authorization is not its token, a dot and a thumbprint", challengeType, id)
	}
	p.Identifier = id
	return p, nil
}

// IsWildcard reports whether an identifier is that of a wildcard.
func IsWildcard(id acme.Identifier) bool { return strings.HasPrefix(id.Value, "*.") }

// IsToken reports whether s is unpadded base64url (RFC 8555 §8.3) of a length worth looking up.
func IsToken(s string) bool {
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
