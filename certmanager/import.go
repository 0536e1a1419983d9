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
	if m.store == nil {
		return errNotMade
	}
	_, err := m.importer.transfer(ctx, &Transfer{Certificate: certPEM, Key: keyPEM, Manage: true, isImport: true})
	if err != nil {
		return fmt.Errorf("certmanager: import: %w", err)
	}
	return nil
}

// checkNames returns an error if a name of the subject is in another certificate of the catalogue.
func checkNames(c *catalogue, s *subject) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	in := locked{c}
	_, err := in.known(s, nil)
	return err
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
