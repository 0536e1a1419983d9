package certmanager

import (
	"fmt"
	"slices"
	"strings"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// A subject is a Subject in one form: names normalized, sorted and each once.
type subject struct {
	identifiers []acme.Identifier
	keyTypes    []KeyType // that of the certificate, and behind it those of its alternatives; at least one
	profile     string
	solvers     []acme.Solver // zero: the Config's
}

// keyType returns that of the certificate.
func (s *subject) keyType() KeyType { return s.keyTypes[0] }

func newSubject(s Subject) (subject, error) {
	normal := subject{keyTypes: s.KeyTypes, profile: s.Profile, solvers: s.Solvers}
	if len(s.Names) == 0 {
		return subject{}, errNoNames
	}
	if err := checkKeyTypes(s.KeyTypes); err != nil {
		return subject{}, fmt.Errorf("Subject.KeyTypes of %.100q: %w", s.Names[0], err)
	}
	for _, name := range s.Names {
		id, err := acme.ParseIdentifier(name)
		if err != nil {
			return subject{}, err
		}
		normal.identifiers = append(normal.identifiers, id)
	}
	slices.SortFunc(normal.identifiers, func(a, b acme.Identifier) int { return strings.Compare(a.Value, b.Value) })
	normal.identifiers = slices.Compact(normal.identifiers)
	return normal, nil
}

func (s *subject) names() []string {
	names := make([]string, len(s.identifiers))
	for i, id := range s.identifiers {
		names[i] = id.Value
	}
	return names
}

// String names the subject in errors and logs.
func (s *subject) String() string {
	if more := len(s.identifiers) - 1; more > 0 {
		return fmt.Sprintf("%s and %d more", s.identifiers[0].Value, more)
	}
	return s.identifiers[0].Value
}

// name is the part of storage keys that stands for the set of identifiers.
func (s *subject) name() string { return record.SubjectName(s.names()) }

// certificateKey is the storage key of the subject's certificate by an issuer.
func (s *subject) certificateKey(issuer string) string {
	return record.CertificateKey(issuer, s.name(), string(s.keyType()))
}

// workKey is the storage key of the work on the subject's certificate by a chain of issuers, of which this is the first.
func (s *subject) workKey(first string) string {
	return record.WorkKey(first, s.name(), string(s.keyType()))
}

// key is that for the set of identifiers and the key type: no two entries have the same.
func (s *subject) key() string {
	return s.name() + "/" + string(s.keyType())
}

// equals reports whether both are the same. One of the same names with other kinds of key is not.
func (s *subject) equals(other *subject) bool {
	return slices.Equal(s.keyTypes, other.keyTypes) && slices.Equal(s.identifiers, other.identifiers)
}
