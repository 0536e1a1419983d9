package record

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// SubjectName returns the part of storage keys that stands for a set of names: the one there is, or "example.com+2-"
// and a hash of all where there are two more than the first of them in order. The names are as
// [acme.ParseIdentifier] returns them, in any order. Of none it is empty, which no storage key can have.
func SubjectName(names []string) string {
	switch len(names) {
	case 0:
		return ""
	case 1:
		return names[0]
	}
	if names = sortedNames(names); len(names) == 1 {
		return names[0]
	}
	return fmt.Sprintf("%s+%d-%s", names[0], len(names)-1, shortHash([]byte(strings.Join(names, " "))))
}

// sortedNames returns the names in order, each once.
func sortedNames(names []string) []string {
	if !slices.IsSorted(names) {
		names = slices.Sorted(slices.Values(names))
	}
	return slices.Compact(slices.Clone(names))
}

// CertificateKey returns the storage key of the certificate that the issuer signed for the subject, which is named
// as [SubjectName] does: "certificates/<issuer>/<subject>/<key type>".
func CertificateKey(issuer, subject, keyType string) string {
	return CertificatePrefix(issuer) + "/" + subject + "/" + keyType
}

// CertificatePrefix returns the prefix that lists the issuer's certificates: "certificates/<issuer>", for a
// storage.Store puts the "/" behind it.
func CertificatePrefix(issuer string) string { return AllCertificates + "/" + issuer }

// AllCertificates is the prefix that lists the certificates of all issuers.
const AllCertificates = "certificates"

// FirstName returns the first of the names, in order, that [SubjectName] has made the subject of.
func FirstName(subject string) string {
	first, _, _ := strings.Cut(subject, "+")
	return first
}

// ParseCertificateKey returns what [CertificateKey] put into the key, and whether it is such a key.
func ParseCertificateKey(key string) (issuer, subject, keyType string, ok bool) {
	return parseKey(key, AllCertificates)
}

// WorkKey returns the storage key of the lease, and in it the [Work], of whoever obtains the subject's certificate
// from a chain of issuers, of which the first one names it: "work/<first issuer>/<subject>/<key type>".
func WorkKey(firstIssuer, subject, keyType string) string {
	return WorkPrefix(firstIssuer) + "/" + subject + "/" + keyType
}

// WorkPrefix returns the prefix that lists the work on certificates with the chain of issuers.
func WorkPrefix(firstIssuer string) string { return AllWork + "/" + firstIssuer }

// AccountKey returns the storage key of the account with the issuer. One that is bound to an external account (RFC
// 8555 §7.3.4) is another account for each of its key identifiers; the empty one stands for none.
func AccountKey(issuer, externalKeyID string) string {
	if externalKeyID == "" {
		return "accounts/" + issuer + "/default"
	}
	return "accounts/" + issuer + "/external-" + shortHash([]byte(externalKeyID))
}

// AuthorityKey returns the storage key of an issuer that signs by itself: "authorities/<issuer>".
func AuthorityKey(issuer string) string { return "authorities/" + issuer }

// AccountLeaseKey returns the storage key of the lease of whoever changes the account whose record is at the key.
func AccountLeaseKey(accountKey string) string { return accountKey + "/lease" }

// CorruptKey returns the storage key for a copy of the value found at the key, which could not be read. Each value
// has its own.
func CorruptKey(key string, value []byte) string {
	return AllCopies + "/" + shortHash(value) + "/" + key
}

// shortHash returns the first eight bytes of the hash in hexadecimal.
func shortHash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// AllWork is the prefix that lists the work on all certificates.
const AllWork = "work"

// ParseWorkKey returns what [WorkKey] put into the key, and whether it is such a key.
func ParseWorkKey(key string) (firstIssuer, subject, keyType string, ok bool) {
	return parseKey(key, AllWork)
}

// parseKey splits a key of the form "<prefix>/<issuer>/<subject>/<key type>".
func parseKey(key, prefix string) (issuer, subject, keyType string, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != prefix || slices.Contains(parts, "") {
		return "", "", "", false
	}
	return parts[1], parts[2], parts[3], true
}

// AllCopies is the prefix that lists the copies of values that could not be read.
const AllCopies = "corrupt"

// IsCopy reports whether the value at the key is a copy that [CorruptKey] has named.
func IsCopy(key string, value []byte) bool {
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, AllCopies+"/"), "/")
	return CorruptKey(rest, value) == key
}
