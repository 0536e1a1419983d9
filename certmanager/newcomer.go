package certmanager

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/everseal/everseal/acme"
)

// A newcomer is the entry of a certificate from elsewhere.
type newcomer struct {
	*entry
	isManaged bool // the entry is one of the catalogue's
	isStored  bool // it is not to become one: that is for the first client who wants it
}

// newcomer returns the entry for a certificate from elsewhere that is fit for use. If the names are managed with one other kind of
// key, it is that of theirs. Names that are not managed are to be if manage says so.
func (i importer) newcomer(ctx context.Context, leaf *x509.Certificate, key crypto.Signer, manage bool) (newcomer, error) {
	given, s, err := subjectFor(leaf, key)
	if err != nil {
		return newcomer{}, err
	}
	if err := (&acme.Certificate{Leaf: leaf}).Verify(key.Public(), s.identifiers, time.Now()); err != nil {
		return newcomer{}, err
	}
	if e := i.catalogue.covering(s.identifiers[0].Value); e != nil && e.name() == s.name() {
		e, err := e.forKey(i.catalogue.subject(s.name(), string(s.keyType())), &s)
		return newcomer{entry: e, isManaged: true}, err
	}
	if manage {
		all, err := i.normalized(given)
		if err != nil {
			return newcomer{}, err
		}
		return newcomer{entry: newEntry(all[0], managed)}, checkNames(i.catalogue, &all[0])
	}
	if i.policy.decide == nil || len(s.identifiers) > 1 || !isOnDemandName(s.identifiers[0]) {
		return newcomer{}, i.unmanaged(&s)
	}
	if other := i.catalogue.covering(s.identifiers[0].Value); other != nil {
		return newcomer{}, i.unmanaged(&s)
	}
	if err := i.policy.ask(ctx, Question{Name: s.identifiers[0].Value}); err != nil {
		return newcomer{}, err
	}
	all, err := i.normalized(Subject{Names: s.names()})
	if err != nil {
		return newcomer{}, err
	}
	e := newEntry(all[0], onDemand)
	e, err = e.forKey(familyOf(e).ofKind(string(s.keyType())), &s)
	return newcomer{entry: e, isStored: true}, err
}

// subjectFor returns what the certificate and its key are for.
func subjectFor(leaf *x509.Certificate, key crypto.Signer) (given Subject, s subject, err error) {
	kind := keyTypeOf(key.Public())
	if kind == "" {
		return given, s, fmt.Errorf("the key is of a type that is not supported: use one of %s, %s, %s, %s or %s", ECDSAP256, ECDSAP384, RSA2048, RSA3072, RSA4096)
	}
	given.KeyTypes = []KeyType{kind}
	given.Names = append(given.Names, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		given.Names = append(given.Names, ip.String())
	}
	if len(given.Names) == 0 {
		return given, s, errors.New("the certificate has no names that servers have")
	}
	if s, err = newSubject(given); err != nil {
		err = fmt.Errorf("a name of the certificate: %.300s", strings.TrimPrefix(err.Error(), "certmanager: "))
	}
	return given, s, err
}

// forKey returns the entry of the first one's family that a certificate is for: that of its kind of key, which may be nil, or
// the only one.
func (e *entry) forKey(same *entry, s *subject) (*entry, error) {
	if same == nil && e.alternative != nil {
		return nil, fmt.Errorf("the key is %s, and %v is managed with %v: clients are served by those", s.keyType(), s, e.keyTypes)
	}
	return cmp.Or(same, e), nil
}

// isOnDemandName reports whether a certificate can be obtained for the name on demand.
func isOnDemandName(id acme.Identifier) bool {
	return id.Type == acme.TypeDNS && strings.Contains(id.Value, ".") && !strings.HasPrefix(id.Value, "*.")
}

// unmanaged says of names that are not managed how it is with each.
func (i importer) unmanaged(s *subject) error {
	for _, id := range s.identifiers {
		if e := i.catalogue.covering(id.Value); e != nil {
			return fmt.Errorf("%w as those of one certificate: %s is in that of %v: have a Subject with exactly the names of this one", ErrNotManaged, id.Value, &e.subject)
		}
	}
	return fmt.Errorf("%w: have them in the Config", ErrNotManaged)
}
