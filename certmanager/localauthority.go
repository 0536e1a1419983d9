package certmanager

import (
	"context"
	"errors"
	"fmt"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
	"github.com/everseal/everseal/storage"
)

// accountKeyTypes are the kinds of account keys by the algorithms that CAs name for them (RFC 7518 §3.1).
func accountKeyTypes() map[string]KeyType {
	return map[string]KeyType{"ES256": ECDSAP256, "ES384": ECDSAP384, "RS256": RSA2048}
}

// register registers the account. If the CA takes other keys than that of an account that it does not have yet, the key is
// replaced by one that it takes, once for all who share the storage.
func (a *account) register(ctx context.Context, s storage.Store, rec *record.Account) (*acme.Client, *acme.Account, error) {
	client := a.clientFor(rec.Key.Signer)
	registered, err := client.Register(ctx, a.issuer.registration())
	if !errors.Is(err, acme.ErrBadSignatureAlgorithm) || rec.URL != "" {
		return client, registered, err
	}
	keyType, ok := acceptedKeyType(err)
	if !ok {
		return client, nil, err
	}
	if *rec, err = a.issuer.replaceAccountKey(ctx, s, rec.Key, keyType); err != nil {
		return client, nil, storageFailure(fmt.Errorf("replace its key by one of type %s: %w", keyType, err))
	}
	client = a.clientFor(rec.Key.Signer)
	registered, err = client.Register(ctx, a.issuer.registration())
	return client, registered, err
}

// acceptedKeyType returns the first kind of account key that the CA says it takes.
func acceptedKeyType(err error) (KeyType, bool) {
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok {
		return "", false
	}
	for _, algorithm := range problem.Algorithms {
		if keyType, ok := accountKeyTypes()[algorithm]; ok {
			return keyType, true
		}
	}
	return "", false
}

// replaceAccountKey stores a new key in place of one with which no account was made, unless another process was faster.
// It returns the record as it is stored then.
func (a *ACME) replaceAccountKey(ctx context.Context, s storage.Store, old record.Key, keyType KeyType) (rec record.Account, err error) {
	key, err := keyType.generate()
	if err != nil {
		return rec, err
	}
	_, err = storage.Update(ctx, s, a.accountKey(), func(stored []byte) ([]byte, error) {
		rec = record.Account{Directory: a.directoryURL(), Key: record.Key{Signer: key}}
		if current, err := record.DecodeAccount(stored); err == nil && !current.Key.Equal(old) {
			rec = current
			return stored, nil
		}
		return rec.Encode()
	})
	return rec, err
}
