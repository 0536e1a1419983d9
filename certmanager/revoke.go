package certmanager

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// Revoke has the certificate that covers the name, with each kind of key that it has, revoked by the issuer that signed it,
// which has to have a method for it (see [Issuer]). The successor comes first: it is obtained with a new key, stored and
// served, and then the old one is revoked. Revoke returns when both are done, or with the error of the first try.
//
// One that was imported is asked of the first issuer, which may not be who signed it: that can't be told.
//
// A name that is not managed has no successor: of it what is stored is revoked, of all issuers and key types. So a server
// that is given up calls Forget, Revoke and [Manager.Delete], in this order.
//
// What is to be revoked is stored before anything else is done, and tried again after a failure, and after a restart, until
// it is done or the certificate has ended; if the names are deleted meanwhile, without waiting for a successor. That the
// manager can't reach the CA at the moment, or ctx ends, does not end it. A Run that has not begun is waited for, as
// [Manager.Renew] does.
func (m *Manager) Revoke(ctx context.Context, name string, reason acme.RevocationReason) error {
	if m.store == nil {
		return errNotMade
	}
	id, err := acme.ParseIdentifier(name)
	if err != nil {
		return fmt.Errorf("certmanager: %w", err)
	}
	if m.config.Role == RoleServe {
		return fmt.Errorf("certmanager: revoke %s: %w", id.Value, errReadsOnly)
	}
	stopped, err := m.awaitRun(ctx)
	if err != nil {
		return fmt.Errorf("certmanager: revoke %s: %w", id.Value, err)
	}
	all, err := m.revocationsOf(ctx, id.Value, stopped)
	if err != nil {
		return fmt.Errorf("certmanager: revoke %s: %w", id.Value, err)
	}
	var errs []error
	for _, r := range all {
		r.Reason, r.Requested = int(reason), time.Now().UTC()
		if err := m.revokeStored(ctx, &r, stopped); err != nil {
			errs = append(errs, fmt.Errorf("certmanager: revoke %s: %w", id.Value, err))
		}
	}
	return errors.Join(errs...)
}

// revocationsOf returns what is to be revoked for a name.
func (m *Manager) revocationsOf(ctx context.Context, name string, stopped <-chan struct{}) ([]record.Revocation, error) {
	e := m.catalogue.covering(name)
	if e == nil {
		return m.storedRevocations(ctx, name)
	}
	var all []record.Revocation
	for a := range familyOf(e).all() {
		if err := awaitLoaded(ctx, a, stopped); err != nil {
			return nil, err
		}
		r, err := m.revocationOf(ctx, a)
		if err != nil {
			return nil, err
		}
		if r != nil {
			all = append(all, *r)
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

// revocationOf returns what is to be revoked for an entry; nil: it has no certificate.
func (m *Manager) revocationOf(ctx context.Context, e *entry) (*record.Revocation, error) {
	known := e.held()
	if known == nil {
		return nil, nil
	}
	r := record.Revocation{Issuer: known.issuer, Subject: e.name(), KeyType: string(e.keyType()), Replace: true}
	s := e.served.Load()
	if s != nil {
		r.Certificate = s.Certificate.Certificate[0]
	}
	found, err := m.obtainer.archive.at(ctx, record.CertificateKey(r.Issuer, r.Subject, r.KeyType))
	if err != nil {
		return nil, err
	}
	switch {
	case found != nil && (s == nil || bytes.Equal(found.Chain[0], r.Certificate)):
		r.Certificate, r.Key = found.Chain[0], found.Key
	case s == nil:
		return nil, errors.New("it has a certificate that was evicted from memory, and is not stored any more")
	default:
		if distant, ok := s.Certificate.PrivateKey.(*distantKey); ok {
			r.Key.Reference = distant.ref
		} else {
			r.Key.Signer, _ = s.Certificate.PrivateKey.(crypto.Signer)
		}
	}
	return &r, nil
}

// storedRevocations returns what is to be revoked for a name that is not managed: all that is stored and has not ended.
func (m *Manager) storedRevocations(ctx context.Context, name string) (all []record.Revocation, err error) {
	subjects, err := m.obtainer.archive.sharedBy(ctx, []string{name})
	if err != nil {
		return nil, err
	}
	for _, subject := range append(subjects, name) {
		for key, err := range m.obtainer.archive.keysOf(ctx, subject) {
			if err != nil {
				return nil, err
			}
			c, err := m.obtainer.archive.at(ctx, key)
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

// at returns the certificate that is stored at a key, or nil if there is none that can be used.
func (a *archive) at(ctx context.Context, key string) (*record.Certificate, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	item, err := a.store.Load(ctx, key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, storageFailure(slowStorage(ctx, err))
	}
	r, err := record.DecodeCertificate(item.Value, nil, &a.intermediates)
	if err != nil {
		return nil, nil
	}
	return r, nil
}

// revokeStored stores what is to be revoked, and waits for the first try.
func (m *Manager) revokeStored(ctx context.Context, r *record.Revocation, stopped <-chan struct{}) error {
	if _, err := m.revokerOf(r.Issuer); err != nil {
		return err
	}
	value, err := r.Encode()
	if err != nil {
		r.Key = record.Key{} // one that can't be stored: the account can revoke
		if value, err = r.Encode(); err != nil {
			return err
		}
	}
	key := record.RevocationKey(r.Issuer, serialOf(r.Certificate))
	if _, err := storage.Update(ctx, m.store, key, func([]byte) ([]byte, error) { return value, nil }); err != nil {
		return storageFailure(fmt.Errorf("record it before it is done: %w", err))
	}
	done := make(chan error, 1)
	select {
	case m.pursuits.wishes <- wish{key, done}: // at once, also if ctx has ended: it is stored
	case <-stopped:
		return errEnded
	}
	select {
	case err := <-done:
		return err
	case <-stopped:
		return errEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}
