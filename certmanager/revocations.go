package certmanager

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/certmanager/internal/record"
)

// Revocations are of the certificates that there are: those that are managed, and those that only the storage has.
type revocations struct {
	archive   *archive
	catalogue *catalogue
}

// of returns what is to be revoked for a name.
func (r revocations) of(ctx context.Context, name string, stopped <-chan struct{}) ([]record.Revocation, error) {
	e := r.catalogue.covering(name)
	if e == nil {
		return r.stored(ctx, name)
	}
	var all []record.Revocation
	for a := range familyOf(e).all() {
		if err := awaitLoaded(ctx, a, stopped); err != nil {
			return nil, err
		}
		one, err := r.ofEntry(ctx, a)
		if err != nil {
			return nil, err
		}
		if one != nil {
			all = append(all, *one)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it has no certificate")
	}
	return all, nil
}

// awaitLoaded returns nil once the storage was asked for the entry, or it is managed no more.
func awaitLoaded(ctx context.Context, e *entry, stopped <-chan struct{}) error {
	isAwaited := func() bool { return !e.progress.isLoaded() && e.roles.has(managed) }
	for isAwaited() {
		changed := e.progress.changes()
		if !isAwaited() {
			return nil // meanwhile
		}
		select {
		case <-changed:
		case <-stopped:
			return errEnded
		case <-ctx.Done():
			return fmt.Errorf("it is not loaded from the storage yet: %w", ctx.Err())
		}
	}
	return nil
}

// ofEntry returns what is to be revoked for an entry; nil: it has no certificate.
func (r revocations) ofEntry(ctx context.Context, e *entry) (*record.Revocation, error) {
	known := e.held()
	if known == nil {
		return nil, nil
	}
	one := record.Revocation{Issuer: known.issuer, Subject: e.name(), KeyType: string(e.keyType()), Replace: true}
	s := e.served.Load()
	if s != nil {
		one.Certificate = s.Certificate.Certificate[0]
	}
	found, err := r.archive.at(ctx, record.CertificateKey(one.Issuer, one.Subject, one.KeyType))
	if err != nil {
		return nil, err
	}
	switch {
	case found != nil && (s == nil || bytes.Equal(found.Chain[0], one.Certificate)):
		one.Certificate, one.Key = found.Chain[0], found.Key
	case s == nil:
		return nil, errors.New("it has a certificate that was evicted from memory, and is not stored any more")
	default:
		if distant, ok := s.Certificate.PrivateKey.(*distantKey); ok {
			one.Key.Reference = distant.ref
		} else {
			one.Key.Signer, _ = s.Certificate.PrivateKey.(crypto.Signer)
		}
	}
	return &one, nil
}

// stored returns what is to be revoked for a name that is not managed: all that is stored and has not ended.
func (r revocations) stored(ctx context.Context, name string) (all []record.Revocation, err error) {
	subjects, err := r.archive.sharedBy(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	for _, subject := range append(subjects, name) {
		for key, err := range r.archive.keysOf(ctx, subject) {
			if err != nil {
				return nil, err
			}
			c, err := r.archive.at(ctx, key)
			if err != nil {
				return nil, err
			}
			if issuer, _, keyType, ok := record.ParseCertificateKey(key); ok && c != nil && time.Now().Before(c.NotAfter) {
				all = append(all, record.Revocation{Issuer: issuer, Subject: subject, KeyType: keyType, Certificate: c.Chain[0], Key: c.Key})
			}
		}
	}
	if len(all) == 0 {
		return nil, errors.New("it is not managed, and the storage has no certificate for it")
	}
	return all, nil
}
