package acmetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// validateDNS01 looks for the key authorization's hash in the TXT records (RFC 8555 §8.4).
func (s *Server) validateDNS01(ctx context.Context, c *challenge) error {
	return s.validateDigest(ctx, c, "_acme-challenge.")
}

// validateDigest looks for the key authorization's hash at the identifier with the prefix.
func (s *Server) validateDigest(ctx context.Context, c *challenge, prefix string) error {
	name := prefix + c.authorization.identifier.Value
	values, err := s.lookUpTXT(ctx, name)
	if err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(c.keyAuthorization))
	want := base64.RawURLEncoding.EncodeToString(hash[:])
	if !slices.Contains(values, want) {
		return problemf(incorrectResponse, "the TXT records at %s are %s; none is %q", name, quote(fmt.Sprintf("%q", values)), want)
	}
	return nil
}
