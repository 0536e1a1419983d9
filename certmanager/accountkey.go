package certmanager

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/everseal/everseal/acme"
	"github.com/everseal/everseal/certmanager/internal/record"
)

// accountKeyTypes are the kinds of account keys by the algorithms that CAs name for them (RFC 7518 §3.1).
func accountKeyTypes() map[string]KeyType {
	return map[string]KeyType{"ES256": ECDSAP256, "ES384": ECDSAP384, "RS256": RSA2048}
}

// A registration makes an account at the CA, or finds it there.
type registration struct{ *account }

// run registers the account. If the CA takes other keys than that of an account that it does not have yet, the key is
// replaced by one that it takes, once for all who share the storage.
func (r registration) run(ctx context.Context, stored *accountRecord, rec *record.Account) (*acme.Client, *acme.Account, error) {
	client, registered, err := r.once(ctx, rec)
	if !errors.Is(err, acme.ErrBadSignatureAlgorithm) || rec.URL != "" {
		return client, registered, err
	}
	keyType, ok := acceptedKeyType(err, keyTypeOf(rec.Key.Public()))
	if !ok {
		return client, nil, err
	}
	if *rec, err = stored.replaceKey(ctx, rec.Key, keyType); err != nil {
		return client, nil, storageFailure(fmt.Errorf("replace its key by one of type %s: %w", keyType, err))
	}
	return r.once(ctx, rec)
}

// once registers the account with the key that it has, as far as the budget allows.
func (r registration) once(ctx context.Context, rec *record.Account) (*acme.Client, *acme.Account, error) {
	client := r.clientFor(rec.Key.Signer)
	charge, err := r.budgets.takeAccount(ctx)
	if err != nil {
		return client, nil, err
	}
	registered, err := client.Register(ctx, r.issuer.registration())
	if refused, ok := errors.AsType[*acme.Problem](err); ok && !acme.IsOutage(refused) {
		r.budgets.settleAccount(ctx, &charge, err)
	}
	return client, registered, err
}

// acceptedKeyType returns the first kind of account key that the CA says it takes, other than that which it has refused.
func acceptedKeyType(err error, refused KeyType) (KeyType, bool) {
	problem, ok := errors.AsType[*acme.Problem](err)
	if !ok {
		return "", false
	}
	for _, algorithm := range problem.Algorithms {
		if keyType, ok := accountKeyTypes()[algorithm]; ok && keyType != refused {
			return keyType, true
		}
	}
	return "", false
}

// replaceKey stores a new key in place of one with which no account was made, unless another process was faster. It returns
// the record as it is stored then. Nobody else makes the key meanwhile, who would not know of which type it is to be.
func (a *accountRecord) replaceKey(ctx context.Context, old record.Key, t KeyType) (rec record.Account, err error) {
	key, err := a.newKey(ctx, t)
	if err != nil {
		return rec, err
	}
	replace := func(ctx context.Context) error {
		rec, err = a.change(ctx, func(rec *record.Account) error {
			if rec.URL == "" && rec.Key.Equal(old) {
				rec.Unused.Add(old.Reference, time.Now())
				rec.Key = key
			}
			return nil
		})
		if err != nil {
			return err
		}
		return a.keyring.openOrMake(ctx, &rec.Key, t)
	}
	if key.Reference == "" {
		err = replace(ctx)
	} else {
		err = a.locked(ctx, replace)
	}
	return rec, err
}
