package acmetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

// issuerDomain is the name that the CA goes by in DNS records, for CAA (RFC 8659) and dns-persist-01.
const issuerDomain = "acmetest.invalid"

// validateDNSPersist01 looks for a record that names the CA and the account (draft-ietf-acme-dns-persist).
// Records for other CAs are skipped; of those for this one it is enough that one is right.
func (s *Server) validateDNSPersist01(ctx context.Context, c *challenge) error {
	name := "_validation-persist." + c.authorization.identifier.Value
	values, err := s.lookUpTXT(ctx, name)
	if err != nil {
		return err
	}
	wrong := problemf(unauthorized, "none of the TXT records at %s is for %s", name, issuerDomain)
	for _, value := range values {
		issuer, parameters, more := strings.Cut(value, ";")
		if trimBlanks(issuer) != issuerDomain {
			continue
		}
		record, p := parsePersistent(parameters, more)
		if p == nil {
			p = s.checkPersistent(record, c)
		}
		if p == nil {
			return nil
		}
		wrong = problemf(strings.TrimPrefix(p.Type, problemPrefix), "the TXT record %s at %s %s", quote(value), name, p.Detail)
	}
	return wrong
}

// A persistentRecord is what a record for dns-persist-01 says beside the CA's name.
type persistentRecord struct {
	accountURI   string
	wildcard     bool
	persistUntil *time.Time // nil: for ever
}

// parsePersistent reads what comes after the CA's name; without more nothing does. It has the syntax of a
// CAA record's value (RFC 8659 §4.2), in which an empty parameter is an error. The problem's detail continues
// after "the TXT record".
func parsePersistent(parameters string, more bool) (record persistentRecord, p *problem) {
	malformed := func(format string, args ...any) (persistentRecord, *problem) {
		return persistentRecord{}, problemf(malformed, format, args...)
	}
	var seen []string
	for more && (trimBlanks(parameters) != "" || len(seen) > 0) { // a lone semicolon may follow the name
		var parameter string
		parameter, parameters, more = strings.Cut(parameters, ";")
		tag, value, ok := strings.Cut(parameter, "=")
		tag, value = strings.ToLower(trimBlanks(tag)), trimBlanks(value)
		switch {
		case !ok || tag == "":
			return malformed("has %s where a parameter with tag and value must be", quote(parameter))
		case slices.Contains(seen, tag):
			return malformed("has the parameter %s twice", quote(tag))
		case strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r > '~' }):
			return malformed("has the value %s, with characters that cannot be there", quote(value))
		}
		seen = append(seen, tag)
		switch tag {
		case "accounturi":
			record.accountURI = value
		case "policy":
			record.wildcard = strings.EqualFold(value, "wildcard")
		case "persistuntil":
			seconds, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return malformed("has the persistUntil %s, which is not a number of seconds", quote(value))
			}
			until := time.Unix(seconds, 0)
			record.persistUntil = &until
		}
	}
	if record.accountURI == "" {
		return malformed("has no accounturi")
	}
	return record, nil
}

// checkPersistent returns why the record does not answer the challenge, nil if it does. The problem's
// detail continues after "the TXT record".
func (s *Server) checkPersistent(record persistentRecord, c *challenge) *problem {
	uris := s.accountURIs(c)
	switch {
	case !slices.Contains(uris, record.accountURI):
		return problemf(unauthorized, "is for another account than %q", uris)
	case (c.authorization.wildcard || c.authorization.subdomains) && !record.wildcard:
		return problemf(unauthorized, "has no policy=wildcard, which a wildcard and subdomains need")
	case record.persistUntil != nil && time.Now().After(*record.persistUntil):
		return problemf(unauthorized, "was for use until %s", rfc3339(*record.persistUntil))
	}
	return nil
}

// accountURIs returns how a record may name the challenge's account. In the format of drafts up to -01 that is
// its URL. From -02 on it is a hash of the domain, the account's key and its URL, and "*" may stand for the
// domain.
func (s *Server) accountURIs(c *challenge) (uris []string) {
	account := s.urlOf("account", c.authorization.account.ID)
	if !s.HashedAccounts {
		return []string{account}
	}
	for _, domain := range []string{c.authorization.identifier.Value, "*"} {
		hash := sha256.Sum256([]byte(string([]byte{byte(len(domain))}) + domain + c.thumbprint + account))
		uris = append(uris, s.accountHashPrefix()+"sha-256/"+base64.RawURLEncoding.EncodeToString(hash[:]))
	}
	return uris
}

// accountHashPrefix is what hashed accounts begin with. Nothing is served there.
func (s *Server) accountHashPrefix() string { return s.origin + "/accountHash/" }

// trimBlanks takes the white space off that RFC 8659 allows.
func trimBlanks(s string) string { return strings.Trim(s, " \t") }
