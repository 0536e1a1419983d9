package acmetest

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// validateDNSAccount01 is validateDNS01 at a name of the account's own (draft-ietf-acme-dns-account-label).
func (s *Server) validateDNSAccount01(ctx context.Context, c *challenge) error {
	hash := sha256.Sum256([]byte(s.urlOf("account", c.authorization.account.ID)))
	label := base32.StdEncoding.EncodeToString(hash[:10]) // 16 characters without padding
	return s.validateDigest(ctx, c, "_"+strings.ToLower(label)+"._acme-challenge.")
}
