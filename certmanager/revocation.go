package certmanager

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
)

// A revoker is an issuer, as it is bound to a manager, that can revoke: see [Issuer].
type revoker interface {
	Revoke(ctx context.Context, r Revocation) error
}

// A Revocation is what the manager wants revoked.
type Revocation struct {
	Certificate []byte        // DER
	Key         crypto.Signer // the certificate's
	Reason      acme.RevocationReason
}

// Revoke revokes by ACME, with the account that is in the storage, or with the certificate's own key if the CA does not
// take that: the certificate may be another account's. If the key is compromised it signs first, for a CA then takes that
// key no more.
func (a *acmeIssuer) Revoke(ctx context.Context, r Revocation) error {
	byKey := func() error {
		client := &acme.Client{DirectoryURL: a.directoryURL(), HTTPClient: a.http, Observe: a.account.observe}
		return client.RevokeWithKey(ctx, r.Certificate, r.Key, r.Reason)
	}
	byAccount := func() error {
		opened, err := a.account.open(ctx, a.services.Storage, openAccount{})
		if err != nil {
			return err
		}
		return opened.client.RevokeCertificate(ctx, r.Certificate, r.Reason)
	}
	first, second := byAccount, byKey
	if r.Reason == acme.ReasonKeyCompromise && r.Key != nil {
		first, second = byKey, byAccount
	}
	err := first()
	if isRevoked(err) || r.Key == nil || errors.Is(err, acme.ErrBadRevocationReason) || ctx.Err() != nil {
		return ignoreRevoked(err)
	}
	if other := second(); !isRevoked(other) {
		return fmt.Errorf("%w; and signed by the other of account and key: %w", err, other)
	}
	return nil
}

// isRevoked reports whether an answer to a revocation says that the certificate is revoked.
func isRevoked(err error) bool { return err == nil || errors.Is(err, acme.ErrAlreadyRevoked) }

func ignoreRevoked(err error) error {
	if isRevoked(err) {
		return nil
	}
	return err
}

// revokerOf returns that one of the issuers that can revoke what it has signed.
func revokerOf(issuers []*gatedIssuer, id string) (revoker, error) {
	for _, issuer := range issuers {
		if issuer.ID() != id {
			continue
		}
		if able, ok := capability[revoker](issuer); ok {
			return able, nil
		}
		return nil, fmt.Errorf("the issuer %s has no method Revoke: see Issuer", id)
	}
	return nil, fmt.Errorf("the issuer %s is not among Config.Issuers", id)
}
