package acme

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"strings"
)

// TXTRecord returns the DNS record that answers a challenge of type dns-01 (RFC 8555 §8.4) or
// dns-account-01 (draft-ietf-acme-dns-account-label): its name without a final dot, and the text of one
// TXT record there. Other answers at the same name stay: a wildcard and its base name are proved side by
// side. Other types are an error.
func (p Proof) TXTRecord() (name, value string, err error) {
	switch {
	case p.Identifier.Type != TypeDNS:
		return "", "", fmt.Errorf("acme: %s: an address has no DNS record to answer by", printable(p.Identifier.Value, 260))
	case p.KeyAuthorization == "":
		return "", "", fmt.Errorf("acme: %s: the proof has no key authorization", printable(p.name(), 260))
	}
	digest := sha256.Sum256([]byte(p.KeyAuthorization))
	value = base64.RawURLEncoding.EncodeToString(digest[:])
	name = "_acme-challenge." + p.Identifier.Value
	switch p.Type {
	case TypeDNS01:
		return name, value, nil
	case TypeDNSAccount01:
		account := sha256.Sum256([]byte(p.AccountURL))
		label := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(account[:10])
		return "_" + strings.ToLower(label) + "." + name, value, nil
	}
	return "", "", fmt.Errorf("acme: %s: %s is not answered by a TXT record of the order's", printable(p.name(), 260), printable(p.Type, 40))
}
