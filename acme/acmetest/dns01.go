package acmetest

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
)

// validateDNS01 looks for the key authorization's hash in the table of TXT records (RFC 8555 §8.4).
func (s *Server) validateDNS01(c *challenge) error {
	return s.validateDigest(c, "_acme-challenge.")
}

// validateDigest looks for the key authorization's hash at the identifier with the prefix.
func (s *Server) validateDigest(c *challenge, prefix string) error {
	name := prefix + c.authorization.identifier.Value
	values := s.lookUpTXT(name)
	if len(values) == 0 {
		return errNoTXT(name)
	}
	hash := sha256.Sum256([]byte(c.keyAuthorization))
	want := base64.RawURLEncoding.EncodeToString(hash[:])
	if !slices.Contains(values, want) {
		return problemf(incorrectResponse, "the TXT records at %s are %s; none is %q", name, quote(fmt.Sprintf("%q", values)), want)
	}
	return nil
}

func errNoTXT(name string) error {
	return problemf(dnsProblem, "there is no TXT record at %s", name)
}
