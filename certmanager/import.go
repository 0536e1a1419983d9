package certmanager

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// ErrNotNewer is wrapped by the error of [Manager.Import] for a certificate that ends before the one that its names have, or that
// the manager has replaced since; and by that of [Manager.Transfer], see there.
var ErrNotNewer = errors.New("the names have a certificate that ends later")

// Import makes a certificate from elsewhere one of the manager's: it is stored, served at once, and replaced by one of the
// Config's issuers when it is due by its age. Its names are managed from then on, as by
// [Manager.Manage], with the type of its key, or as they were if they are managed already.
//
// The chain is PEM, in any order; what is not above the certificate is left out, and so is the root. The key is PEM
// too, not encrypted: PKCS #8, PKCS #1 or SEC 1, of one of the KeyTypes. A certificate that has expired, is not for servers,
// has names that no certificate can be obtained for, or does not belong to the key is refused, and so is one whose names
// are in other certificates that are managed, or managed with several kinds of key and not with its own. If the names have a certificate that ends later, or one that replaced
// this, that stays, and the error wraps [ErrNotNewer]: what was imported once and renewed can be imported again without harm.
// The very certificate that is there is no error. For one whose key Config.Keys has to be replaced, Import waits for an attempt under way, as
// [Manager.Delete] does: ctx should have time for that.
func (m *Manager) Import(ctx context.Context, certPEM, keyPEM []byte) error {
	_, err := m.transfer(ctx, &Transfer{Certificate: certPEM, Key: keyPEM, Manage: true, isImport: true})
	if err != nil && !errors.Is(err, errNotMade) {
		return fmt.Errorf("certmanager: import: %w", err)
	}
	return err
}

// checkNames returns an error if a name of the subject is in another certificate of the catalogue.
func checkNames(c *catalogue, s *subject) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	_, err := in.known(s, nil)
	return err
}

// keepImported stores the record, unless there is one that is to stay, and reports whether that changes anything. Of one that
// is the same, r takes over when it came. In a dry run nothing is stored.
func (m *Manager) keepImported(ctx context.Context, e *entry, r *record.Certificate, t *Transfer) (changed bool, err error) {
	for range deletionTries {
		old, err := storedAt(ctx, m.store, e.certificateKey(r.Issuer)) // first: what is stored after that makes a conflict
		if err != nil {
			return false, err
		}
		current, err := m.obtainer.archive.newest(ctx, e)
		if err != nil {
			return false, storageFailure(err)
		}
		if current != nil {
			if current.Same(r) {
				*r = *current
				return false, nil
			}
			if err := t.isNoBetter(r, current); err != nil {
				return false, err
			}
			if !r.NewerThan(current, time.Now()) {
				r.Obtained = current.Obtained.Add(1)
			}
		}
		if t.DryRun {
			return true, nil
		}
		if err = m.saveImported(ctx, e, r, old); !errors.Is(err, storage.ErrConflict) {
			return err == nil, err
		}
	}
	return false, errors.New("the stored record was changed by others again and again")
}

// saveImported stores the record in place of what was there. The error is storage.ErrConflict if that has changed.
func (m *Manager) saveImported(ctx context.Context, e *entry, r *record.Certificate, old storage.Item) error {
	value, err := r.Encode()
	if err != nil {
		return err
	}
	if err := m.obtainer.eraser().retireKey(ctx, e, old.Value); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, storageTimeout, errSlowStorage)
	defer cancel()
	if _, err = m.store.Save(ctx, e.certificateKey(r.Issuer), value, old.Revision); err != nil && !errors.Is(err, storage.ErrConflict) {
		return storageFailure(slowStorage(ctx, err))
	}
	return err
}

// manageImported puts an entry under management, and returns it, or the one that somebody else has put there meanwhile.
func (m *Manager) manageImported(e *entry) (*entry, error) {
	if _, err := m.catalogue.add([]subject{e.subject}); err != nil {
		return nil, err
	}
	if added := m.catalogue.subject(e.name(), string(e.keyType())); added != nil {
		return added, nil
	}
	return nil, fmt.Errorf("%v: %w", &e.subject, errForgotten)
}

// parseKey returns the first private key in the text. Its errors do not show what it could not read.
func parseKey(text []byte) (crypto.Signer, error) {
	if len(text) > storage.MaxValue {
		return nil, errors.New("the key is too long")
	}
	return record.ParseKeyPEM(text)
}

const (
	maxImported = 64   // certificates in a text
	maxRSA      = 8192 // bits of a key in them, as in crypto/tls: what is longer takes long to check a signature with
)

// parseChain returns the certificate of the key that is in the text, with those above it but the root.
func parseChain(text []byte, key crypto.Signer) (*acme.Certificate, error) {
	if len(text) > storage.MaxValue {
		return nil, errors.New("the chain is too long")
	}
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		if len(all) == maxImported {
			return nil, fmt.Errorf("there are more than %d certificates", maxImported)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d can't be parsed: %.200q", len(all)+1, err.Error())
		}
		if public, ok := c.PublicKey.(*rsa.PublicKey); ok && public.N.BitLen() > maxRSA {
			return nil, fmt.Errorf("certificate %d has an RSA key of more than %d bits, which clients do not take", len(all)+1, maxRSA)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, errors.New("there is no certificate in PEM where it is expected")
	}
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	for _, leaf := range all {
		if ok && public.Equal(leaf.PublicKey) {
			return &acme.Certificate{Leaf: leaf, Chain: chainAbove(leaf, all)}, nil
		}
	}
	return nil, errors.New("none of the certificates is for the key")
}

// chainAbove returns the leaf and those of the certificates that are above it, in DER, without a root.
func chainAbove(leaf *x509.Certificate, all []*x509.Certificate) [][]byte {
	chain := [][]byte{leaf.Raw}
	for last := leaf; len(chain) <= len(all); {
		var next *x509.Certificate
		for _, c := range all {
			if bytes.Equal(c.RawSubject, last.RawIssuer) && !bytes.Equal(c.RawSubject, c.RawIssuer) && last.CheckSignatureFrom(c) == nil {
				next = c
			}
		}
		if next == nil {
			break
		}
		chain, last = append(chain, next.Raw), next
	}
	return chain
}
