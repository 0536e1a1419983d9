package acme

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// TXTRecord returns the DNS record that answers a challenge: its name without a final dot, and the text of
// one TXT record there. Other records at the same name stay: a wildcard and its base name, and several CAs,
// are answered side by side. The types are
//
//   - dns-01 (RFC 8555 §8.4);
//   - dns-account-01 (draft-ietf-acme-dns-account-label), at a name of the account's own;
//   - dns-persist-01 (draft-ietf-acme-dns-persist), a record that is not taken away again. It lasts until
//     removed, unless "; persistUntil=" and a Unix time in seconds is added to the text.
//
// Other types are an error.
func (p Proof) TXTRecord() (name, value string, err error) {
	name, value, err = p.txtRecord()
	if err != nil {
		return "", "", fmt.Errorf("acme: %s%w", about(p.name(), p.Type), err)
	}
	return name, value, nil
}

func (p Proof) txtRecord() (name, value string, err error) {
	if p.Identifier.Type != TypeDNS {
		return "", "", errors.New("an address has no DNS record to answer by")
	}
	if p.Type == TypeDNSPersist01 {
		value, err = p.persistentRecord()
		return "_validation-persist." + p.Identifier.Value, value, err
	}
	if p.KeyAuthorization == "" {
		return "", "", errors.New("the proof has no key authorization")
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
	return "", "", errors.New("this type is not answered by a TXT record")
}

// persistentRecord returns the text of a record for dns-persist-01, which has the syntax of a CAA record's
// value (RFC 8659 §4.2). Of the CA's names the first is as good as any.
func (p Proof) persistentRecord() (string, error) {
	const maxIssuers = 10
	issuers := p.HashedIssuers
	if len(issuers) == 0 {
		issuers = p.Issuers
	}
	if len(issuers) == 0 || len(issuers) > maxIssuers {
		return "", fmt.Errorf("the challenge has %d names for the CA, from 1 to %d are possible", len(issuers), maxIssuers)
	}
	for _, issuer := range issuers {
		if ascii, err := toASCII(issuer); err != nil || ascii != issuer || len(issuer) > 253 {
			return "", fmt.Errorf("the challenge names the CA %.260q, which is not a domain name in lower-case A-labels", issuer)
		}
	}
	foreign := func(r rune) bool { return r <= ' ' || r > '~' || r == ';' }
	if p.AccountURI == "" || len(p.AccountURI) > maxURLLength || strings.ContainsFunc(p.AccountURI, foreign) {
		return "", fmt.Errorf("the account %.200q cannot stand in a record", p.AccountURI)
	}
	text := issuers[0] + "; accounturi=" + p.AccountURI
	if p.Wildcard {
		text += "; policy=wildcard"
	}
	return text, nil
}
